package federation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/log"
)

// C2SP tiles are 256 hashes wide (c2sp.org/tlog-tiles).
const (
	tileHeight   = 8
	tileWidth    = 1 << tileHeight
	entriesLevel = -1
	maxTile      = tileWidth * tlog.HashSize
	maxBundle    = tileWidth * (2 + 65535)
	// pulls is how many files are fetched at a time; a bundle may have 16 MiB.
	pulls = 4
)

// tilePath returns the path of a tile, or of an entry bundle if level is entriesLevel.
func tilePath(level int, n uint64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if width != tileWidth {
		path += ".p/" + strconv.Itoa(width)
	}
	if level == entriesLevel {
		return "tile/entries/" + path
	}
	return "tile/" + strconv.Itoa(level) + "/" + path
}

// levels returns, for each tile level of a tree that is not empty, how many
// hashes it has.
func levels(size uint64) []uint64 {
	var n []uint64
	for ; size > 0; size >>= tileHeight {
		n = append(n, size)
	}
	return n
}

// A pull brings a mirror to one checkpoint. It goes from the root down: the right
// edge is checked against the root, each full tile against its hash in the tile
// above, and each bundle against its level-0 tile.
type pull struct {
	m      *Mirror
	target *signed
	level  []uint64 // hashes of each level

	right [][]byte // partial tile of each level, nil if there is none
}

// edge reads the partial tiles of the right edge, which together make the root,
// all of them from one source.
func (p *pull) edge(ctx context.Context) error {
	return p.each(func(url string) error {
		right := make([][]byte, len(p.level))
		var names []string
		for level, n := range p.level {
			width := int(n % tileWidth)
			if width == 0 {
				continue
			}
			path := tilePath(level, n/tileWidth, width)
			b, err := p.read(ctx, url, path, tilePath(level, n/tileWidth, tileWidth), maxTile)
			if err != nil {
				return err
			}
			if len(b) < width*tlog.HashSize {
				return &WrongTileError{url, path, fmt.Sprintf("%d bytes, want %d", len(b), width*tlog.HashSize)}
			}
			right[level] = b[:width*tlog.HashSize]
			names = append(names, path)
		}
		if edgeRoot(right) != tlog.Hash(p.target.head.Root) {
			return &WrongTileError{url, strings.Join(names, ", "), fmt.Sprintf("together they do not make the root at size %d", p.target.head.Size)}
		}
		for level, b := range right {
			if b == nil {
				continue
			}
			if err := p.m.keep(tilePath(level, p.level[level]/tileWidth, len(b)/tlog.HashSize), b); err != nil {
				return err
			}
		}
		p.right = right
		return nil
	})
}

// edgeRoot computes the root from the partial tiles: in each, the tree of
// everything to the right of its hashes is one more, incomplete, node.
func edgeRoot(right [][]byte) tlog.Hash {
	var rest []tlog.Hash
	for _, b := range right {
		if b == nil {
			continue
		}
		rest = []tlog.Hash{rootOf(append(hashes(b), rest...))}
	}
	if rest == nil {
		return tlog.Hash{}
	}
	return rest[0]
}

func hashes(b []byte) []tlog.Hash {
	out := make([]tlog.Hash, len(b)/tlog.HashSize)
	for i := range out {
		copy(out[i][:], b[i*tlog.HashSize:])
	}
	return out
}

// rootOf is the Merkle tree hash over subtree hashes (RFC 6962 §2.1); there is at
// least one.
func rootOf(h []tlog.Hash) tlog.Hash {
	if len(h) == 1 {
		return h[0]
	}
	k := 1 << (bits.Len(uint(len(h)-1)) - 1)
	return tlog.NodeHash(rootOf(h[:k]), rootOf(h[k:]))
}

// parents gives the hash that each full tile of a level must have. It keeps the
// last tile of the level above, because full tiles are asked for in order.
type parents struct {
	p     *pull
	level int
	n     uint64
	data  []byte
}

func (q *parents) hash(n uint64) (tlog.Hash, error) {
	above := q.level + 1
	if q.data == nil || q.n != n/tileWidth {
		q.n = n / tileWidth
		if q.n == q.p.level[above]/tileWidth {
			q.data = q.p.right[above]
		} else {
			var err error
			if q.data, err = q.p.m.full(above, q.n); err != nil {
				return tlog.Hash{}, err
			}
		}
	}
	return tlog.Hash(q.data[n%tileWidth*tlog.HashSize:][:tlog.HashSize]), nil
}

// full reads a full tile that was verified before.
func (m *Mirror) full(level int, n uint64) ([]byte, error) {
	path := tilePath(level, n, tileWidth)
	b, err := m.local(path, maxTile)
	if err == nil && len(b) != maxTile {
		err = errors.New("it is gone from the mirror")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s of %s: %w", path, m.o.Origin, err)
	}
	return b, nil
}

// tiles brings the full tiles of one level that the tree of size old had not.
func (p *pull) tiles(ctx context.Context, level int, old uint64) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pulls)
	above := &parents{p: p, level: level}
	for n := old >> (level * tileHeight) / tileWidth; n < p.level[level]/tileWidth; n++ {
		want, err := above.hash(n)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return p.tile(ctx, level, n, want) })
	}
	return g.Wait()
}

// tile brings one full tile, if the mirror has not the right one already.
func (p *pull) tile(ctx context.Context, level int, n uint64, want tlog.Hash) error {
	path := tilePath(level, n, tileWidth)
	check := func(b []byte) error {
		switch {
		case len(b) != maxTile:
			return fmt.Errorf("%d bytes, want %d", len(b), maxTile)
		case rootOf(hashes(b)) != want:
			return errors.New("does not hash to the tile above it")
		}
		return nil
	}
	return p.file(ctx, path, "", maxTile, check)
}

// bundles brings the entry bundles that the tree of size old had not.
func (p *pull) bundles(ctx context.Context, old uint64) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pulls)
	size := p.target.head.Size
	for n := old / tileWidth; n*tileWidth < size && ctx.Err() == nil; n++ {
		g.Go(func() error { return p.bundle(ctx, n, int(min(size-n*tileWidth, tileWidth))) })
	}
	return g.Wait()
}

func (p *pull) bundle(ctx context.Context, n uint64, width int) error {
	tile := p.right[0]
	if width == tileWidth {
		var err error
		if tile, err = p.m.full(0, n); err != nil {
			return err
		}
	}
	check := func(b []byte) error {
		leaves, err := log.ParseLeaves(b)
		switch {
		case err != nil:
			return err
		case len(leaves) != width:
			return fmt.Errorf("%d entries, want %d", len(leaves), width)
		}
		for i, leaf := range leaves {
			if h := tlog.RecordHash(leaf); !bytes.Equal(h[:], tile[i*tlog.HashSize:][:tlog.HashSize]) {
				return fmt.Errorf("entry %d is not the one in the tree", n*tileWidth+uint64(i))
			}
		}
		return nil
	}
	return p.file(ctx, tilePath(entriesLevel, n, width), tilePath(entriesLevel, n, tileWidth), maxBundle, check)
}

// file brings one file from the first source that has the right one. instead is
// a full file whose beginning serves as well.
func (p *pull) file(ctx context.Context, path, instead string, limit int64, check func([]byte) error) error {
	b, err := p.m.local(path, limit)
	if err != nil {
		return err
	}
	if b != nil && check(b) == nil {
		return nil
	}
	return p.each(func(url string) error {
		b, err := p.read(ctx, url, path, instead, limit)
		if err != nil {
			return err
		}
		if err := check(b); err != nil {
			cut := first(b, path)
			if cut == nil || check(cut) != nil {
				return &WrongTileError{url, path, err.Error()}
			}
			b = cut
		}
		return p.m.keep(path, b)
	})
}

// first returns the beginning of a full bundle that took the place of the partial
// one at path, or nil.
func first(b []byte, path string) []byte {
	_, w, partial := strings.Cut(path, ".p/")
	width, err := strconv.Atoi(w)
	leaves, bad := log.ParseLeaves(b)
	if !partial || err != nil || bad != nil || len(leaves) != tileWidth {
		return nil
	}
	n := 0
	for _, l := range leaves[:width] {
		n += 2 + len(l)
	}
	return b[:n]
}

// read fetches path from a source, or instead if that is gone there.
func (p *pull) read(ctx context.Context, url, path, instead string, limit int64) ([]byte, error) {
	b, err := p.m.fetch.get(ctx, url+path, limit)
	if errors.Is(err, errNotFound) && instead != "" && instead != path {
		b, err = p.m.fetch.get(ctx, url+instead, limit)
	}
	switch {
	case errors.Is(err, errGarbage):
		return nil, &WrongTileError{url, path, err.Error()}
	case err != nil:
		return nil, fmt.Errorf("%s%s: %w", url, path, err)
	}
	return b, nil
}

// each tries the sources until one does.
func (p *pull) each(try func(url string) error) error {
	o := p.m.o.Hub.byName[p.m.o.Origin]
	var errs []error
	for _, url := range p.m.o.URLs {
		err := try(url)
		if err == nil {
			return nil
		}
		var wrong *WrongTileError
		if errors.As(err, &wrong) {
			p.m.o.Hub.wrongTile(o)(url, err)
		}
		errs = append(errs, err)
	}
	if errs == nil {
		return fmt.Errorf("mirror of %s: no source of tiles is configured", p.m.o.Origin)
	}
	return fmt.Errorf("mirror of %s: %w", p.m.o.Origin, errors.Join(errs...))
}

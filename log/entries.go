package log

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/tlog"
)

// maxBundle bounds an entry bundle in bytes.
const maxBundle = tileWidth * (2 + 65535)

// MarshalLeaves returns leaves in the framing of entry bundles, each preceded by
// its length as a big-endian uint16 (c2sp.org/tlog-tiles#log-entries). It is
// also the body of a submission. A leaf of more than 65,535 bytes is an error.
func MarshalLeaves(leaves [][]byte) ([]byte, error) {
	n := 0
	for i, l := range leaves {
		if len(l) > 65535 {
			return nil, fmt.Errorf("leaf %d has %d bytes, at most 65535 fit", i, len(l))
		}
		n += 2 + len(l)
	}
	b := make([]byte, 0, n)
	for _, l := range leaves {
		b = binary.BigEndian.AppendUint16(b, uint16(len(l)))
		b = append(b, l...)
	}
	return b, nil
}

var errBundle = errors.New("entry bundle is cut off")

// ParseLeaves reads what MarshalLeaves writes. The leaves are parts of b.
func ParseLeaves(b []byte) ([][]byte, error) {
	var leaves [][]byte
	for len(b) > 0 {
		if len(b) < 2 {
			return nil, errBundle
		}
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return nil, errBundle
		}
		leaves = append(leaves, b[2:2+n:2+n])
		b = b[2+n:]
	}
	return leaves, nil
}

// Entries yields the entries from from to to-1 in order, each verified to be in
// the tree of cp; to is at most cp.Size. After an error it yields nothing more.
// Errors match ErrUnreachable or ErrNotFound or are a *ProofError.
func (c *Client) Entries(ctx context.Context, cp *Checkpoint, from, to uint64) iter.Seq2[Entry, error] {
	if c.offline != nil && from <= to && to <= cp.Size {
		return c.offline.entries(cp, from, to)
	}
	return func(yield func(Entry, error) bool) {
		if from > to || to > cp.Size {
			yield(Entry{}, fmt.Errorf("entries %d to %d of %s: the checkpoint has size %d", from, to, c.origin, cp.Size))
			return
		}
		if from == to {
			return
		}
		read := func(ctx context.Context, n uint64) bundle { return c.bundle(ctx, cp, n) }
		for b := range ahead(ctx, from/tileWidth, (to-1)/tileWidth, read) {
			if b.err != nil {
				yield(Entry{}, b.err)
				return
			}
			for i, leaf := range b.leaves {
				index := b.n*tileWidth + uint64(i)
				if index < from || index >= to {
					continue
				}
				if !yield(Entry{index, leaf}, nil) {
					return
				}
			}
		}
	}
}

// Entry returns one verified entry of the tree of cp.
func (c *Client) Entry(ctx context.Context, cp *Checkpoint, index uint64) (Entry, error) {
	for e, err := range c.Entries(ctx, cp, index, index+1) {
		return e, err
	}
	return Entry{}, fmt.Errorf("entry %d of %s: not read", index, c.origin)
}

// bundle is the verified content of entry bundle n.
type bundle struct {
	n      uint64
	leaves [][]byte
	err    error
}

// bundle fetches bundle n as it is in the tree of cp and checks every entry of
// it against the level-0 tile.
func (c *Client) bundle(ctx context.Context, cp *Checkpoint, n uint64) bundle {
	width := int(min(cp.Size-n*tileWidth, tileWidth))
	indexes := make([]int64, width)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, int64(n)*tileWidth+int64(i))
	}
	hashes, err := c.hashReader(ctx, cp).ReadHashes(indexes)
	if err != nil {
		return bundle{n: n, err: c.tileError(err)}
	}
	b := bundle{n: n}
	b.err = c.read(ctx, func(ctx context.Context, p *place) (err error) {
		if b.leaves, err = c.fetchBundle(ctx, p, int64(n), width); err != nil {
			return err
		}
		for i, leaf := range b.leaves {
			if tlog.RecordHash(leaf) != hashes[i] {
				return &ProofError{
					Origin: c.origin, Index: n*tileWidth + uint64(i), HasIndex: true,
					Reason: "the entry in " + tilePath(entriesLevel, int64(n), width) + " is not the one in the tree",
				}
			}
		}
		return nil
	})
	return b
}

// fetchBundle reads an entry bundle, or the full one that took the place of a
// partial one. Its entries are not verified.
func (c *Client) fetchBundle(ctx context.Context, p *place, n int64, width int) ([][]byte, error) {
	path := tilePath(entriesLevel, n, width)
	b, err := p.get(ctx, path, maxBundle)
	full := errors.Is(err, ErrNotFound) && width != tileWidth
	if full {
		b, err = p.get(ctx, tilePath(entriesLevel, n, tileWidth), maxBundle)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s of %s: %w", path, c.origin, err)
	}
	leaves, err := ParseLeaves(b)
	if err != nil {
		return nil, &ProofError{Origin: c.origin, Reason: path, Err: err}
	}
	if full && len(leaves) == tileWidth {
		leaves = leaves[:width]
	}
	if len(leaves) != width {
		return nil, &ProofError{Origin: c.origin, Reason: fmt.Sprintf("%s has %d entries, want %d", path, len(leaves), width)}
	}
	return leaves, nil
}

// tileError turns what went wrong when tiles were read into this package's
// errors: what is not about reaching them is a tile that does not hash up.
func (c *Client) tileError(err error) error {
	var p *ProofError
	if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrNotFound) || errors.Is(err, context.Canceled) || errors.As(err, &p) {
		return err
	}
	return &ProofError{Origin: c.origin, Reason: "its tiles do not hash to its checkpoint", Err: err}
}

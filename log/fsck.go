package log

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// A Fault is something wrong with the files of a log.
type Fault struct {
	Path   string // relative to the log's prefix, for instance tile/0/000
	Reason string
}

func (f Fault) String() string { return f.Path + ": " + f.Reason }

// A Fsck is the result of [Client.Fsck].
type Fsck struct {
	Checkpoint *Checkpoint // nil if the checkpoint itself is the fault
	Entries    uint64      // hashed
	Tiles      uint64      // hash tiles compared
	Faults     []Fault
}

// Fsck reads every file that the log's checkpoint stands on, hashes everything
// again, and names each file that is not what it must be. Which of two files
// that contradict each other is wrong is decided by what hashes up to the
// checkpoint. progress, if not nil, is called with the number of entries hashed
// so far. The remembered checkpoint is neither asked nor changed.
//
// Faults are results; the error is about not being able to read, and matches
// ErrUnreachable. Mirrors are not asked.
func (c *Client) Fsck(ctx context.Context, progress func(done, total uint64)) (*Fsck, error) {
	f := &fsck{c: c, res: &Fsck{}, progress: progress}
	note, err := c.src.get(ctx, "checkpoint", policy.MaxNote)
	if errors.Is(err, ErrUnreachable) {
		return nil, fmt.Errorf("reading checkpoint of %s: %w", c.origin, err)
	}
	var cp *Checkpoint
	if err == nil {
		cp, err = VerifyCheckpoint(c.pol, note, c.now())
	}
	if err == nil && cp.Origin != c.origin {
		err = fmt.Errorf("it is that of %q", cp.Origin)
	}
	if err != nil {
		f.fault("checkpoint", "%v", err)
		return f.res, nil
	}
	f.res.Checkpoint = cp
	return f.res, f.run(ctx)
}

// maxFaults is after how many files that are missing or damaged Fsck gives up:
// the size is whatever somebody signed.
const maxFaults = 1000

type fsck struct {
	c        *Client
	res      *Fsck
	progress func(done, total uint64)
}

func (f *fsck) fault(path, format string, args ...any) {
	f.res.Faults = append(f.res.Faults, Fault{path, fmt.Sprintf(format, args...)})
}

// run goes up level by level. open holds, for each full tile of the level below,
// its two versions where they differ, until the level above decides.
func (f *fsck) run(ctx context.Context) error {
	size := f.res.Checkpoint.Size
	var edge []*fsckTile // partial tiles, lowest first: the right edge of the tree
	var below []*fsckTile
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		hashes := size >> (tileHeight * level) // of this level, complete subtrees only
		read := func(ctx context.Context, n uint64) *fsckTile {
			t := &fsckTile{level: level, n: n, width: int(min(hashes-n*tileWidth, tileWidth))}
			f.read(ctx, t)
			return t
		}
		var tiles []*fsckTile
		for t := range ahead(ctx, 0, (hashes-1)/tileWidth, read) {
			if t.err != nil {
				return t.err
			}
			if f.res.Faults = append(f.res.Faults, t.faults...); len(f.res.Faults) >= maxFaults {
				f.fault("tile", "so much is wrong that the rest was not looked at")
				return nil
			}
			if level > 0 {
				t.derived = f.derive(t, below)
			}
			if t.stored != nil {
				f.res.Tiles++
			}
			if t.width < tileWidth {
				edge = append(edge, t)
			} else {
				tiles = append(tiles, t.forget())
			}
			if level == 0 && f.progress != nil {
				f.progress(min((t.n+1)*tileWidth, size), size)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		below = tiles
	}
	f.res.Entries = size
	f.checkRoot(edge)
	return nil
}

// read fetches the stored version and, at level 0, hashes the entries.
func (f *fsck) read(ctx context.Context, t *fsckTile) {
	b, err := f.c.fetchTile(ctx, f.c.places[0], t.level, int64(t.n), t.width)
	if t.err = readFault(t, t.path(), err); t.err != nil {
		return
	}
	for ; len(b) > 0; b = b[tlog.HashSize:] {
		t.stored = append(t.stored, tlog.Hash(b[:tlog.HashSize]))
	}
	if t.level > 0 {
		return
	}
	leaves, err := f.c.fetchBundle(ctx, f.c.places[0], int64(t.n), t.width)
	if t.err = readFault(t, tilePath(entriesLevel, int64(t.n), t.width), err); t.err != nil {
		return
	}
	for _, leaf := range leaves {
		t.derived = append(t.derived, tlog.RecordHash(leaf))
	}
}

// derive computes tile t from the tiles below it, and uses what t stores to
// decide which version of each of these is the wrong one.
func (f *fsck) derive(t *fsckTile, below []*fsckTile) []tlog.Hash {
	derived := make([]tlog.Hash, t.width)
	for i := range derived {
		child := below[t.n*tileWidth+uint64(i)]
		var parent *tlog.Hash
		if t.stored != nil {
			parent = &t.stored[i]
		}
		switch {
		case child.stored == nil && parent == nil:
			return nil
		case child.stored == nil:
			derived[i] = *parent
		case child.derived == nil:
			derived[i] = child.stored[0]
		default:
			derived[i] = f.decide(child, func(root tlog.Hash) bool { return parent != nil && root == *parent })
		}
	}
	return derived
}

// decide reports which version of a full tile is wrong and returns the root of
// the other one.
func (f *fsck) decide(t *fsckTile, right func(root tlog.Hash) bool) tlog.Hash {
	stored, derived := rootOf(t.stored), rootOf(t.derived)
	switch {
	case right(stored):
		f.wrongBelow(t)
		return stored
	case right(derived):
		f.wrongTile(t)
	default:
		f.undecided(t)
	}
	return derived
}

func (f *fsck) wrongTile(t *fsckTile) {
	f.fault(t.path(), "hash %d is wrong: it does not follow from what is below it", t.differ())
}

func (f *fsck) undecided(t *fsckTile) {
	f.fault(t.path(), "hash %d does not follow from what is below it, and neither leads to the checkpoint", t.differ())
}

// wrongBelow reports everything below t that does not hash to it.
func (f *fsck) wrongBelow(t *fsckTile) {
	for i := range t.stored {
		if t.stored[i] == t.derived[i] {
			continue
		}
		n := t.n*tileWidth + uint64(i)
		if t.level == 0 {
			f.fault(tilePath(entriesLevel, int64(t.n), t.width), "entry %d is not the one in the tree", n)
			continue
		}
		f.fault(tilePath(t.level-1, int64(n), tileWidth), "wrong, with everything below it: it does not hash to %s", t.path())
	}
}

// checkRoot holds the right edge of the tree against the checkpoint, and tries
// which of the versions of its tiles lead there.
func (f *fsck) checkRoot(edge []*fsckTile) {
	root := f.res.Checkpoint.Root
	var open []*fsckTile
	for _, t := range edge {
		if t.differ() >= 0 {
			open = append(open, t)
		}
		if t.stored == nil && t.derived == nil {
			return // reported, and nothing can be said about the root
		}
	}
	for choice := range 1 << len(open) {
		chosen := make(map[*fsckTile][]tlog.Hash)
		for i, t := range open {
			chosen[t] = t.stored
			if choice>>i&1 == 1 {
				chosen[t] = t.derived
			}
		}
		if edgeRoot(edge, chosen) != root {
			continue
		}
		for i, t := range open {
			if choice>>i&1 == 1 {
				f.wrongTile(t)
			} else {
				f.wrongBelow(t)
			}
		}
		return
	}
	for _, t := range open {
		f.undecided(t)
	}
	if len(f.res.Faults) == 0 {
		got := edgeRoot(edge, nil)
		f.fault("checkpoint", "the entries hash to the root %s, and the checkpoint says %s", got, root)
	}
}

package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree reads hashes, proofs and entries of a Store, and remembers the tiles
// and bundles it used last. It may be used concurrently.
//
// Hashes and entries below a size that the store has reported never change,
// so what is remembered is never wrong, only narrower than what is there now.
type Tree struct {
	store Store

	mu      sync.Mutex // guards the two caches, not what is in them
	tiles   *lru[tileKey, *tile]
	bundles *lru[uint64, *bundle]
}

// Bounds of the memory of a Tree: 16 KiB a tile, up to 4 MiB a bundle of
// 16 KiB entries but far less of usual ones.
const (
	maxTiles       = 2048
	maxBundleBytes = 64 << 20
)

type tileKey struct{ level, index uint64 }

// NewTree returns a Tree that reads s.
func NewTree(s Store) *Tree {
	return &Tree{
		store:   s,
		tiles:   newLRU[tileKey, *tile](maxTiles, func(*tile) int { return 1 }),
		bundles: newLRU[uint64](maxBundleBytes, (*bundle).bytes),
	}
}

// tile is a tile with the nodes between its hashes and its top. nodes[h][i] is
// the root of hashes [i<<h, (i+1)<<h).
type tile struct {
	width int
	nodes [8][]tlog.Hash
}

func newTile(b []byte) *tile {
	t := &tile{width: len(b) / sha256.Size}
	t.nodes[0] = make([]tlog.Hash, t.width)
	for i := range t.nodes[0] {
		copy(t.nodes[0][i][:], b[i*sha256.Size:])
	}
	for h := 1; h < len(t.nodes); h++ {
		below := t.nodes[h-1]
		t.nodes[h] = make([]tlog.Hash, len(below)/2)
		for i := range t.nodes[h] {
			t.nodes[h][i] = tlog.NodeHash(below[2*i], below[2*i+1])
		}
	}
	return t
}

// at returns a view of the tree whose tiles are as wide as a tree of size
// makes them, and which checks nothing: it is this log's own disk.
func (t *Tree) at(ctx context.Context, size uint64) tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			level, n := tlog.SplitStoredHashIndex(x)
			h, err := t.node(ctx, uint64(level), uint64(n), size)
			if err != nil {
				return nil, err
			}
			hashes[i] = h
		}
		return hashes, nil
	}
}

// node returns the root of leaves [n<<level, (n+1)<<level), all below size.
func (t *Tree) node(ctx context.Context, level, n, size uint64) (tlog.Hash, error) {
	// Node heights 0 to 7 above the tile's hashes come from this tile; the top
	// is the next tile's hash, and is read there if that tile exists.
	key := tileKey{level: level / 8}
	height := level % 8
	key.index = n >> (8 - height)
	i := n - key.index<<(8-height)
	need := int((i + 1) << height)
	tl, err := t.tile(ctx, key, need, size)
	if err != nil {
		return tlog.Hash{}, err
	}
	return tl.nodes[height][i], nil
}

// tile returns a tile with at least need hashes.
func (t *Tree) tile(ctx context.Context, key tileKey, need int, size uint64) (*tile, error) {
	t.mu.Lock()
	tl, ok := t.tiles.get(key)
	t.mu.Unlock()
	if ok && tl.width >= need {
		return tl, nil
	}
	width := TileWidth(key.level, key.index, size)
	if width < need {
		return nil, fmt.Errorf("tile %d/%d has %d hashes at size %d, want %d: %w", key.level, key.index, width, size, need, ErrNotFound)
	}
	b, err := t.store.Tile(ctx, key.level, key.index, width)
	if err != nil {
		return nil, fmt.Errorf("reading tile %d/%d at size %d: %w", key.level, key.index, size, err)
	}
	tl = newTile(b)
	t.mu.Lock()
	t.tiles.put(key, tl)
	t.mu.Unlock()
	return tl, nil
}

// TileWidth returns how many hashes the tile has in a tree of size, 0 to
// Width.
func TileWidth(level, index, size uint64) int {
	if level > 7 {
		return 0 // a tile of level 8 stands for 2^64 entries or more
	}
	hashes := size >> (8 * level)
	if first := index * Width; index <= hashes/Width && first < hashes {
		return int(min(hashes-first, Width))
	}
	return 0
}

// Root returns the root of the tree's first size entries.
func (t *Tree) Root(ctx context.Context, size uint64) (tlog.Hash, error) {
	if size == 0 {
		return sha256.Sum256(nil), nil
	}
	return tlog.TreeHash(int64(size), t.at(ctx, size))
}

// RootWithin returns the root of the first n entries of a tree that has size of
// them: what Root returns, also where no batch ever ended at n, so that no tile
// is as narrow as n makes it.
func (t *Tree) RootWithin(ctx context.Context, n, size uint64) (tlog.Hash, error) {
	if n > size {
		return tlog.Hash{}, fmt.Errorf("%d entries of a tree of %d: %w", n, size, ErrNotFound)
	}
	if n == 0 {
		return sha256.Sum256(nil), nil
	}
	return tlog.TreeHash(int64(n), t.at(ctx, size))
}

// Inclusion returns the audit path of entry index in the tree's first size
// entries, from the leaf up.
func (t *Tree) Inclusion(ctx context.Context, size, index uint64) ([]tlog.Hash, error) {
	if index >= size {
		return nil, fmt.Errorf("entry %d in a tree of %d: %w", index, size, ErrNotFound)
	}
	return tlog.ProveRecord(int64(size), int64(index), t.at(ctx, size))
}

// Consistency returns the proof that the tree's first size entries begin with its
// first old ones; 1 ≤ old < size.
func (t *Tree) Consistency(ctx context.Context, old, size uint64) ([]tlog.Hash, error) {
	return tlog.ProveTree(int64(size), int64(old), t.at(ctx, size))
}

// CheckExtends returns an error if a tree of size with this root, made of this
// store's hashes, is not there or does not extend the tree of old entries
// with root oldRoot. old may be 0.
func (t *Tree) CheckExtends(ctx context.Context, old uint64, oldRoot tlog.Hash, size uint64, root tlog.Hash) error {
	if old > size {
		return fmt.Errorf("size %d does not extend size %d", size, old)
	}
	have, err := t.Root(ctx, size)
	if err != nil {
		return err
	}
	if have != root {
		return fmt.Errorf("the tiles give root %v at size %d, want %v", have, size, root)
	}
	if old == 0 {
		return nil
	}
	if old == size {
		if root != oldRoot {
			return fmt.Errorf("two roots at size %d: %v and %v", size, oldRoot, root)
		}
		return nil
	}
	proof, err := tlog.ProveTree(int64(size), int64(old), t.at(ctx, size))
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, int64(size), root, int64(old), oldRoot); err != nil {
		return fmt.Errorf("the tree of size %d is not a continuation of that of size %d: %w", size, old, err)
	}
	return nil
}

// Peaks returns the roots of the perfect subtrees that make up the first n entries of a
// tree that has size of them, the largest first: one for each one bit of n.
func (t *Tree) Peaks(ctx context.Context, n, size uint64) ([]tlog.Hash, error) {
	if n > size {
		return nil, fmt.Errorf("%d entries of a tree of %d: %w", n, size, ErrNotFound)
	}
	var peaks []tlog.Hash
	for level := 63; level >= 0; level-- {
		if n>>level&1 == 0 {
			continue
		}
		first := n >> (level + 1) << (level + 1)
		h, err := t.node(ctx, uint64(level), first>>level, size)
		if err != nil {
			return nil, err
		}
		peaks = append(peaks, h)
	}
	return peaks, nil
}

package triedb

import (
	"context"
	"encoding/binary"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/firn-log/firn/log/index"
)

// A map has at most about maxBuckets buckets, each of at most minBucketKeys keys, or more
// if the map is large: two nodes of nodeBytes for each are in memory, and all of a bucket is
// hashed when one of its keys changes.
const (
	minBucketKeys = 8
	maxBuckets    = 1 << 19
)

// bucketKeys is how many keys are in a bucket at most, in a map of so many items.
func bucketKeys(items int) int { return max(minBucketKeys, items/maxBuckets) }

// A node is the hash of the trie of all keys with one prefix, of as many bits as
// there are nodes above. Unlike the trie it does not skip bits, so that nodes of
// different states agree on places; its hash is that of the trie nonetheless,
// because a side without keys adds nothing. Nil is no keys; a node without sides is a bucket.
// Nodes do not change: states share them.
type node struct {
	hash        index.Hash
	left, right *node
}

const nodeBytes = 48

func (n *node) bucket() bool { return n.left == nil && n.right == nil }

// A builder makes the nodes of one state.
type builder struct {
	db       *DB
	set      *runSet
	size     uint64
	bucket   int           // keys in a bucket at most
	helpers  chan struct{} // a place for each further goroutine
	made     atomic.Int64  // nodes
	progress func(total int)
}

// newBuilder makes one that uses up to procs cores.
func newBuilder(db *DB, set *runSet, size uint64, procs int) *builder {
	return &builder{db: db, set: set, size: size, bucket: bucketKeys(set.items()), helpers: make(chan struct{}, procs-1), progress: func(int) {}}
}

func cores() int { return runtime.GOMAXPROCS(0) }

// both calls f for both sides, concurrently if there is a core for it.
func (b *builder) both(f func(bit int)) {
	select {
	case b.helpers <- struct{}{}:
	default:
		f(0)
		f(1)
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		f(0)
		<-b.helpers
	})
	f(1)
	wg.Wait()
}

func (b *builder) gather(p prefix, use func(leaves []leaf)) {
	rd := newReader(b.set, b.size, &b.db.hot)
	use(rd.gather(p, math.MaxInt))
	rd.done()
}

func (b *builder) node(h index.Hash, l, r *node) *node {
	b.made.Add(1)
	return &node{h, l, r}
}

// join is the node above two others.
func (b *builder) join(depth int, l, r *node) *node {
	switch {
	case l == nil && r == nil:
		return nil
	case l == nil:
		return b.node(r.hash, nil, r)
	case r == nil:
		return b.node(l.hash, l, nil)
	}
	return b.node(index.BranchHash(uint8(depth), l.hash, r.hash), l, r)
}

// build makes the nodes of leaves that have the first depth bits in common.
func (b *builder) build(leaves []leaf, depth int) *node {
	switch {
	case len(leaves) == 0:
		return nil
	case len(leaves) <= b.bucket:
		return b.node(trieHash(leaves), nil, nil)
	}
	n, _ := slices.BinarySearchFunc(leaves, 1, func(l leaf, one int) int { return index.Bit(l.kh, depth) - one })
	return b.join(depth, b.build(leaves[:n], depth+1), b.build(leaves[n:], depth+1))
}

// scan makes the nodes of everything.
func (b *builder) scan(ctx context.Context) (*node, error) {
	depth := 0
	if n := b.set.items() / (b.bucket / 2); n > 1 {
		depth = bits.Len(uint(n - 1))
	}
	root, _ := b.scanBelow(ctx, prefix{}, depth)
	return root, ctx.Err()
}

// scanBelow returns the node at p and its number of keys. The items are looked
// up in buckets of depth bits, which are put together where they hold too little.
func (b *builder) scanBelow(ctx context.Context, p prefix, depth int) (n *node, keys int) {
	if p.depth == depth {
		if ctx.Err() == nil {
			b.gather(p, func(leaves []leaf) { n, keys = b.build(leaves, depth), len(leaves) })
			b.progress(1 << depth)
		}
		return n, keys
	}
	var side [2]*node
	var count [2]int
	if depth-p.depth > 3 {
		b.both(func(bit int) { side[bit], count[bit] = b.scanBelow(ctx, p.child(bit), depth) })
	} else {
		for bit := range side {
			side[bit], count[bit] = b.scanBelow(ctx, p.child(bit), depth)
		}
	}
	n, keys = b.join(p.depth, side[0], side[1]), count[0]+count[1]
	if n != nil && keys <= b.bucket {
		n.left, n.right = nil, nil
	}
	return n, keys
}

// updateTogether is the number of changed keys below which nodes are made on one core.
const updateTogether = 64

// rebase makes the nodes of the builder's state from those of another one: only what
// is above the changed keys is made again, or everything.
func (b *builder) rebase(ctx context.Context, base *node, changed []uint64, all bool) (*node, error) {
	if all {
		return b.scan(ctx)
	}
	return b.update(ctx, base, prefix{}, changed), ctx.Err()
}

// update returns the node at p; the changed keys are given by their first 64 bits, in order.
func (b *builder) update(ctx context.Context, n *node, p prefix, changed []uint64) (made *node) {
	if len(changed) == 0 || ctx.Err() != nil {
		return n
	}
	if n == nil || n.bucket() {
		b.gather(p, func(leaves []leaf) { made = b.build(leaves, p.depth) })
		return made
	}
	old, side := [2]*node{n.left, n.right}, [2][]uint64{changed, changed}
	if p.depth < 64 {
		middle := binary.BigEndian.Uint64(p.bits[:]) | 1<<(63-p.depth)
		i := sort.Search(len(changed), func(i int) bool { return changed[i] >= middle })
		side = [2][]uint64{changed[:i], changed[i:]}
	}
	f := func(bit int) { old[bit] = b.update(ctx, old[bit], p.child(bit), side[bit]) }
	if len(changed) > updateTogether {
		b.both(f)
	} else {
		f(0)
		f(1)
	}
	return b.join(p.depth, old[0], old[1])
}

// changedAtMost is how many changed keys are worth telling apart, or a part of all
// items if that is more: so making everything again costs no more than a few times what
// is made of the changed keys alone.
const (
	changedAtMost = 1 << 20
	changedPart   = 32
)

// changedKeys returns the first 64 bits of the hashes of the keys with items from
// index from to to−1, in order, or that they are too many.
func changedKeys(set *runSet, from, to uint64) (keys []uint64, all bool) {
	most := max(changedAtMost, set.items()/changedPart)
	for _, r := range set.runs {
		if r.to <= from || r.from >= to {
			continue
		}
		within := r.from >= from && r.to <= to
		for i := range r.n {
			if at := r.index(i); !within && (at < from || at >= to) {
				continue
			}
			k := binary.BigEndian.Uint64(r.key(i)[:])
			if n := len(keys); n > 0 && keys[n-1] == k {
				continue
			}
			if len(keys) == most {
				return nil, true
			}
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), false
}

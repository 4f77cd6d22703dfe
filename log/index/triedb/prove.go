package triedb

import (
	"fmt"
	"slices"

	"github.com/firn-log/firn/log/index"
)

// proveTogether is the number of keys below which a proof is made on one core.
const proveTogether = 64

// maxLevels bounds what Subtree shows at once: 4096 nodes.
const maxLevels = 12

// Prove returns the smallest pruned trie with the root of v that shows of each
// key hash whether it is present (spec/index.md#pruned-tries). For many it uses all cores.
func (v *View) Prove(khs []index.Hash) (*index.Node, error) {
	set, err := v.db.acquire()
	if err != nil {
		return nil, fmt.Errorf("index at size %d: %w", v.size, err)
	}
	defer v.db.release(set)
	b := newBuilder(v.db, set, v.size, cores())
	return b.prove(v.root, prefix{}, slices.Clone(khs)), nil
}

// prove reorders khs. A key hash need not have the prefix p: if it is absent, it is led along by its
// bits as a reader of the proof is, who does not see the bits that are skipped.
func (b *builder) prove(n *node, p prefix, khs []index.Hash) (made *index.Node) {
	switch {
	case n == nil:
		return nil
	case len(khs) == 0:
		return index.Stub(n.hash)
	case n.bucket():
		b.gather(p, func(leaves []leaf) { made = proveLeaves(leaves, khs) })
		return made
	case n.left == nil:
		return b.prove(n.right, p.child(1), khs)
	case n.right == nil:
		return b.prove(n.left, p.child(0), khs)
	}
	i := partition(khs, p.depth)
	nodes, keys, made2 := [2]*node{n.left, n.right}, [2][]index.Hash{khs[:i], khs[i:]}, [2]*index.Node{}
	f := func(bit int) { made2[bit] = b.prove(nodes[bit], p.child(bit), keys[bit]) }
	if len(khs) > proveTogether {
		b.both(f)
	} else {
		f(0)
		f(1)
	}
	return index.Branch(uint8(p.depth), made2[0], made2[1])
}

func proveLeaves(leaves []leaf, khs []index.Hash) *index.Node {
	switch {
	case len(khs) == 0:
		return index.Stub(trieHash(leaves))
	case len(leaves) == 1:
		return index.Leaf(leaves[0].kh, leaves[0].head)
	}
	depth, n := fork(leaves)
	i := partition(khs, depth)
	return index.Branch(uint8(depth), proveLeaves(leaves[:n], khs[:i]), proveLeaves(leaves[n:], khs[i:]))
}

// partition puts the key hashes whose bit depth is 0 before the others and returns their
// number.
func partition(khs []index.Hash, depth int) (n int) {
	for i := range khs {
		if index.Bit(khs[i], depth) == 0 {
			khs[i], khs[n] = khs[n], khs[i]
			n++
		}
	}
	return n
}

// Subtree returns the trie of the keys whose first depth bits (0 to 256) are those of
// prefix, down to branches of depth depth+levels or more, which are stubs. Nil is
// no such key. Its hash is part of the map's root only where the trie has a node for
// exactly these keys. At most 12 levels are shown at once: the error is ErrTooMany.
func (v *View) Subtree(depth int, prefix index.Hash, levels int) (*index.Node, error) {
	switch {
	case depth < 0 || depth > 256 || levels < 0:
		return nil, fmt.Errorf("%d levels below a prefix of %d bits", levels, depth)
	case levels > maxLevels:
		return nil, fmt.Errorf("%d levels of the index: %w: at most %d", levels, ErrTooMany, maxLevels)
	}
	set, err := v.db.acquire()
	if err != nil {
		return nil, fmt.Errorf("index at size %d: %w", v.size, err)
	}
	defer v.db.release(set)
	b := newBuilder(v.db, set, v.size, 1)
	p, n := newPrefix(index.Hash{}, 0), v.root
	for n != nil && !n.bucket() && p.depth < depth {
		bit := index.Bit(prefix, p.depth)
		p, n = p.child(bit), [2]*node{n.left, n.right}[bit]
	}
	if n != nil && n.bucket() {
		p = newPrefix(prefix, depth) // may be within the bucket
	}
	return b.show(n, p, depth+levels), nil
}

// show returns the trie at p with the branches of a depth below until.
func (b *builder) show(n *node, p prefix, until int) (made *index.Node) {
	switch {
	case n == nil:
		return nil
	case n.bucket():
		b.gather(p, func(leaves []leaf) { made = showLeaves(leaves, until) })
		return made
	case p.depth >= until:
		return index.Stub(n.hash)
	case n.left == nil:
		return b.show(n.right, p.child(1), until)
	case n.right == nil:
		return b.show(n.left, p.child(0), until)
	}
	return index.Branch(uint8(p.depth), b.show(n.left, p.child(0), until), b.show(n.right, p.child(1), until))
}

func showLeaves(leaves []leaf, until int) *index.Node {
	switch len(leaves) {
	case 0:
		return nil
	case 1:
		return index.Leaf(leaves[0].kh, leaves[0].head)
	}
	depth, n := fork(leaves)
	if depth >= until {
		return index.Stub(trieHash(leaves))
	}
	return index.Branch(uint8(depth), showLeaves(leaves[:n], until), showLeaves(leaves[n:], until))
}

package index

import "fmt"

// A Node is a node of a pruned trie: a stub (only its hash is known), a branch or
// a leaf (spec/index.md#pruned-tries). The nil Node is the empty map. A Node is never
// changed, and may be used concurrently.
type Node struct {
	kind        nodeKind
	depth       uint8 // of a branch
	left, right *Node // of a branch
	hash        Hash
	*entry      // of a leaf
}

// An entry is what a leaf holds.
type entry struct {
	kh   Hash
	head Head
}

// A nodeKind is the first byte of a node's encoding.
type nodeKind byte

const (
	kindEmpty nodeKind = iota // nil; only as the root
	kindStub
	kindBranch
	kindLeaf
)

// Stub returns a node of which only the hash is known.
func Stub(h Hash) *Node { return &Node{kind: kindStub, hash: h} }

// Branch returns a branch that decides by bit depth: l is the node for 0, r that for 1.
func Branch(depth uint8, l, r *Node) *Node {
	return &Node{kind: kindBranch, depth: depth, left: l, right: r, hash: BranchHash(depth, l.Hash(), r.Hash())}
}

// Leaf returns the leaf of a key.
func Leaf(kh Hash, h Head) *Node {
	return &Node{kind: kindLeaf, entry: &entry{kh, h}, hash: LeafHash(kh, h)}
}

// Hash returns the hash of a node: the root of the map if it is the topmost one.
func (n *Node) Hash() Hash {
	if n == nil {
		return EmptyRoot
	}
	return n.hash
}

// IsStub reports whether only the hash of a node is known.
func (n *Node) IsStub() bool { return n != nil && n.kind == kindStub }

// AsBranch returns the parts of a branch; ok is false if n is no branch.
func (n *Node) AsBranch() (depth uint8, l, r *Node, ok bool) {
	if n == nil || n.kind != kindBranch {
		return 0, nil, nil, false
	}
	return n.depth, n.left, n.right, true
}

// AsLeaf returns the parts of a leaf; ok is false if n is no leaf.
func (n *Node) AsLeaf() (kh Hash, h Head, ok bool) {
	if n == nil || n.kind != kindLeaf {
		return Hash{}, Head{}, false
	}
	return n.kh, n.head, true
}

// Find looks a key hash up. It follows its bits to a leaf: one of the same key
// hash is present, another one shows that there is none. The error is
// ErrNotCovered where the way ends at a stub. What it says holds in the map with
// root n.Hash() if that is a map at all, as a signed revision promises.
func (n *Node) Find(kh Hash) (h Head, present bool, err error) {
	h, present, covered := n.Shows(kh)
	if !covered {
		err = fmt.Errorf("%w with hash %s", ErrNotCovered, kh)
	}
	return h, present, err
}

// Shows is Find for who does not mind a key hash that is not covered.
func (n *Node) Shows(kh Hash) (h Head, present, covered bool) {
	for n != nil {
		switch n.kind {
		case kindBranch:
			n = n.child(Bit(kh, int(n.depth)))
		case kindLeaf:
			if n.kh != kh {
				return Head{}, false, true
			}
			return n.head, true, true
		default:
			return Head{}, false, false
		}
	}
	return Head{}, false, true
}

func (n *Node) child(bit int) *Node {
	if bit == 0 {
		return n.left
	}
	return n.right
}

// Check reports ErrShape if no map has what the nodes show: depths that do not
// increase downwards, a leaf at which its own bits do not lead, leaves below a
// branch that differ before its depth, an empty list. ParsePruned has checked it already.
func (n *Node) Check() error {
	_, err := n.check()
	return err
}

// check returns a leaf below n, nil if none is known: all that are known share the bits
// before n's depth.
func (n *Node) check() (*Node, error) {
	if n == nil || n.kind != kindBranch {
		return n.checkOne(nil, nil)
	}
	l, err := n.left.check()
	if err != nil {
		return nil, err
	}
	r, err := n.right.check()
	if err != nil {
		return nil, err
	}
	return n.checkOne(l, r)
}

// checkOne is check for a node below which everything is checked: l is what check returns
// for the left part of a branch, r for the right one.
func (n *Node) checkOne(l, r *Node) (*Node, error) {
	switch {
	case n == nil || n.kind == kindStub:
		return nil, nil
	case n.kind == kindLeaf:
		if n.head.Count == 0 {
			return nil, fmt.Errorf("%w: the list of %s is empty", ErrShape, n.kh)
		}
		return n, nil
	}
	d := int(n.depth)
	for _, below := range [...]*Node{n.left, n.right} {
		if depth, _, _, ok := below.AsBranch(); ok && int(depth) <= d { // below may be nil
			return nil, fmt.Errorf("%w: a branch of depth %d below one of depth %d", ErrShape, depth, d)
		}
	}
	if l != nil && Bit(l.kh, d) != 0 {
		return nil, fmt.Errorf("%w: the leaf of %s does not belong on the left of depth %d", ErrShape, l.kh, d)
	}
	if r != nil && Bit(r.kh, d) != 1 {
		return nil, fmt.Errorf("%w: the leaf of %s does not belong on the right of depth %d", ErrShape, r.kh, d)
	}
	if l == nil {
		return r, nil
	}
	if r != nil && CommonBits(l.kh, r.kh) < d {
		return nil, fmt.Errorf("%w: the leaves of %s and %s differ before the branch of depth %d", ErrShape, l.kh, r.kh, d)
	}
	return l, nil
}

package index

import (
	"github.com/firn-log/firn/log/statement"
)

// Memory is the map in memory: the reference implementation, for tests and for
// small logs. It may not be used concurrently. The zero value is the empty map.
type Memory struct {
	root *memNode
	size uint64
	keys int
}

// A memNode is a leaf if it has a list, and a branch otherwise.
type memNode struct {
	hash        Hash
	left, right *memNode
	list        *memList
	depth       uint8
	hashed      bool
}

type memList struct {
	kh       Hash
	items    []Item
	frontier Frontier
}

// Add adds the leaf at an index, after which the size is one more than it.
// Leaves are added in order.
func (m *Memory) Add(index uint64, leaf []byte) {
	if s, err := statement.Parse(leaf); err == nil {
		for _, k := range StatementKeys(s) {
			m.Put(KeyHash(k), Item{index, s.Signer})
		}
	}
	m.size = index + 1
}

// Put appends one item to the list of a key hash, unchecked: it can make maps
// that no log has.
func (m *Memory) Put(kh Hash, it Item) {
	at := &m.root
	for n := *at; n != nil && n.list == nil; n = *at {
		at = n.child(kh)
	}
	diff := 256
	if *at != nil {
		diff = CommonBits((*at).list.kh, kh)
	}
	// Again from the top, as far as the key hash agrees with what is there.
	at = &m.root
	for n := *at; n != nil && n.list == nil && int(n.depth) < diff; n = *at {
		n.hashed = false
		at = n.child(kh)
	}
	if n := *at; n != nil && diff == 256 {
		n.hashed = false
		n.list.append(it)
		return
	}
	leaf := &memNode{list: &memList{kh: kh}}
	leaf.list.append(it)
	m.keys++
	if *at == nil {
		*at = leaf
		return
	}
	branch := &memNode{depth: uint8(diff), left: leaf, right: *at}
	if Bit(kh, diff) == 1 {
		branch.left, branch.right = *at, leaf
	}
	*at = branch
}

func (l *memList) append(it Item) {
	l.items = append(l.items, it)
	l.frontier.Append(it)
}

func (n *memNode) child(kh Hash) **memNode {
	if Bit(kh, int(n.depth)) == 0 {
		return &n.left
	}
	return &n.right
}

func (n *memNode) sum() Hash {
	if !n.hashed {
		if n.list != nil {
			n.hash = LeafHash(n.list.kh, n.list.frontier.Root())
		} else {
			n.hash = BranchHash(n.depth, n.left.sum(), n.right.sum())
		}
		n.hashed = true
	}
	return n.hash
}

// Size returns the number of leaves added.
func (m *Memory) Size() uint64 { return m.size }

// Keys returns the number of keys.
func (m *Memory) Keys() int { return m.keys }

// Root returns the root of the map.
func (m *Memory) Root() Hash {
	if m.root == nil {
		return EmptyRoot
	}
	return m.root.sum()
}

// List returns the list of a key hash, nil if it has none. It must not be changed.
func (m *Memory) List(kh Hash) []Item {
	n := m.root
	for n != nil && n.list == nil {
		n = *n.child(kh)
	}
	if n == nil || n.list.kh != kh {
		return nil
	}
	return n.list.items
}

// Prove returns the smallest pruned trie that shows of each key hash whether it
// is present. It does not change when the map does.
func (m *Memory) Prove(khs []Hash) *Node {
	if m.root == nil {
		return nil
	}
	return m.root.prove(khs)
}

func (n *memNode) prove(khs []Hash) *Node {
	switch {
	case len(khs) == 0:
		return Stub(n.sum())
	case n.list != nil:
		return Leaf(n.list.kh, n.list.frontier.Root())
	}
	var side [2][]Hash
	for _, kh := range khs {
		bit := Bit(kh, int(n.depth))
		side[bit] = append(side[bit], kh)
	}
	return Branch(n.depth, n.left.prove(side[0]), n.right.prove(side[1]))
}

package index

import (
	"encoding/binary"
	"math/bits"
	"runtime"
	"sync"
)

// MaxPruned is the largest encoding of a pruned trie that is read, in bytes
// (spec/index.md#sizes).
const MaxPruned = 16 << 20

// maxNesting bounds how many branches a pruned trie has one below the other: one
// more than any map has, so that a wrong one can be shown.
const maxNesting = 257

// AppendBinary appends the encoding of a pruned trie: its nodes in pre-order,
// each its kind (1 byte) and: for a stub its hash; for a branch its
// depth (1 byte), followed by its left and its right node; for a leaf the key hash, the count (8
// bytes, big-endian) and the root of its list (spec/index.md#pruned-tries). The error is nil.
func (n *Node) AppendBinary(b []byte) ([]byte, error) {
	if n == nil {
		return append(b, byte(kindEmpty)), nil
	}
	b = append(b, byte(n.kind))
	switch n.kind {
	case kindStub:
		return append(b, n.hash[:]...), nil
	case kindLeaf:
		b = append(b, n.kh[:]...)
		b = binary.BigEndian.AppendUint64(b, n.head.Count)
		return append(b, n.head.Root[:]...), nil
	}
	b, err := n.left.AppendBinary(append(b, n.depth))
	if err != nil {
		return nil, err
	}
	return n.right.AppendBinary(b)
}

// ParsePruned reads a pruned trie from the start of b and returns what follows.
// What it accepts encodes to the same bytes. The error is ErrMalformed; or ErrShape, with the
// node and the rest: what no map has, though its hash may be that of a signed
// revision, which convicts. Memory is bounded by a small multiple of len(b).
func ParsePruned(b []byte) (n *Node, rest []byte, err error) {
	if len(b) > 0 && nodeKind(b[0]) == kindEmpty {
		return nil, b[1:], nil
	}
	p := parser{piece: min(64, 1+len(b)/16)}
	n, rest, err = p.node(b, 0)
	if err != nil {
		return nil, nil, err
	}
	if size := len(b) - len(rest); size > MaxPruned {
		return nil, nil, malformed("a pruned trie of %d bytes, above %d", size, MaxPruned)
	}
	n.hashAll()
	return n, rest, n.Check()
}

// A parser reads nodes; their hashes are computed when all are there.
type parser struct {
	room  []Node // for the next ones
	piece int    // how many there is room for at once
}

func (p *parser) new(kind nodeKind) *Node {
	if len(p.room) == 0 {
		p.room = make([]Node, p.piece)
	}
	n := &p.room[0]
	p.room = p.room[1:]
	n.kind = kind
	return n
}

// size returns how many bytes follow the kind, without those of other nodes; 0
// for what is no node.
func (k nodeKind) size() int {
	switch k {
	case kindStub:
		return 32
	case kindBranch:
		return 1
	case kindLeaf:
		return 32 + 8 + 32
	}
	return 0
}

func (p *parser) node(b []byte, nesting int) (*Node, []byte, error) {
	if len(b) == 0 {
		return nil, nil, malformed("a pruned trie is cut off")
	}
	kind, b := nodeKind(b[0]), b[1:]
	size := kind.size()
	switch {
	case size == 0:
		return nil, nil, malformed("a node of kind %d", kind)
	case len(b) < size:
		return nil, nil, malformed("a node of kind %d is cut off", kind)
	}
	switch kind {
	case kindStub:
		n := p.new(kindStub)
		n.hash = Hash(b[:32])
		return n, b[32:], nil
	case kindLeaf:
		h := Head{binary.BigEndian.Uint64(b[32:]), Hash(b[40:72])}
		if h.Count > maxCount {
			return nil, nil, malformed("a list of %d items, above 2^63−1", h.Count)
		}
		n := p.new(kindLeaf)
		n.entry = &entry{Hash(b[:32]), h}
		return n, b[72:], nil
	}
	if nesting == maxNesting {
		return nil, nil, malformed("more than %d branches one below the other", maxNesting)
	}
	n := p.new(kindBranch)
	n.depth = b[0]
	var err error
	if n.left, b, err = p.node(b[1:], nesting+1); err != nil {
		return nil, nil, err
	}
	if n.right, b, err = p.node(b, nesting+1); err != nil {
		return nil, nil, err
	}
	return n, b, nil
}

// hashAll computes the hashes of n and of all below it but stubs, on all processors.
func (n *Node) hashAll() {
	var wg sync.WaitGroup
	for _, below := range n.below(bits.Len(uint(8*runtime.GOMAXPROCS(0))), nil) {
		wg.Go(below.hashBelow)
	}
	wg.Wait()
	n.hashBelow()
}

// below appends the branches that are so many levels below n.
func (n *Node) below(levels int, found []*Node) []*Node {
	switch {
	case n.kind != kindBranch:
		return found
	case levels == 0:
		return append(found, n)
	}
	return n.right.below(levels-1, n.left.below(levels-1, found))
}

// hashBelow computes the hashes of n and of those below it that have none yet.
func (n *Node) hashBelow() {
	if n.kind == kindStub || n.hash != (Hash{}) {
		return
	}
	if n.kind == kindLeaf {
		n.hash = LeafHash(n.kh, n.head)
		return
	}
	n.left.hashBelow()
	n.right.hashBelow()
	n.hash = BranchHash(n.depth, n.left.hash, n.right.hash)
}

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
	f := form{cutAt: bits.Len(uint(8 * runtime.GOMAXPROCS(0)))}
	if err := f.scan(b); err != nil {
		return nil, nil, err
	}
	if f.size > MaxPruned {
		return nil, nil, malformed("a pruned trie of %d bytes, above %d", f.size, MaxPruned)
	}
	n, err = f.read(b)
	return n, b[f.size:], err
}

// A form is what is seen of an encoding before memory is spent on its nodes.
type form struct {
	place       // of its end
	cutAt int   // how many branches are above a cut
	cuts  []cut // subtrees that are read each on its own
}

// A place in an encoding: after so many bytes, nodes and leaves.
type place struct{ size, nodes, leaves int }

// A cut is a subtree.
type cut struct {
	at   place
	rest parser // when it was read
	node *Node
	leaf *Node // see check
}

// scan finds the end of an encoding. The error is ErrMalformed.
func (f *form) scan(b []byte) error {
	var half [maxNesting]bool // of the branches above: whether the left part has ended
	nesting := 0
	for {
		if nesting == f.cutAt {
			f.cuts = append(f.cuts, cut{at: f.place})
		}
		kind, err := kindAt(b[f.size:])
		if err != nil {
			return err
		}
		f.size += 1 + kind.size()
		f.nodes++
		if kind == kindBranch {
			if nesting == maxNesting {
				return malformed("more than %d branches one below the other", maxNesting)
			}
			half[nesting] = false
			nesting++
			continue
		}
		if kind == kindLeaf {
			f.leaves++
		}
		for nesting > 0 && half[nesting-1] {
			nesting--
		}
		if nesting == 0 {
			return nil
		}
		half[nesting-1] = true
	}
}

// kindAt returns the kind of the node that b begins with, which is there as a whole.
func kindAt(b []byte) (nodeKind, error) {
	if len(b) == 0 {
		return 0, malformed("a pruned trie is cut off")
	}
	kind, b := nodeKind(b[0]), b[1:]
	size := kind.size()
	switch {
	case size == 0:
		return 0, malformed("a node of kind %d", kind)
	case len(b) < size:
		return 0, malformed("a node of kind %d is cut off", kind)
	}
	if kind == kindLeaf {
		if count := binary.BigEndian.Uint64(b[32:]); count > maxCount {
			return 0, malformed("a list of %d items, above 2^63−1", count)
		}
	}
	return kind, nil
}

// read reads what scan has seen, the cuts on all processors. The error is ErrShape.
func (f *form) read(b []byte) (*Node, error) {
	whole := parser{b: b, nodes: make([]Node, f.nodes), entries: make([]entry, f.leaves)}
	var wg sync.WaitGroup
	for i := range f.cuts {
		c := &f.cuts[i]
		wg.Go(func() {
			c.rest = whole.after(c.at)
			c.node, c.leaf = c.rest.node(-1)
		})
	}
	wg.Wait()
	top := whole
	top.cuts = f.cuts
	n, _ := top.node(f.cutAt)
	return n, top.err
}

// A parser reads the nodes of an encoding that was scanned, computes their hashes and checks them.
type parser struct {
	b       []byte
	nodes   []Node  // room for those to come
	entries []entry // room for those of their leaves
	cuts    []cut   // that come next, and were read
	err     error   // the first one of shape
}

// after returns a parser at a later place.
func (p *parser) after(at place) parser {
	return parser{b: p.b[at.size:], nodes: p.nodes[at.nodes:], entries: p.entries[at.leaves:]}
}

// node reads the next node, and with it what check returns. Below so many branches come cuts.
func (p *parser) node(cutBelow int) (n, leaf *Node) {
	if cutBelow == 0 {
		c := &p.cuts[0]
		err := p.err
		if err == nil {
			err = c.rest.err
		}
		*p = parser{b: c.rest.b, nodes: c.rest.nodes, entries: c.rest.entries, cuts: p.cuts[1:], err: err}
		return c.node, c.leaf
	}
	n, p.nodes = &p.nodes[0], p.nodes[1:]
	n.kind = nodeKind(p.b[0])
	b := p.b[1:]
	p.b = b[n.kind.size():]
	var l, r *Node
	switch n.kind {
	case kindStub:
		n.hash = Hash(b[:32])
		return n, nil
	case kindLeaf:
		n.entry, p.entries = &p.entries[0], p.entries[1:]
		*n.entry = entry{Hash(b[:32]), Head{binary.BigEndian.Uint64(b[32:]), Hash(b[40:72])}}
		n.hash = LeafHash(n.kh, n.head)
	default:
		n.depth = b[0]
		n.left, l = p.node(cutBelow - 1)
		n.right, r = p.node(cutBelow - 1)
		n.hash = BranchHash(n.depth, n.left.hash, n.right.hash)
	}
	leaf, err := n.checkOne(l, r)
	if p.err == nil {
		p.err = err
	}
	return n, leaf
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

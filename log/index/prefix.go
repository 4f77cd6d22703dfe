package index

import (
	"fmt"
	"math/bits"
)

// MaxPrefixKeys is how many key hashes a log answers about under one prefix
// (spec/index.md#prefixes).
const MaxPrefixKeys = 1024

// MinPrefixBits returns how many bits a prefix needs so that a log answers about it: the
// least b with 2^(b+6) ≥ size (spec/index.md#prefixes).
func MinPrefixBits(size uint64) int {
	if size <= 1<<6 {
		return 0
	}
	return bits.Len64(size-1) - 6
}

// CheckPrefix checks that a prefix has 0 to 256 bits and is 0 behind them. The
// error is ErrMalformed.
func CheckPrefix(bits int, prefix Hash) error {
	if bits < 0 || bits > 256 {
		return malformed("a prefix of %d bits instead of 0 to 256", bits)
	}
	for i := bits; i < 256; i++ {
		if Bit(prefix, i) != 0 {
			return malformed("bit %d of a prefix of %d bits is not 0", i, bits)
		}
	}
	return nil
}

// A KeyHead is a key hash of a map with the head of its list.
type KeyHead struct {
	Key  Hash
	Head Head
}

// FindPrefix returns all key hashes that begin with a prefix, in ascending order
// (spec/index.md#prefixes). The error is ErrNotCovered if the pruned trie does
// not show all of them, or that of CheckPrefix. It holds as what Find says.
func (n *Node) FindPrefix(bits int, prefix Hash) ([]KeyHead, error) {
	if err := CheckPrefix(bits, prefix); err != nil {
		return nil, err
	}
	for n != nil && n.kind == kindBranch && int(n.depth) < bits {
		n = n.child(Bit(prefix, int(n.depth)))
	}
	if n == nil {
		return nil, nil
	}
	// All leaves below n have the same first bits: one of them tells.
	if leaf := n.anyLeaf(); leaf != nil && CommonBits(leaf.kh, prefix) < bits {
		return nil, nil
	}
	found, whole := n.leaves(nil)
	if !whole {
		return nil, fmt.Errorf("%w prefix of %d bits", ErrNotCovered, bits)
	}
	return found, nil
}

func (n *Node) anyLeaf() *Node {
	if n == nil || n.kind == kindStub {
		return nil
	}
	if n.kind == kindLeaf {
		return n
	}
	if l := n.left.anyLeaf(); l != nil {
		return l
	}
	return n.right.anyLeaf()
}

// leaves appends all leaves below n; whole is false if there are stubs.
func (n *Node) leaves(found []KeyHead) (_ []KeyHead, whole bool) {
	switch {
	case n == nil || n.kind == kindStub:
		return found, false
	case n.kind == kindLeaf:
		return append(found, KeyHead{n.kh, n.head}), true
	}
	found, l := n.left.leaves(found)
	found, r := n.right.leaves(found)
	return found, l && r
}

// Package subtree verifies Merkle proofs about subtrees: the entries [start, end)
// of a log's tree, where end-start is at most a power of two that start is a
// multiple of. They are the proofs of C2SP tlog-witness (sign-subtree) and
// tlog-mirror; for the first entries of a tree they are those of RFC 6962. It
// holds arithmetic only.
package subtree

import (
	"crypto/sha256"
	"errors"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Errors.
var (
	// ErrRange says that there is no such subtree, or entry in it, or tree that holds it.
	ErrRange = errors.New("no such subtree")
	// ErrProof says that the proof does not lead to the hash that was given.
	ErrProof = errors.New("the proof does not verify")
)

// Valid reports whether [start, end) is a subtree.
func Valid(start, end uint64) bool {
	if start >= end {
		return false
	}
	// The smallest power of two that is not smaller than end-start is 1 << n.
	n := bits.Len64(end - start - 1)
	return n < 64 && start&(1<<n-1) == 0
}

// VerifyInclusion checks that the subtree [start, end) with the hash root has a
// leaf with the hash leaf at index, which counts from the beginning of the log.
// It returns nil, ErrRange or ErrProof.
func VerifyInclusion(proof []tlog.Hash, index, start, end uint64, leaf, root tlog.Hash) error {
	if !Valid(start, end) || index < start || index >= end {
		return ErrRange
	}
	at, last, hash := index-start, end-start-1, leaf
	for _, h := range proof {
		switch {
		case last == 0:
			return ErrProof
		case at&1 == 1 || at == last:
			hash = tlog.NodeHash(h, hash)
			// A node without a right neighbour is its own parent.
			for at&1 == 0 {
				at, last = at>>1, last>>1
			}
		default:
			hash = tlog.NodeHash(hash, h)
		}
		at, last = at>>1, last>>1
	}
	if last != 0 || hash != root {
		return ErrProof
	}
	return nil
}

// VerifyConsistency checks that the subtree [start, end) with the hash sub is one
// of the tree of size entries with the hash root. An empty one, start = end, is
// one of every tree, and nothing is said about root. It returns nil, ErrRange
// or ErrProof.
func VerifyConsistency(proof []tlog.Hash, start, end, size uint64, sub, root tlog.Hash) error {
	if start == end && end <= size {
		if len(proof) > 0 || sub != sha256.Sum256(nil) {
			return ErrProof
		}
		return nil
	}
	if !Valid(start, end) || end > size {
		return ErrRange
	}
	// The numbers of the subtree's first and last node and of the tree's last
	// one, on the level where the proof begins: the highest one on which the
	// subtree ends with a node that is whole in both.
	first, last, end1 := start, end-1, size-1
	for first != last && (last&1 == 1 || last == end1) {
		first, last, end1 = first>>1, last>>1, end1>>1
	}
	inSub, inTree := sub, sub
	if first != last {
		if len(proof) == 0 {
			return ErrProof
		}
		inSub, inTree, proof = proof[0], proof[0], proof[1:]
	}
	for _, h := range proof {
		switch {
		case end1 == 0:
			return ErrProof
		case last&1 == 1 || last == end1:
			if first < last {
				inSub = tlog.NodeHash(h, inSub)
			}
			inTree = tlog.NodeHash(h, inTree)
			for last&1 == 0 {
				first, last, end1 = first>>1, last>>1, end1>>1
			}
		default:
			inTree = tlog.NodeHash(inTree, h)
		}
		first, last, end1 = first>>1, last>>1, end1>>1
	}
	if end1 != 0 || inSub != sub || inTree != root {
		return ErrProof
	}
	return nil
}

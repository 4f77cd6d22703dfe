package log

import (
	"errors"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// A fsckTile is one tile in two versions: as it is stored, and as it follows
// from what is below it. Either is nil if it cannot be read.
type fsckTile struct {
	level           int
	n               uint64
	width           int
	stored, derived []tlog.Hash
	faults          []Fault
	err             error
}

func (t *fsckTile) path() string { return tilePath(t.level, int64(t.n), t.width) }

// differ returns the first place where the two versions differ, or -1.
func (t *fsckTile) differ() int {
	if t.stored == nil || t.derived == nil {
		return -1
	}
	for i := range t.stored {
		if t.stored[i] != t.derived[i] {
			return i
		}
	}
	return -1
}

// forget drops the hashes of a tile whose two versions agree, keeping its root.
func (t *fsckTile) forget() *fsckTile {
	if t.differ() >= 0 {
		return t
	}
	if t.stored == nil {
		t.stored = t.derived
	}
	if t.stored != nil {
		t.stored = []tlog.Hash{rootOf(t.stored)}
	}
	t.derived = nil
	return t
}

// readFault turns an answer that cannot be right into a fault; what is left is
// not being able to read.
func readFault(t *fsckTile, path string, err error) error {
	var p *ProofError
	switch {
	case err == nil:
	case errors.Is(err, ErrNotFound):
		t.faults = append(t.faults, Fault{path, "missing"})
	case errors.As(err, &p):
		t.faults = append(t.faults, Fault{path, "damaged: " + p.Reason})
	case errors.Is(err, ErrTooLarge):
		t.faults = append(t.faults, Fault{path, "damaged: too large"})
	default:
		return err
	}
	return nil
}

// edgeRoot computes the root of the tree from its partial tiles: in each, the
// tree of everything to the right of its hashes is one more, incomplete, node.
func edgeRoot(edge []*fsckTile, chosen map[*fsckTile][]tlog.Hash) tlog.Hash {
	var right []tlog.Hash
	for _, t := range edge {
		hashes := t.stored
		if hashes == nil {
			hashes = t.derived
		}
		if h, ok := chosen[t]; ok {
			hashes = h
		}
		right = []tlog.Hash{rootOf(append(hashes[:len(hashes):len(hashes)], right...))}
	}
	if right == nil {
		root, _ := tlog.TreeHash(0, nil)
		return root
	}
	return right[0]
}

// rootOf is the Merkle tree hash over subtree hashes (RFC 6962 §2.1); there is
// at least one.
func rootOf(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	k := 1 << (bits.Len(uint(len(hashes)-1)) - 1)
	return tlog.NodeHash(rootOf(hashes[:k]), rootOf(hashes[k:]))
}

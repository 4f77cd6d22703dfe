package fraud

import (
	"math/bits"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
)

// item returns the item at a place of l.Items with the proof that it is in the
// whole list.
func item(l index.List, place int) evidence.Item {
	t := tree{prefix: l.Prefix.Count(), peaks: peaks(l.Prefix), items: l.Items}
	position := t.prefix + uint64(place)
	it := l.Items[place]
	return evidence.Item{
		Position: position, Index: it.Index, Signer: it.Signer,
		Proof: t.path(0, t.prefix+uint64(len(l.Items)), position),
	}
}

// A tree is a list of which the first items are known by their frontier.
type tree struct {
	prefix uint64
	peaks  map[uint64]index.Hash // by the position at which their subtree begins
	items  []index.Item
}

// peaks returns the roots of the complete subtrees that a frontier holds.
func peaks(f index.Frontier) map[uint64]index.Hash {
	b, _ := f.MarshalBinary() // never fails
	all, start := make(map[uint64]index.Hash), uint64(0)
	for b = b[8:]; len(b) > 0; b = b[32:] {
		all[start] = index.Hash(b[:32])
		start += 1 << (bits.Len64(f.Count()-start) - 1)
	}
	return all
}

// split returns the number of items on the left of a subtree of n > 1 items.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// path is the audit path (RFC 6962 §2.1.1) of a position that is not in the
// prefix, among the items from lo to hi.
func (t *tree) path(lo, hi, position uint64) []index.Hash {
	if hi-lo == 1 {
		return nil
	}
	mid := lo + split(hi-lo)
	if position < mid {
		return append(t.path(lo, mid, position), t.hash(mid, hi))
	}
	return append(t.path(mid, hi, position), t.hash(lo, mid))
}

// hash returns the root over the items from lo to hi, which beside a path are
// not a part of one peak.
func (t *tree) hash(lo, hi uint64) index.Hash {
	if hi <= t.prefix {
		return t.peaks[lo]
	}
	if lo >= t.prefix {
		return index.ListHead(t.items[lo-t.prefix : hi-t.prefix]).Root
	}
	mid := lo + split(hi-lo)
	return index.ListNodeHash(t.hash(lo, mid), t.hash(mid, hi))
}

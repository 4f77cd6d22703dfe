package index

import (
	"fmt"
	"math/bits"
)

// ItemPath returns what shows that the item at a position is in a list: the roots
// of the subtrees beside it, from the smallest to the largest, as an audit path of RFC 6962 §2.1.1. The
// position must be below len(items).
func ItemPath(items []Item, position int) []Hash {
	if len(items) <= 1 {
		return nil
	}
	k := 1 << (bits.Len(uint(len(items)-1)) - 1) // the largest power of two below
	if position < k {
		return append(ItemPath(items[:k], position), ListHead(items[k:]).Root)
	}
	return append(ItemPath(items[k:], position-k), ListHead(items[:k]).Root)
}

// CheckItem checks that the list with head h has this item at this position. The
// error is ErrMismatch.
func CheckItem(h Head, position uint64, it Item, path []Hash) error {
	if position >= h.Count {
		return fmt.Errorf("%w: position %d of %d", ErrMismatch, position, h.Count)
	}
	// RFC 9162 §2.1.3.2
	sum, last := ItemHash(it), h.Count-1
	for _, p := range path {
		if last == 0 {
			return fmt.Errorf("%w: a path of %d hashes is too long", ErrMismatch, len(path))
		}
		if position&1 == 1 || position == last {
			sum = ListNodeHash(p, sum)
			for ; position&1 == 0 && position != 0; position, last = position>>1, last>>1 {
			}
		} else {
			sum = ListNodeHash(sum, p)
		}
		position, last = position>>1, last>>1
	}
	if last != 0 || sum != h.Root {
		return fmt.Errorf("%w: the item is not at this position", ErrMismatch)
	}
	return nil
}

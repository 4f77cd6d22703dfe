package index

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	// ErrMalformed says that bytes are not a pruned trie, a list or a frontier.
	ErrMalformed = errors.New("malformed index proof")
	// ErrMismatch says that a list is not the one that the map commits to.
	ErrMismatch = errors.New("the list does not belong to the head in the map")
	// ErrShape says that no map has this shape: a leaf where its key does not
	// lead, depths that do not increase, an empty list, indexes that do not increase
	// or that reach beyond the map's size. What hashes to the root of a signed
	// revision and is refused with ErrShape convicts who signed
	// (spec/index.md#convicting).
	ErrShape = errors.New("no map has this shape")
	// ErrNotCovered says that a pruned trie shows neither that a key is present
	// nor that it is absent.
	ErrNotCovered = errors.New("the proof does not cover the key")
)

// MaxItems is the largest number of items in a list section (spec/index.md#sizes).
const MaxItems = 1 << 20

// itemSize is the number of bytes of an item in a list.
const itemSize = 8 + 32

// A List is what is answered about the list of one key: the items from a position
// on, and the frontier of those before (spec/index.md#list-sections).
type List struct {
	Prefix Frontier
	Items  []Item
}

// AppendBinary appends the frontier, the number of items (4 bytes, big-endian)
// and the items: 8 bytes index, 32 bytes key id.
func (l List) AppendBinary(b []byte) ([]byte, error) {
	if len(l.Items) > MaxItems {
		return nil, fmt.Errorf("a list section of %d items, above %d", len(l.Items), MaxItems)
	}
	b, _ = l.Prefix.AppendBinary(b) // never fails
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Items)))
	for _, it := range l.Items {
		b = binary.BigEndian.AppendUint64(b, it.Index)
		b = append(b, it.Signer[:]...)
	}
	return b, nil
}

// ParseList reads a list section from the start of b and returns what follows.
// It checks the form only; the error is ErrMalformed. Memory is bounded by len(b).
func ParseList(b []byte) (l List, rest []byte, err error) {
	l.Prefix, b, err = ParseFrontier(b)
	if err != nil {
		return List{}, nil, err
	}
	if len(b) < 4 {
		return List{}, nil, malformed("a list section is cut off")
	}
	n := int(binary.BigEndian.Uint32(b))
	b = b[4:]
	switch {
	case n > MaxItems:
		return List{}, nil, malformed("a list section of %d items, above %d", n, MaxItems)
	case len(b) < n*itemSize:
		return List{}, nil, malformed("a list section of %d items is cut off", n)
	}
	if n > 0 {
		l.Items = make([]Item, n)
	}
	for i := range l.Items {
		l.Items[i].Index = binary.BigEndian.Uint64(b)
		copy(l.Items[i].Signer[:], b[8:])
		b = b[itemSize:]
	}
	return l, b, nil
}

// Check is CheckList, and that all indexes are below the size of the map.
func (l List) Check(h Head, size uint64) error {
	if err := CheckList(h, l.Prefix, l.Items); err != nil {
		return err
	}
	if n := len(l.Items); n > 0 && l.Items[n-1].Index >= size {
		return fmt.Errorf("%w: index %d in a map of size %d", ErrShape, l.Items[n-1].Index, size)
	}
	return nil
}

// CheckList checks that a list is the one with head h: those that prefix is the
// frontier of, then the items, and no others. The error is ErrMismatch, or
// ErrShape if this is the list but no map has it. For a list answered in parts, from
// the last to the first, the head of each part but the last is the prefix of the
// next one, whose Root is checked by then.
func CheckList(h Head, prefix Frontier, items []Item) error {
	if have := prefix.rootWith(items); have != h {
		return fmt.Errorf("%w: %d items with root %s instead of %d with root %s", ErrMismatch, have.Count, have.Root, h.Count, h.Root)
	}
	if h.Count == 0 {
		return fmt.Errorf("%w: an empty list", ErrShape)
	}
	for i := 1; i < len(items); i++ {
		if items[i].Index <= items[i-1].Index {
			return fmt.Errorf("%w: index %d after %d in a list", ErrShape, items[i].Index, items[i-1].Index)
		}
	}
	return nil
}

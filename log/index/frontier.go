package index

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A Frontier is what must be known of the first items of a list to append to
// it: their number and the roots of the complete subtrees that they fill
// (spec/index.md#lists). The zero value is that of no items. A Frontier is a
// value: a copy is not changed by appending to the original.
type Frontier struct {
	count uint64
	top   *peak // of the last, smallest subtree
}

// A peak is the root of a complete subtree. It is never changed.
type peak struct {
	hash Hash
	left *peak // the next larger one
}

// NewFrontier returns the frontier of count items with the roots of the complete subtrees,
// largest first. The error is ErrMalformed: there must be as many as count has ones.
func NewFrontier(count uint64, hashes []Hash) (Frontier, error) {
	if n := bits.OnesCount64(count); n != len(hashes) || count > maxCount {
		return Frontier{}, malformed("a frontier of %d items with %d hashes instead of %d", count, len(hashes), n)
	}
	f := Frontier{count: count}
	for _, h := range hashes {
		f.top = &peak{h, f.top}
	}
	return f, nil
}

// Append adds an item. It does not check that indexes increase.
func (f *Frontier) Append(it Item) {
	h, left := ItemHash(it), f.top
	for c := f.count; c&1 == 1; c >>= 1 {
		h, left = ListNodeHash(left.hash, h), left.left
	}
	f.top = &peak{h, left}
	f.count++
}

// Count returns the number of items.
func (f Frontier) Count() uint64 { return f.count }

// Root returns the head of the list of these items, the zero Head if there are none.
func (f Frontier) Root() Head {
	if f.top == nil {
		return Head{}
	}
	h := f.top.hash
	for p := f.top.left; p != nil; p = p.left {
		h = ListNodeHash(p.hash, h)
	}
	return Head{f.count, h}
}

// rootWith is Root after items were appended, which it does not do.
func (f Frontier) rootWith(items []Item) Head {
	if len(items) == 0 {
		return f.Root()
	}
	var room [64]Hash
	peaks := room[:bits.OnesCount64(f.count)]
	for p, i := f.top, len(peaks)-1; p != nil; p, i = p.left, i-1 {
		peaks[i] = p.hash
	}
	for i, it := range items {
		h := ItemHash(it)
		for c := f.count + uint64(i); c&1 == 1; c >>= 1 {
			h = ListNodeHash(peaks[len(peaks)-1], h)
			peaks = peaks[:len(peaks)-1]
		}
		peaks = append(peaks, h)
	}
	h := peaks[len(peaks)-1]
	for i := len(peaks) - 2; i >= 0; i-- {
		h = ListNodeHash(peaks[i], h)
	}
	return Head{f.count + uint64(len(items)), h}
}

// Hashes returns the roots of the complete subtrees, largest first: as many as Count has ones.
func (f Frontier) Hashes() []Hash {
	hashes := make([]Hash, bits.OnesCount64(f.count))
	n := len(hashes)
	for p := f.top; p != nil; p = p.left {
		n--
		hashes[n] = p.hash
	}
	return hashes
}

// AppendBinary appends the number of items (8 bytes, big-endian) and the roots,
// largest subtree first: 8 + 32·n bytes, n the number of ones in the number of
// items. The error is nil.
func (f Frontier) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, f.count)
	for _, h := range f.Hashes() {
		b = append(b, h[:]...)
	}
	return b, nil
}

// MarshalBinary returns what AppendBinary appends.
func (f Frontier) MarshalBinary() ([]byte, error) { return f.AppendBinary(nil) }

// UnmarshalBinary reads what MarshalBinary returns, and nothing after it.
func (f *Frontier) UnmarshalBinary(b []byte) error {
	g, rest, err := ParseFrontier(b)
	if err == nil && len(rest) > 0 {
		err = malformed("%d bytes after a frontier", len(rest))
	}
	if err == nil {
		*f = g
	}
	return err
}

// ParseFrontier reads a frontier from the start of b and returns what follows.
// The error is ErrMalformed.
func ParseFrontier(b []byte) (f Frontier, rest []byte, err error) {
	if len(b) < 8 {
		return f, nil, malformed("a frontier is cut off after %d bytes", len(b))
	}
	count, b := binary.BigEndian.Uint64(b), b[8:]
	n := bits.OnesCount64(count)
	if len(b) < 32*n {
		return f, nil, malformed("the frontier of %d items is cut off", count)
	}
	hashes := make([]Hash, n)
	for i := range hashes {
		hashes[i], b = Hash(b[:32]), b[32:]
	}
	f, err = NewFrontier(count, hashes)
	if err != nil {
		return f, nil, err
	}
	return f, b, nil
}

// maxCount bounds sizes, indexes and counts, as in logs.
const maxCount = 1<<63 - 1

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

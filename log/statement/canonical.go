package statement

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// maxDepth is how deep arrays and maps may nest; the payload's map is level 1.
const maxDepth = 8

// CBOR major types (RFC 8949 §3.1).
const (
	majorUint   = 0
	majorNint   = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorTag    = 6
	majorSimple = 7
)

// The simple values that occur.
const (
	simpleFalse = 20
	simpleTrue  = 21
)

// A walker reads CBOR items that are deterministically encoded (RFC 8949
// §4.2.1) and of the types that a payload may have, and nothing else.
type walker struct {
	b   []byte
	off int
}

func (w *walker) fail(what string) *Error {
	return errf(CodeNonCanonical, "not deterministic CBOR: %s at byte %d", what, w.off)
}

// head reads the head of an item: its major type and argument, which must have
// its shortest encoding.
func (w *walker) head() (major byte, arg uint64, err error) {
	if w.off >= len(w.b) {
		return 0, 0, w.fail("the data ends too early")
	}
	first := w.b[w.off]
	if first&31 < 24 {
		w.off++
		return first >> 5, uint64(first & 31), nil
	}
	return w.longHead(first>>5, first&31)
}

// longHead reads a head whose argument has bytes of its own.
func (w *walker) longHead(major, info byte) (_ byte, arg uint64, err error) {
	if info > 27 {
		return 0, 0, w.fail("an indefinite length or reserved head")
	}
	n := 1 << (info - 24)
	if len(w.b)-w.off-1 < n {
		return 0, 0, w.fail("the data ends too early")
	}
	switch rest := w.b[w.off+1:]; n {
	case 1:
		arg = uint64(rest[0])
	case 2:
		arg = uint64(binary.BigEndian.Uint16(rest))
	case 4:
		arg = uint64(binary.BigEndian.Uint32(rest))
	case 8:
		arg = binary.BigEndian.Uint64(rest)
	}
	if major == majorSimple {
		return 0, 0, w.fail("a float or simple value")
	}
	if arg < 24 || n > 1 && arg>>(4*n) == 0 {
		return 0, 0, w.fail("a number or length that is not in its shortest form")
	}
	w.off += 1 + n
	return major, arg, nil
}

// take reads n bytes.
func (w *walker) take(n uint64) ([]byte, error) {
	if n > uint64(len(w.b)-w.off) {
		return nil, w.fail("the data ends too early")
	}
	b := w.b[w.off : w.off+int(n)]
	w.off += int(n)
	return b, nil
}

// bytes reads one byte string.
func (w *walker) bytes() ([]byte, error) {
	start := w.off
	major, arg, err := w.head()
	if err != nil {
		return nil, err
	}
	if major != majorBytes {
		w.off = start
		return nil, errf(CodeBadForm, "not a statement: a byte string is expected at byte %d", start)
	}
	return w.take(arg)
}

// item reads one item of any type that a payload may have.
func (w *walker) item(depth int) error {
	start := w.off
	major, arg, err := w.head()
	if err != nil {
		return err
	}
	switch major {
	case majorUint, majorNint:
		return nil
	case majorBytes:
		_, err := w.take(arg)
		return err
	case majorText:
		s, err := w.take(arg)
		if err == nil && !utf8.Valid(s) {
			w.off = start
			return w.fail("text that is not UTF-8")
		}
		return err
	case majorSimple:
		if arg == simpleFalse || arg == simpleTrue {
			return nil
		}
		w.off = start
		return w.fail("a null, undefined or simple value")
	case majorTag:
		w.off = start
		return w.fail("a tag")
	}
	if depth >= maxDepth {
		w.off = start
		return w.fail("nesting deeper than 8")
	}
	if major == majorMap {
		return w.mapItems(arg, depth+1)
	}
	for ; arg > 0; arg-- {
		if err := w.item(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// mapItems reads n pairs whose encoded keys must be strictly ascending.
func (w *walker) mapItems(n uint64, depth int) error {
	var last []byte
	for ; n > 0; n-- {
		start := w.off
		if err := w.item(depth); err != nil {
			return err
		}
		key := w.b[start:w.off]
		ascends := last == nil || last[0] < key[0] // which most keys do
		if !ascends && bytes.Compare(last, key) >= 0 {
			w.off = start
			return w.fail("a map key that repeats or is out of order")
		}
		last = key
		if err := w.item(depth); err != nil {
			return err
		}
	}
	return nil
}

// checkCanonical returns an error unless b is exactly one deterministically
// encoded item without floats, tags, null and undefined, and at most
// [maxDepth] deep.
func checkCanonical(b []byte) error {
	w := walker{b: b}
	if err := w.item(0); err != nil {
		return err
	}
	if w.off != len(b) {
		return w.fail("something follows the end")
	}
	return nil
}

// appendHead appends the head of an item in its shortest form.
func appendHead(b []byte, major byte, arg uint64) []byte {
	m := major << 5
	switch {
	case arg < 24:
		return append(b, m|byte(arg))
	case arg < 1<<8:
		return append(b, m|24, byte(arg))
	case arg < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, m|25), uint16(arg))
	case arg < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, m|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(b, m|27), arg)
}

// appendBytes appends s as a byte string.
func appendBytes(b, s []byte) []byte {
	return append(appendHead(b, majorBytes, uint64(len(s))), s...)
}

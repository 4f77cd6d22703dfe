package statement

import (
	"cmp"
	"slices"
)

// The functions encode and decode of the bodies are the bodies of payload version 1. They
// are fixed: a field is never added, removed, renumbered or given another
// meaning. Something new is a new kind, or a new payload version with functions of
// its own; those of version 1 stay, because the leaves stay
// (spec/statement.md#evolution).

// A reader is where in a canonical payload, or a part of it, fields are read. After the
// first error everything that is read is zero.
type reader struct {
	walker
	text string // b again, so that all texts of it are one allocation
	err  *Error
}

// newReader returns a reader of b, which [checkCanonical] has accepted or is a part of what it has.
func newReader(b []byte) reader { return reader{walker: walker{b: b}, text: string(b)} }

// result returns the first error of reading, else that of c: what has the wrong shape
// is called so, whatever values it has.
func (r *reader) result(c *checker) error {
	if r.err != nil {
		return r.err
	}
	return c.result()
}

// fields is a map of numbered fields, all below 24, that are read in the order of their
// numbers, which is that of deterministic encoding.
type fields struct {
	r    *reader
	what string // for messages
	left uint64 // fields that were not read yet
	num  uint64 // of the one being read
}

// fields begins the map that comes next.
func (r *reader) fields(what string) fields {
	f := fields{r: r, what: what}
	f.left, _ = f.open(majorMap)
	return f
}

func (f *fields) failf(format string, args ...any) {
	if f.r.err == nil {
		f.r.err = errf(CodeBadShape, f.what+": "+format, args...)
	}
}

// has reports whether field n is the next one, and goes to its value.
func (f *fields) has(n uint64) bool {
	r := f.r
	if r.err != nil || f.left == 0 || r.off >= len(r.b) || r.b[r.off] != byte(n) {
		return false
	}
	r.off++
	f.left--
	f.num = n
	return true
}

// need goes to the value of field n, which must be the next one.
func (f *fields) need(n uint64) bool {
	if f.has(n) {
		return true
	}
	if key, ok := f.nextKey(); ok && key < n {
		f.failf("field %d is unknown", key)
	} else {
		f.failf("field %d is missing", n)
	}
	return false
}

// nextKey returns the number of the next field, without going there.
func (f *fields) nextKey() (n uint64, ok bool) {
	if f.left == 0 {
		return 0, false
	}
	w := f.r.walker
	major, n, err := w.head()
	return n, err == nil && major == majorUint
}

// end requires that all fields were read.
func (f *fields) end() {
	if f.left == 0 {
		return
	}
	if n, ok := f.nextKey(); ok {
		f.failf("field %d is unknown", n)
	} else {
		f.failf("a field whose key is not a small number")
	}
}

var majorNames = [...]string{"a number", "a negative number", "a byte string", "text", "a list", "a map", "a tag", "true or false"}

// open reads the head of a value of a major type and returns its argument.
func (f *fields) open(major byte) (arg uint64, ok bool) {
	r := f.r
	if r.err != nil {
		return 0, false
	}
	have, arg, err := r.head()
	switch {
	case err != nil:
		f.failf("it ends too early")
	case have == major:
		return arg, true
	case f.num == 0:
		f.failf("%s instead of %s", majorNames[have], majorNames[major])
	default:
		f.failf("field %d is %s where %s belongs", f.num, majorNames[have], majorNames[major])
	}
	return 0, false
}

// bytesHere reads a byte string. It is a part of what the reader reads.
func (f *fields) bytesHere() []byte {
	n, ok := f.open(majorBytes)
	if !ok {
		return nil
	}
	b, err := f.r.take(n)
	if err != nil {
		f.failf("it ends too early")
		return nil
	}
	return b[:n:n]
}

// textBytes reads text without an allocation. It is a part of what the reader reads.
func (f *fields) textBytes() []byte {
	n, ok := f.open(majorText)
	if !ok {
		return nil
	}
	b, err := f.r.take(n)
	if err != nil {
		f.failf("it ends too early")
		return nil
	}
	return b[:n:n]
}

func (f *fields) textHere() string {
	n := len(f.textBytes())
	return f.r.text[f.r.off-n : f.r.off]
}

func (f *fields) uintHere() uint64 {
	n, _ := f.open(majorUint)
	return n
}

// sub begins a map of fields that is a value of f.
func (f *fields) sub(what string) fields {
	g := fields{r: f.r, what: what}
	g.left, _ = g.open(majorMap)
	return g
}

func (f *fields) bytes(n uint64) []byte {
	if !f.need(n) {
		return nil
	}
	return f.bytesHere()
}

func (f *fields) text(n uint64) string {
	if !f.need(n) {
		return ""
	}
	return f.textHere()
}

func (f *fields) uint(n uint64) uint64 {
	if !f.need(n) {
		return 0
	}
	return f.uintHere()
}

func (f *fields) bool(n uint64) bool {
	if !f.need(n) {
		return false
	}
	arg, _ := f.open(majorSimple)
	return arg == simpleTrue
}

// list reads the head of a list and returns how many items follow.
func (f *fields) list(n uint64) int {
	if !f.need(n) {
		return 0
	}
	return f.listHere()
}

func (f *fields) listHere() int {
	n, ok := f.open(majorArray)
	if !ok || n > uint64(len(f.r.b)) { // an item has at least a byte
		return 0
	}
	return int(n)
}

func (f *fields) texts(n uint64) []string {
	items := f.list(n)
	texts := make([]string, 0, atMost(items))
	for range items {
		if f.r.err != nil {
			return nil
		}
		texts = append(texts, f.textHere())
	}
	return texts
}

// counts reads a map from texts to numbers.
func (f *fields) counts(n uint64) map[string]uint64 {
	if !f.need(n) {
		return nil
	}
	items, _ := f.open(majorMap)
	m := make(map[string]uint64)
	for range items {
		if f.r.err != nil {
			return nil
		}
		k := f.textHere()
		m[k] = f.uintHere()
	}
	return m
}

// optText returns optional text; ok is false if it is not there.
func (f *fields) optText(n uint64) (s string, ok bool) {
	if !f.has(n) {
		return "", false
	}
	return f.textHere(), true
}

// optBytes returns optional bytes; nil if they are not there.
func (f *fields) optBytes(n uint64) *[]byte {
	if !f.has(n) {
		return nil
	}
	b := f.bytesHere()
	return &b
}

// raw returns the encoding of the value of field n, whatever it is.
func (f *fields) raw(n uint64) []byte {
	if !f.need(n) {
		return nil
	}
	return f.skip()
}

// skip returns the encoding of the value that comes next.
func (f *fields) skip() []byte {
	if f.r.err != nil {
		return nil
	}
	start := f.r.off
	if err := f.r.item(1); err != nil {
		f.failf("it ends too early")
		return nil
	}
	return f.r.b[start:f.r.off:f.r.off]
}

// atMost is what is allocated at once for n items that are not read yet.
func atMost(n int) int { return min(n, 64) }

// A writer appends maps of numbered fields, fewer than 24 and all below 24, which are
// written in the order of their numbers: so it is deterministic encoding.
type writer struct {
	b  []byte
	at int // head of the innermost open map
}

// open begins a map, and returns what close needs to end it.
func (w *writer) open() (outer int) {
	outer, w.at = w.at, len(w.b)
	w.b = append(w.b, majorMap<<5)
	return outer
}

func (w *writer) close(outer int) { w.at = outer }

// key begins a field of the innermost open map.
func (w *writer) key(n byte) {
	w.b[w.at]++
	w.b = append(w.b, n)
}

func (w *writer) uint(n byte, v uint64) {
	w.key(n)
	w.b = appendHead(w.b, majorUint, v)
}

func (w *writer) bytes(n byte, v []byte) {
	w.key(n)
	w.b = appendBytes(w.b, v)
}

func (w *writer) text(n byte, s string) {
	w.key(n)
	w.b = appendText(w.b, s)
}

// optText leaves empty text out.
func (w *writer) optText(n byte, s string) {
	if s != "" {
		w.text(n, s)
	}
}

func (w *writer) bool(n byte, v bool) {
	w.key(n)
	arg := uint64(simpleFalse)
	if v {
		arg = simpleTrue
	}
	w.b = appendHead(w.b, majorSimple, arg)
}

// list begins a list of items that the caller appends.
func (w *writer) list(n byte, items int) {
	w.key(n)
	w.b = appendHead(w.b, majorArray, uint64(items))
}

func (w *writer) texts(n byte, list []string) {
	w.list(n, len(list))
	for _, s := range list {
		w.b = appendText(w.b, s)
	}
}

// counts writes a map from texts to numbers.
func (w *writer) counts(n byte, m map[string]uint64) {
	w.key(n)
	w.b = appendHead(w.b, majorMap, uint64(len(m)))
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	// The encoding of a shorter text comes first.
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for _, k := range keys {
		w.b = appendHead(appendText(w.b, k), majorUint, m[k])
	}
}

func appendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

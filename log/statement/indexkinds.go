package statement

// A Revision commits to what a log's index holds about its leaves below Size:
// the root of the map of spec/index.md (spec/statement.md#revision).
type Revision struct {
	Origin     string
	Size       uint64   // leaves that the map is about; at least 1
	Root       [32]byte // of the map
	MapVersion uint64   // of the function from a leaf to its keys; at least 1
}

// An IndexReset withdraws revisions of a log's index (spec/statement.md#index-reset).
type IndexReset struct {
	Origin     string
	MapVersion uint64 // at least 1
	Size       uint64 // revisions of at most this size are withdrawn; at least 1
}

// Kind returns KindRevision.
func (*Revision) Kind() Kind { return KindRevision }

// Kind returns KindIndexReset.
func (*IndexReset) Kind() Kind { return KindIndexReset }

// Check implements [Body].
func (b *Revision) Check() error { return checkIndex(KindRevision, b.Origin, b.MapVersion, b.Size) }

// Check implements [Body].
func (b *IndexReset) Check() error { return checkIndex(KindIndexReset, b.Origin, b.MapVersion, b.Size) }

func checkIndex(kind Kind, origin string, mapVersion, size uint64) error {
	c := &checker{kind: kind}
	c.wrap("origin", CheckOrigin(origin))
	c.require(mapVersion >= 1 && mapVersion <= maxSize, "map version %d instead of 1 to 2^63 - 1", mapVersion)
	c.require(size >= 1 && size <= maxSize, "size %d instead of 1 to 2^63 - 1", size)
	return c.result()
}

// Withdraws reports whether b is about r: the same origin and map version, and
// a size of at least that of r. Whether r comes before or after b does not matter.
func (b *IndexReset) Withdraws(r *Revision) bool {
	return b.Origin == r.Origin && b.MapVersion == r.MapVersion && b.Size >= r.Size
}

func (b *Revision) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, b.Origin)
	w.uint(2, b.Size)
	w.bytes(3, b.Root[:])
	w.uint(4, b.MapVersion)
	return w.b, nil
}

func (b *Revision) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindRevision}
	f := r.fields("revision")
	*b = Revision{f.text(1), f.uint(2), c.hash("map root", f.bytes(3)), f.uint(4)}
	f.end()
	return r.result(c)
}

func (b *IndexReset) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, b.Origin)
	w.uint(2, b.MapVersion)
	w.uint(3, b.Size)
	return w.b, nil
}

func (b *IndexReset) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindIndexReset}
	f := r.fields("index-reset")
	*b = IndexReset{f.text(1), f.uint(2), f.uint(3)}
	f.end()
	return r.result(c)
}

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

// The wire structs below are bodies of payload version 1 and fixed
// (spec/statement.md#evolution).

type wireRevision struct {
	Origin     string `cbor:"1,keyasint"`
	Size       uint64 `cbor:"2,keyasint"`
	Root       []byte `cbor:"3,keyasint"`
	MapVersion uint64 `cbor:"4,keyasint"`
}

type wireIndexReset struct {
	Origin     string `cbor:"1,keyasint"`
	MapVersion uint64 `cbor:"2,keyasint"`
	Size       uint64 `cbor:"3,keyasint"`
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
	return encodeWire(&wireRevision{b.Origin, b.Size, b.Root[:], b.MapVersion})
}

func (b *Revision) decode(raw []byte) error {
	var w wireRevision
	if err := decodeWire("revision", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindRevision}
	*b = Revision{w.Origin, w.Size, c.hash("map root", w.Root), w.MapVersion}
	return c.result()
}

func (b *IndexReset) encode() ([]byte, error) {
	return encodeWire(&wireIndexReset{b.Origin, b.MapVersion, b.Size})
}

func (b *IndexReset) decode(raw []byte) error {
	var w wireIndexReset
	if err := decodeWire("index-reset", raw, &w); err != nil {
		return err
	}
	*b = IndexReset(w)
	return nil
}

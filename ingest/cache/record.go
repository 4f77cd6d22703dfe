package cache

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// magic begins the journal (spec/import.md#journal). Another version of its form
// is another line.
const magic = "firn-import-cache-v1\n"

// maxRecord bounds the body of a record, in bytes: nix.MaxReferences numbers and
// room for the rest.
const maxRecord = 1 << 20

// Types of records (spec/import.md#journal). A number is never given away twice.
const (
	recCache  = 1
	recKey    = 2
	recPath   = 3
	recSigned = 4
	recInfo   = 5
	recSeen   = 6
)

// record is one entry of the journal; which fields count is said by its type.
type record struct {
	typ    byte
	text   string // of a cache its URL, of a key its name, of a path itself
	dir    string // of a cache its store directory
	key    [32]byte
	cache  uint64
	path   uint64
	number uint64 // key of signed, seconds of seen
	hash   nix.Hash
	size   uint64
	id     statement.ID
	refs   []uint64 // of an info: paths
	other  []uint64 // of an info: keys that are not listed
}

var errRecord = errors.New("not a record")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends r with its length and checksum to b.
func appendRecord(b []byte, r *record) []byte {
	at := len(b)
	b = append(b, make([]byte, 8)...)
	b = r.append(b)
	body := b[at+8:]
	binary.BigEndian.PutUint32(b[at:], uint32(len(body)))
	binary.BigEndian.PutUint32(b[at+4:], crc32.Checksum(body, castagnoli))
	return b
}

func (r *record) append(b []byte) []byte {
	b = append(b, r.typ)
	switch r.typ {
	case recCache:
		b = appendText(appendText(b, r.text), r.dir)
	case recKey:
		b = append(appendText(b, r.text), r.key[:]...)
	case recPath:
		b = appendText(b, r.text)
	case recSigned:
		b = binary.AppendUvarint(b, r.path)
		b = binary.AppendUvarint(b, r.number)
		b = append(b, r.hash[:]...)
		b = binary.AppendUvarint(b, r.size)
		b = append(b, r.id[:]...)
	case recInfo:
		b = binary.AppendUvarint(b, r.cache)
		b = binary.AppendUvarint(b, r.path)
		b = appendNumbers(appendNumbers(b, r.refs), r.other)
	case recSeen:
		b = binary.AppendUvarint(b, r.cache)
		b = binary.AppendUvarint(b, r.path)
		b = binary.AppendUvarint(b, r.number)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendNumbers(b []byte, list []uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, n := range list {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// parseRecord reads the body of a record. What parses encodes to the same bytes.
func parseRecord(body []byte) (*record, error) {
	if len(body) == 0 || len(body) > maxRecord {
		return nil, errRecord
	}
	r := &record{typ: body[0]}
	d := &decoder{b: body[1:]}
	switch r.typ {
	case recCache:
		r.text, r.dir = d.text(), d.text()
	case recKey:
		r.text, r.key = d.text(), d.hash()
	case recPath:
		r.text = d.text()
	case recSigned:
		r.path, r.number = d.number(), d.number()
		r.hash, r.size, r.id = d.hash(), d.number(), d.hash()
	case recInfo:
		r.cache, r.path = d.number(), d.number()
		r.refs, r.other = d.numbers(), d.numbers()
	case recSeen:
		r.cache, r.path, r.number = d.number(), d.number(), d.number()
	default:
		return nil, errRecord
	}
	if d.bad || len(d.b) > 0 {
		return nil, errRecord
	}
	return r, nil
}

// decoder reads fields; after the first that is not one, bad is set and all are
// zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

// number reads the shortest form only.
func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.b)
	if d.bad || size <= 0 || size > 1 && d.b[size-1] == 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) text() string { return string(d.take(d.number())) }

func (d *decoder) hash() (h [32]byte) {
	if b := d.take(32); b != nil {
		h = [32]byte(b)
	}
	return h
}

func (d *decoder) numbers() []uint64 {
	n := d.number()
	if d.bad || n > uint64(len(d.b)) { // a number has a byte or more
		d.bad = true
		return nil
	}
	list := slices.Grow([]uint64(nil), int(n))
	for range n {
		list = append(list, d.number())
	}
	return list
}

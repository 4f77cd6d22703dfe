package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// encode returns the bytes of m; the same memory always gives the same bytes.
func (m *memory) encode() []byte {
	e := encoder{b: append(make([]byte, 0, 1<<20), stateMagic...)}
	e.bytes(m.note)
	e.uint(m.size)
	e.bool(m.frozen)
	e.uint(uint64(len(m.vouched)))
	for _, note := range m.vouched {
		e.bytes(note)
	}
	e.uint(uint64(len(m.signers)))
	for _, k := range m.signers {
		e.b = append(e.b, k[:]...)
	}
	e.uint(uint64(len(m.people)))
	for _, key := range slices.Sorted(maps.Keys(m.people)) {
		r := m.people[key]
		e.bytes([]byte(key))
		e.upTo(r.upTo, r.head)
		e.uint(uint64(len(r.entries)))
		for _, l := range r.entries {
			e.uint(l.Index)
			e.bytes(l.Leaf)
		}
	}
	e.uint(uint64(len(m.claims)))
	for _, key := range slices.Sorted(maps.Keys(m.claims)) {
		r := m.claims[key]
		e.bytes([]byte(key))
		e.upTo(r.upTo, r.head)
		e.uint(uint64(len(r.entries)))
		for _, rec := range r.entries {
			e.record(key, rec, m.signers)
		}
	}
	return append(e.b, checksum(e.b)...)
}

func checksum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

type encoder struct{ b []byte }

func (e *encoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *encoder) bool(yes bool) {
	e.b = append(e.b, 0)
	if yes {
		e.b[len(e.b)-1] = 1
	}
}

func (e *encoder) bytes(b []byte) {
	e.uint(uint64(len(b)))
	e.b = append(e.b, b...)
}

// upTo writes how far a list is known: the index, the number of items of its
// head, and, unless that is 0, its root and the size that it is about.
func (e *encoder) upTo(n uint64, head log.Known) {
	e.uint(n)
	e.uint(head.Count)
	if head.Count > 0 {
		e.b = append(e.b, head.Root[:]...)
		e.uint(head.Size)
	}
}

func (e *encoder) record(key string, r record, signers []statement.KeyID) {
	e.uint(r.Index)
	n, _ := slices.BinarySearchFunc(signers, r.Signer, compareKeys)
	e.uint(uint64(n))
	e.b = append(e.b, r.ID[:]...)
	e.b = append(e.b, byte(r.Class))
	e.bytes([]byte(r.Implementation))
	path := r.About.Path.String()
	if key == "out:"+path {
		path = "" // the usual case
	}
	e.bytes([]byte(path))
	e.b = append(e.b, r.About.NarHash[:]...)
	e.uint(r.About.NarSize)
	e.b = append(e.b, r.About.References[:]...)
}

func decodeMemory(data []byte) (*memory, error) {
	if len(data) < len(stateMagic)+sha256.Size || !bytes.HasPrefix(data, []byte(stateMagic)) {
		return nil, errors.New("it is not a file of this version")
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if !bytes.Equal(sum, checksum(body)) {
		return nil, errors.New("its checksum is wrong")
	}
	d := &decoder{b: body[len(stateMagic):]}
	m := newMemory()
	m.note = bytes.Clone(d.bytes())
	m.size = d.uint()
	m.frozen = d.bool()
	for range d.count(1) {
		m.vouched = append(m.vouched, bytes.Clone(d.bytes()))
	}
	for range d.count(32) {
		m.signers = append(m.signers, statement.KeyID(d.fixed()))
	}
	for range d.count(4) {
		key := string(d.bytes())
		var r remembered[leaf]
		r.upTo, r.head = d.upTo()
		for range d.count(2) {
			r.entries = append(r.entries, leaf{Index: d.uint(), Leaf: d.bytes()})
		}
		m.people[key] = r
	}
	for range d.count(4) {
		key := string(d.bytes())
		var path nix.StorePath
		if text, ok := strings.CutPrefix(key, "out:"); ok {
			path = d.path(text)
		}
		var r remembered[record]
		r.upTo, r.head = d.upTo()
		if n := d.count(100); n > 0 {
			r.entries = make([]record, n)
		}
		for i := range r.entries {
			r.entries[i] = d.record(path, m.signers)
		}
		m.claims[key] = r
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("it goes on after its end")
	}
	if d.err == nil && !bytes.Equal(m.encode(), data) {
		d.fail("it is not written as firn writes it")
	}
	return m, d.err
}

// decoder reads what encoder writes; after an error it returns zero values.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(msg string) {
	if d.err == nil {
		d.err = errors.New(msg)
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	n, used := binary.Uvarint(d.b)
	if used <= 0 {
		d.fail("a number is cut off")
		return 0
	}
	d.b = d.b[used:]
	return n
}

// count reads the length of a list whose elements take at least size bytes.
func (d *decoder) count(size uint64) uint64 {
	n := d.uint()
	if n > uint64(len(d.b))/size {
		d.fail("a list is longer than the file")
		return 0
	}
	return n
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("a value is cut off")
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) bool() bool {
	b := d.take(1)
	if len(b) == 1 && b[0] > 1 {
		d.fail("a yes or no is neither")
	}
	return len(b) == 1 && b[0] == 1
}

func (d *decoder) bytes() []byte { return d.take(d.uint()) }

func (d *decoder) fixed() (out [32]byte) {
	copy(out[:], d.take(32))
	return out
}

func (d *decoder) upTo() (n uint64, head log.Known) {
	n, head.Count = d.uint(), d.uint()
	if head.Count > 0 {
		head.Root, head.Size = d.fixed(), d.uint()
	}
	return n, head
}

func (d *decoder) path(text string) nix.StorePath {
	p, err := nix.ParseStorePath(text)
	if err != nil {
		d.fail(err.Error())
	}
	return p
}

func (d *decoder) record(path nix.StorePath, signers []statement.KeyID) record {
	r := record{Index: d.uint()}
	if n := d.uint(); n < uint64(len(signers)) {
		r.Signer = signers[n]
	} else {
		d.fail("a signer is not in the list")
	}
	r.ID = statement.ID(d.fixed())
	if c := d.take(1); len(c) == 1 {
		r.Class = Class(c[0])
	}
	if r.Class < Built || r.Class > Realised {
		d.fail("a claim of no class")
	}
	r.Implementation = string(d.bytes())
	r.About.Path = path
	if text := d.bytes(); len(text) > 0 {
		r.About.Path = d.path(string(text))
	}
	r.About.NarHash = nix.Hash(d.fixed())
	r.About.NarSize = d.uint()
	r.About.References = d.fixed()
	return r
}

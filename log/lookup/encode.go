package lookup

import (
	"encoding/binary"

	"golang.org/x/mod/sumdb/tlog"
)

// header begins every answer; its line ends in a newline.
const header = "firn-lookup@v1\n"

// encoder collects the hashes of proofs, of which most repeat: each is written
// once, in the order of its first use, and referred to by number.
type encoder struct {
	body    []byte
	hashes  []tlog.Hash
	numbers map[tlog.Hash]uint64
}

// Marshal returns the bytes of the answer.
func (a *Answer) Marshal() []byte {
	e := &encoder{numbers: make(map[tlog.Hash]uint64)}
	e.bytes(a.Note)
	e.bytes(a.Vouched)
	e.proof(a.Vouch)
	e.item(&a.Revision)
	e.body, _ = a.Trie.AppendBinary(e.body) // never fails
	e.uint(uint64(len(a.Lists)))
	for i := range a.Lists {
		e.list(&a.Lists[i])
	}
	e.uint(uint64(len(a.Bodies)))
	for i := range a.Bodies {
		e.item(&a.Bodies[i])
	}
	e.tail(a.Tail)

	b := []byte(header)
	b = binary.AppendUvarint(b, uint64(len(e.hashes)))
	for _, h := range e.hashes {
		b = append(b, h[:]...)
	}
	return append(b, e.body...)
}

func (e *encoder) uint(n uint64) { e.body = binary.AppendUvarint(e.body, n) }

func (e *encoder) bytes(b []byte) {
	e.uint(uint64(len(b)))
	e.body = append(e.body, b...)
}

func (e *encoder) proof(hashes []tlog.Hash) {
	e.uint(uint64(len(hashes)))
	for _, h := range hashes {
		n, ok := e.numbers[h]
		if !ok {
			n = uint64(len(e.hashes))
			e.numbers[h] = n
			e.hashes = append(e.hashes, h)
		}
		e.uint(n)
	}
}

func (e *encoder) item(b *Body) {
	e.uint(b.Index)
	e.bytes(b.Leaf)
	e.proof(b.Inclusion)
}

func (e *encoder) list(l *List) {
	if !l.Present {
		e.uint(0)
		return
	}
	e.uint(1)
	e.body, _ = l.AppendBinary(e.body) // fails only above 2^32 items
}

func (e *encoder) tail(t *Tail) {
	if t == nil {
		e.uint(0)
		return
	}
	e.uint(1)
	e.proof(t.Peaks)
	e.uint(uint64(len(t.Leaves)))
	for _, leaf := range t.Leaves {
		e.bytes(leaf)
	}
}

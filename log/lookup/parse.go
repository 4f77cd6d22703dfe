package lookup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/policy"
)

// maxProof bounds the hashes of one proof: no tree is deeper.
const maxProof = 63

// Parse reads an answer. It verifies nothing; what it accepts, [Answer.Marshal]
// gives back byte by byte. Errors match ErrMalformed and name the part. With one that
// matches index.ErrShape, too, comes the answer: nothing else is wrong with its form, and its
// trie convicts whoever signed the revision of it (spec/index.md#convicting).
func Parse(b []byte) (*Answer, error) {
	if len(b) > MaxAnswer {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxAnswer)
	}
	if !strings.HasPrefix(string(b[:min(len(b), len(header))]), header) {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrMalformed, header[:len(header)-1])
	}
	d := &decoder{rest: b[len(header):]}
	a := d.answer()
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes follow it", len(d.rest))
	}
	if d.err == nil && d.used < len(d.hashes) {
		d.fail("a hash that nothing refers to")
	}
	if d.err != nil {
		return nil, d.err
	}
	if d.shape != nil {
		return a, fmt.Errorf("%w: trie: %w", ErrMalformed, d.shape)
	}
	return a, nil
}

// decoder reads from the front; after the first failure everything it returns
// is zero.
type decoder struct {
	rest   []byte
	hashes []tlog.Hash
	used   int // how many of hashes were referred to
	room   []tlog.Hash
	err    error
	shape  error // the trie is none that a map has
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
		d.rest = nil
	}
}

// uint reads a number in the shortest form, at most limit.
func (d *decoder) uint(what string, limit uint64) uint64 {
	n, size := binary.Uvarint(d.rest)
	switch {
	case d.err != nil:
		return 0
	case size <= 0:
		d.fail("%s: not a number", what)
		return 0
	case size > 1 && d.rest[size-1] == 0:
		d.fail("%s: a number in a longer form than needed", what)
		return 0
	case n > limit:
		d.fail("%s: %d, more than %d", what, n, limit)
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// count reads how many things follow, each of which takes at least a number of bytes.
func (d *decoder) count(what string, limit, each int) int {
	n := int(d.uint(what, uint64(limit)))
	if n > len(d.rest)/each {
		d.fail("%s: %d of them do not fit in what is left", what, n)
		return 0
	}
	return n
}

func (d *decoder) bytes(what string, limit int) []byte {
	n := d.count(what, limit, 1)
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) table() {
	n := d.count("hashes", math.MaxInt32, 32)
	d.hashes = make([]tlog.Hash, n)
	seen := make(map[tlog.Hash]bool, n)
	for i := range d.hashes {
		d.hashes[i] = tlog.Hash(d.rest[:32])
		d.rest = d.rest[32:]
		if seen[d.hashes[i]] {
			d.fail("hashes: one repeats")
			return
		}
		seen[d.hashes[i]] = true
	}
}

func (d *decoder) proof(what string, limit int) []tlog.Hash {
	n := d.count(what, limit, 1)
	if n == 0 {
		return nil
	}
	hashes := d.hashRoom(n)
	for i := range hashes {
		n := int(d.uint(what, math.MaxInt32))
		if d.err != nil || n > d.used || n >= len(d.hashes) {
			d.fail("%s: refers to hash %d out of order", what, n)
			return nil
		}
		if n == d.used { // new ones are referred to in their order
			d.used++
		}
		hashes[i] = d.hashes[n]
	}
	return hashes
}

// hashRoom returns room for the n hashes of a proof, cut from a larger piece.
func (d *decoder) hashRoom(n int) []tlog.Hash {
	if n > len(d.room) {
		d.room = make([]tlog.Hash, max(n, min(1024, len(d.rest)/8)))
	}
	some := d.room[:n:n]
	d.room = d.room[n:]
	return some
}

func (d *decoder) answer() *Answer {
	d.table()
	a := new(Answer)
	a.Note = d.bytes("checkpoint", policy.MaxNote)
	if vouched := d.bytes("vouched checkpoint", policy.MaxNote); len(vouched) > 0 {
		a.Vouched = vouched
	}
	a.Vouch = d.proof("consistency proof", maxProof)
	if a.Vouched == nil && a.Vouch != nil {
		d.fail("consistency proof: there is no vouched checkpoint")
	}
	a.Revision = d.body(&revisionParts)
	a.Trie = d.trie()
	a.Lists = d.lists()
	a.Bodies = d.bodies()
	a.Tail = d.tail()
	return a
}

func (d *decoder) trie() *index.Node {
	if d.err != nil {
		return nil
	}
	n, rest, err := index.ParsePruned(d.rest)
	if errors.Is(err, index.ErrShape) {
		d.shape, err = err, nil
	}
	if err != nil {
		d.fail("trie: %w", err)
		return nil
	}
	d.rest = rest
	return n
}

// parts is what messages call a body and its parts.
type parts struct{ leaf, index, inclusion string }

var (
	revisionParts = parts{"revision", "revision: index", "revision: inclusion"}
	bodyParts     = parts{"body", "body: index", "body: inclusion"}
)

func (d *decoder) body(what *parts) Body {
	b := Body{Index: d.uint(what.index, policy.MaxSize)}
	b.Leaf = d.bytes(what.leaf, math.MaxUint16)
	b.Inclusion = d.proof(what.inclusion, maxProof)
	return b
}

func (d *decoder) bodies() []Body {
	n := d.count("bodies", MaxItems, 3)
	if n == 0 {
		return nil
	}
	bodies := make([]Body, n)
	for i := range bodies {
		bodies[i] = d.body(&bodyParts)
		if i > 0 && bodies[i].Index <= bodies[i-1].Index {
			d.fail("bodies: index %d follows %d", bodies[i].Index, bodies[i-1].Index)
		}
	}
	return bodies
}

func (d *decoder) lists() []List {
	n := d.count("lists", MaxKeys, 1)
	if n == 0 {
		return nil // to a prefix: nothing begins with it
	}
	lists := make([]List, n)
	left := MaxItems
	for i := range lists {
		lists[i] = d.list(&left)
	}
	return lists
}

func (d *decoder) list(left *int) List {
	if d.uint("list: present", 1) == 0 || d.err != nil {
		return List{}
	}
	l, rest, err := index.ParseList(d.rest)
	switch {
	case err != nil:
		d.fail("list: %w", err)
	case len(l.Items) > *left:
		d.fail("lists: more than %d items", MaxItems)
	}
	if d.err != nil {
		return List{}
	}
	d.rest = rest
	*left -= len(l.Items)
	return List{Present: true, List: l}
}

func (d *decoder) tail() *Tail {
	if d.uint("tail: present", 1) == 0 {
		return nil
	}
	t := &Tail{Peaks: d.proof("tail: peaks", maxProof)}
	n := d.count("tail", MaxTail, 1)
	total := 0
	for range n {
		leaf := d.bytes("tail", math.MaxUint16)
		total += len(leaf)
		t.Leaves = append(t.Leaves, leaf)
	}
	if total > MaxTailSize {
		d.fail("tail: %d bytes, more than %d", total, MaxTailSize)
	}
	return t
}

package evidence

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// Bounds of evidence against an index (spec/evidence.md#index-form).
const (
	maxRevision = 1024      // bytes of a leaf that is a revision
	maxEntry    = 1<<16 - 1 // bytes of any other leaf
	maxSteps    = 257       // branches on a way down: one more than a map has
)

// An Index is what evidence of KindIndex holds: two revisions that contradict
// each other, or what is wrong in the map of one revision. This package reads
// and writes it; what it convicts package fraud says (log/index/fraud).
type Index struct {
	// Revisions are two leaves of the kind revision. If they are there, nothing
	// else is.
	Revisions [][]byte

	Checkpoint []byte   // a note with the log's signature alone
	Revision   Included // a leaf of the kind revision
	Entry      *Included
	Path       Path
	Second     *Path // of a second leaf of the same map
	Items      []Item
}

// Included is a leaf with the proof that it is in the tree of a checkpoint
// (RFC 6962 §2.1.1).
type Included struct {
	Index uint64
	Leaf  []byte
	Proof []tlog.Hash // at most 63
}

// A Path is a way down a map, from its root to one node.
type Path struct {
	Steps []Step
	End   End
}

// A Step is a branch that a path goes through.
type Step struct {
	Right bool      // which child it goes on to
	Depth uint8     // of the branch
	Other tlog.Hash // the other child
}

// An EndKind says at what a path ends.
type EndKind string

// The ends of a path.
const (
	EndLeaf  EndKind = "leaf"  // the list of a key
	EndEmpty EndKind = "empty" // no key at all
	EndStub  EndKind = "stub"  // a node of which the hash is known
)

// An End is where a path ends.
type End struct {
	Kind  EndKind
	Key   tlog.Hash // of a leaf: the hash of the key
	Count uint64    // of a leaf: items of its list
	Root  tlog.Hash // of a leaf: the root of its list; of a stub: its hash
}

// An Item is one item of the list of a leaf, with the proof that it is there.
type Item struct {
	Position uint64
	Index    uint64
	Signer   [32]byte
	Proof    []tlog.Hash // at most 63
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// marshal writes everything that follows the key.
func (x *Index) marshal(b *bytes.Buffer) {
	for _, leaf := range x.Revisions {
		fmt.Fprintf(b, "revision %s\n", b64(leaf))
	}
	if len(x.Revisions) > 0 {
		return
	}
	x.Revision.marshal(b, "revision")
	if x.Entry != nil {
		x.Entry.marshal(b, "entry")
	}
	x.Path.marshal(b)
	if x.Second != nil {
		x.Second.marshal(b)
	}
	for _, it := range x.Items {
		fmt.Fprintf(b, "item %d %d %s\n", it.Position, it.Index, b64(it.Signer[:]))
		marshalProof(b, it.Proof)
	}
	b.WriteByte('\n')
	b.Write(x.Checkpoint)
}

func (in *Included) marshal(b *bytes.Buffer, word string) {
	fmt.Fprintf(b, "%s %d %s\n", word, in.Index, b64(in.Leaf))
	marshalProof(b, in.Proof)
}

func marshalProof(b *bytes.Buffer, proof []tlog.Hash) {
	for _, h := range proof {
		fmt.Fprintf(b, "inclusion %s\n", b64(h[:]))
	}
}

func (p *Path) marshal(b *bytes.Buffer) {
	for _, s := range p.Steps {
		word := "left"
		if s.Right {
			word = "right"
		}
		fmt.Fprintf(b, "%s %d %s\n", word, s.Depth, b64(s.Other[:]))
	}
	switch p.End.Kind {
	case EndLeaf:
		fmt.Fprintf(b, "leaf %s %d %s\n", b64(p.End.Key[:]), p.End.Count, b64(p.End.Root[:]))
	case EndStub:
		fmt.Fprintf(b, "stub %s\n", b64(p.End.Root[:]))
	default:
		b.WriteString("empty\n")
	}
}

// parseIndex reads the lines below the key, and the two parts of a note if there
// is one. Whether numbers are in their one form, Parse finds out.
func parseIndex(key policy.Key, lines, note []string) (*Index, error) {
	x, r := &Index{}, &reader{lines: lines}
	switch len(note) {
	case 0:
		for range 2 {
			f := r.fields("revision", 1)
			x.Revisions = append(x.Revisions, r.leaf(f[0], maxRevision))
		}
	case 2:
		x.Checkpoint = []byte(note[0] + note[1])
		x.Revision = r.included("revision", maxRevision)
		if r.at("entry") {
			in := r.included("entry", maxEntry)
			x.Entry = &in
		}
		x.Path = r.path()
		if r.at("left") || r.at("right") || r.at("leaf") {
			second := r.path()
			x.Second = &second
		}
		for len(x.Items) < 2 && r.at("item") {
			x.Items = append(x.Items, r.item())
		}
	default:
		r.failf("it does not hold one checkpoint, or two revisions")
	}
	if len(r.lines) > 0 {
		r.failf("%.40q is not expected there", r.lines[0])
	}
	if r.err != nil || x.Checkpoint == nil {
		return x, r.err
	}
	n, err := parseNote(x.Checkpoint, key)
	if err == nil && n.head.Origin != key.Name {
		err = fmt.Errorf("%w: the key is named %q and not like the origin, %q", ErrNotEvidence, key.Name, n.head.Origin)
	}
	return x, err
}

// A reader takes lines from the front. After the first error everything it
// returns is zero.
type reader struct {
	lines []string
	err   error
}

func (r *reader) failf(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
}

// at reports whether the next line begins with a word.
func (r *reader) at(word string) bool {
	if r.err != nil || len(r.lines) == 0 {
		return false
	}
	first, _, _ := strings.Cut(r.lines[0], " ")
	return first == word
}

// fields takes a line of a word and n fields, which it returns.
func (r *reader) fields(word string, n int) []string {
	if r.err == nil && len(r.lines) > 0 {
		if f := strings.Split(r.lines[0], " "); f[0] == word && len(f) == n+1 {
			r.lines = r.lines[1:]
			return f[1:]
		}
	}
	r.failf("no line of %s with %d fields where there should be one", word, n)
	return make([]string, n)
}

func (r *reader) number(s string, bits int) uint64 {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		r.failf("%.40q is not a number of up to %d bits", s, bits)
	}
	return n
}

func (r *reader) leaf(s string, limit int) []byte {
	b, err := policy.DecodeBase64(s)
	if err != nil || len(b) > limit {
		r.failf("a leaf that is not base64, or longer than %d bytes", limit)
		return nil
	}
	return b
}

func (r *reader) hash(s string) (h tlog.Hash) {
	b, err := policy.DecodeBase64(s)
	if err != nil || len(b) != len(h) {
		r.failf("%.50q is not the base64 of 32 bytes", s)
		return h
	}
	return tlog.Hash(b)
}

func (r *reader) included(word string, limit int) Included {
	f := r.fields(word, 2)
	return Included{Index: r.number(f[0], 63), Leaf: r.leaf(f[1], limit), Proof: r.proof()}
}

func (r *reader) proof() (proof []tlog.Hash) {
	for r.at("inclusion") {
		if len(proof) == maxProof {
			r.failf("an inclusion proof of more than %d hashes", maxProof)
			break
		}
		proof = append(proof, r.hash(r.fields("inclusion", 1)[0]))
	}
	return proof
}

func (r *reader) path() (p Path) {
	for {
		right := r.at("right")
		if !right && !r.at("left") {
			break
		}
		if len(p.Steps) == maxSteps {
			r.failf("a way of more than %d branches", maxSteps)
			break
		}
		word, _, _ := strings.Cut(r.lines[0], " ")
		f := r.fields(word, 2)
		p.Steps = append(p.Steps, Step{Right: right, Depth: uint8(r.number(f[0], 8)), Other: r.hash(f[1])})
	}
	switch {
	case r.at("empty"):
		r.fields("empty", 0)
		p.End.Kind = EndEmpty
	case r.at("stub"):
		p.End = End{Kind: EndStub, Root: r.hash(r.fields("stub", 1)[0])}
	default:
		f := r.fields("leaf", 3)
		p.End = End{Kind: EndLeaf, Key: r.hash(f[0]), Count: r.number(f[1], 63), Root: r.hash(f[2])}
	}
	return p
}

func (r *reader) item() Item {
	f := r.fields("item", 3)
	return Item{Position: r.number(f[0], 63), Index: r.number(f[1], 63), Signer: r.hash(f[2]), Proof: r.proof()}
}

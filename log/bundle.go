package log

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// A Bundle holds answers of logs to lookups, with everything that proves them, for
// machines that cannot ask (spec/bundle.md). Nothing in it is believed for being there:
// a client made with [NewBundleClient] checks it like answers from the network.
type Bundle struct {
	Parts []BundlePart
}

// BundlePart is one answer of a log, with the bodies of all signers and the tail.
type BundlePart struct {
	Origin string
	Asked  []lookup.Asked // what Answer answers, in its order; From is 0
	Answer []byte         // as lookup.Parse reads it
}

const (
	bundleHeader = "firn-bundle@v1\n"
	// MaxBundle bounds a bundle in bytes.
	MaxBundle = 1 << 30
	maxParts  = 1 << 16
	maxOrigin = 128 // statement.CheckOrigin
)

// Marshal returns the bytes of the bundle.
func (b *Bundle) Marshal() []byte {
	out := binary.AppendUvarint([]byte(bundleHeader), uint64(len(b.Parts)))
	add := func(b []byte) { out = append(binary.AppendUvarint(out, uint64(len(b))), b...) }
	for _, p := range b.Parts {
		add([]byte(p.Origin))
		out = binary.AppendUvarint(out, uint64(len(p.Asked)))
		for _, a := range p.Asked {
			add([]byte(a.Key))
			out = binary.AppendUvarint(out, a.To)
		}
		add(p.Answer)
	}
	return out
}

// ParseBundle reads a bundle. It checks its form and that of the answers, and verifies
// nothing; what it accepts, [Bundle.Marshal] gives back byte by byte. Errors match
// lookup.ErrMalformed.
func ParseBundle(b []byte) (*Bundle, error) {
	if len(b) > MaxBundle || !strings.HasPrefix(string(b[:min(len(b), len(bundleHeader))]), bundleHeader) {
		return nil, fmt.Errorf("%w: it does not begin with %s, or is longer than %d bytes", lookup.ErrMalformed, bundleHeader[:len(bundleHeader)-1], MaxBundle)
	}
	r := &bundleReader{rest: b[len(bundleHeader):]}
	out := new(Bundle)
	for range r.uint(maxParts) {
		p := BundlePart{Origin: string(r.bytes(maxOrigin))}
		for range r.uint(lookup.MaxKeys) {
			p.Asked = append(p.Asked, lookup.Asked{Key: string(r.bytes(lookup.MaxKeyBytes)), To: r.uint(policy.MaxSize)})
		}
		p.Answer = r.bytes(lookup.MaxAnswer)
		if r.bad {
			break
		}
		a, err := lookup.Parse(p.Answer)
		if err != nil {
			return nil, fmt.Errorf("part %d of the bundle: %w", len(out.Parts)+1, err)
		}
		if len(a.Lists) != len(p.Asked) {
			return nil, fmt.Errorf("%w: part %d of the bundle has %d lists for %d keys", lookup.ErrMalformed, len(out.Parts)+1, len(a.Lists), len(p.Asked))
		}
		out.Parts = append(out.Parts, p)
	}
	if r.bad || len(r.rest) > 0 {
		return nil, fmt.Errorf("%w: the bundle is cut off, or something follows it", lookup.ErrMalformed)
	}
	return out, nil
}

// bundleReader reads from the front; after a failure everything is zero.
type bundleReader struct {
	rest []byte
	bad  bool
}

func (r *bundleReader) uint(limit uint64) uint64 {
	n, size := binary.Uvarint(r.rest)
	if r.bad || size <= 0 || n > limit || size > 1 && r.rest[size-1] == 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *bundleReader) bytes(limit int) []byte {
	n := r.uint(uint64(limit))
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Origins returns the logs of which the bundle holds something, sorted.
func (b *Bundle) Origins() []string {
	var origins []string
	for _, p := range b.Parts {
		origins = append(origins, p.Origin)
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

// Record is Lookup of all bodies under keys, and adds what the log answered to a
// bundle. It fails if an answer would need more than itself: then the index of the log is
// far behind.
func (c *Client) Record(ctx context.Context, b *Bundle, keys []string) (*Answers, error) {
	l := newLooking(c, Query{Keys: keys})
	l.record = func(asked []question, answer *lookup.Answer, raw []byte) error {
		if answer.Tail == nil {
			return fmt.Errorf("the index of log %s is too far behind the log for a bundle; try again later", c.origin)
		}
		p := BundlePart{Origin: c.origin, Answer: raw}
		for _, q := range asked[:len(answer.Lists)] {
			p.Asked = append(p.Asked, q.Asked)
		}
		b.Parts = append(b.Parts, p)
		return nil
	}
	return l.run(ctx)
}

// NewBundleClient returns a client that asks a bundle. It can look up what is in the bundle,
// and nothing else. What is remembered of a log is only compared with a checkpoint
// of the same size, because a bundle cannot prove more; nothing is remembered of it.
func NewBundleClient(b *Bundle, pol *policy.Policy, o Options) (*Client, error) {
	origin, err := chooseOrigin(pol, o.Origin)
	if err != nil {
		return nil, err
	}
	src := &bundleSource{origin: origin, lists: make(map[asked]bundleList)}
	for i := range b.Parts {
		if b.Parts[i].Origin != origin {
			continue
		}
		a := &bundleAnswer{part: &b.Parts[i]}
		src.answers = append(src.answers, a)
		for n, q := range a.part.Asked {
			src.lists[asked{q.Key, q.To}] = bundleList{a, n}
		}
	}
	if len(src.answers) == 0 {
		return nil, fmt.Errorf("the bundle holds nothing of the log %s", origin)
	}
	c := &Client{
		pol: pol, origin: origin, mem: o.Memory, src: src, places: []*place{{url: "the bundle", source: src}},
		tiles: newTileCache("", origin), now: o.Now, batch: lookupBatch, offline: true,
	}
	c.defaults()
	return c, nil
}

// NotInBundleError says that a bundle does not hold what was asked for. It matches
// ErrUnreachable: whoever has a network can ask the log.
type NotInBundleError struct {
	Origin string
	What   string
}

func (e *NotInBundleError) Error() string {
	return fmt.Sprintf("the bundle does not hold %s of log %s", e.What, e.Origin)
}

// Is reports whether target is ErrUnreachable.
func (e *NotInBundleError) Is(target error) bool { return target == ErrUnreachable }

// bundleSource is a bundle that is asked like a log.
type bundleSource struct {
	origin  string
	answers []*bundleAnswer
	lists   map[asked]bundleList
}

// asked is a list, up to a position.
type asked struct {
	key string
	to  uint64
}

// bundleList says where a list is.
type bundleList struct {
	in *bundleAnswer
	n  int
}

type bundleAnswer struct {
	part   *BundlePart
	parsed *lookup.Answer
}

func (a *bundleAnswer) answer() (*lookup.Answer, error) {
	if a.parsed == nil {
		var err error
		if a.parsed, err = lookup.Parse(a.part.Answer); err != nil {
			return nil, err
		}
	}
	return a.parsed, nil
}

// get returns the checkpoint of the last answer.
func (s *bundleSource) get(_ context.Context, path string, _ int64) ([]byte, error) {
	if path != "checkpoint" {
		return nil, &NotInBundleError{s.origin, path}
	}
	a, err := s.answers[len(s.answers)-1].answer()
	if err != nil {
		return nil, err
	}
	return a.Note, nil
}

// call answers a lookup of keys that one part holds; others are asked for again.
func (s *bundleSource) call(_ context.Context, r request) ([]byte, int, error) {
	if r.path != "v1/lookup" {
		return nil, 0, &NotInBundleError{s.origin, r.path}
	}
	var q lookup.Request
	if err := json.Unmarshal(r.body, &q); err != nil {
		return nil, 0, err
	}
	first := s.lists[asked{q.Keys[0].Key, q.Keys[0].To}]
	if first.in == nil {
		return nil, 0, &NotInBundleError{s.origin, "the entries under " + q.Keys[0].Key}
	}
	whole, err := first.in.answer()
	if err != nil {
		return nil, 0, err
	}
	a := *whole
	a.Lists = nil
	listed := make(map[uint64]bool)
	for _, k := range q.Keys {
		at := s.lists[asked{k.Key, k.To}]
		if at.in != first.in {
			break
		}
		list := from(whole.Lists[at.n], k.From)
		for _, it := range list.Items {
			if q.Signers == nil || slices.Contains(*q.Signers, it.Signer.String()) {
				listed[it.Index] = true
			}
		}
		a.Lists = append(a.Lists, list)
	}
	a.Bodies = slices.DeleteFunc(slices.Clone(whole.Bodies), func(b lookup.Body) bool { return !listed[b.Index] })
	if !q.Tail {
		a.Tail = nil
	}
	return a.Marshal(), 200, nil
}

// from returns a list without the items before a position.
func from(l lookup.List, position uint64) lookup.List {
	for l.Prefix.Count() < position && len(l.Items) > 0 {
		l.Prefix.Append(l.Items[0])
		l.Items = l.Items[1:]
	}
	return l
}

// compare is what a client of a bundle does instead of remembering a checkpoint.
func (m *Memory) compare(ctx context.Context, c *Client, cp *Checkpoint) error {
	note, err := m.read(c.origin)
	if err != nil || note == nil {
		return err
	}
	v, err := c.pol.VerifyLog(note)
	if err != nil || v.Size != cp.Size {
		return nil // it was remembered under another policy, or cannot be compared
	}
	_, err = c.goesOn(ctx, note, cp)
	if fork := (*ForkError)(nil); errors.As(err, &fork) {
		return m.keep(c.pol, fork)
	}
	return err
}

// BundleKeys returns the keys under which people and their operators are found who
// claim something in answers: whoever judges the claims will ask for these.
func BundleKeys(a *Answers) []string {
	var keys []string
	for _, k := range a.Keys {
		for _, f := range a.Of(k) {
			keys = append(keys, index.Key(f.Signer))
			if f.Leaf == nil {
				continue
			}
			for _, other := range index.StatementKeys(f.Leaf.Statement) {
				if strings.HasPrefix(other, "operator:") || f.Leaf.Statement.Kind.Class() == statement.People && strings.HasPrefix(other, "key:") {
					keys = append(keys, other)
				}
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

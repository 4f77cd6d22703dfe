package log

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// NewBundleClient returns a client that asks a bundle. It can look up what is in the bundle,
// and read the entries that came with it, and nothing else: that is a
// *NotInBundleError. What is remembered of a log is only compared with a checkpoint
// of the same size, because a bundle cannot prove more; nothing is remembered of it,
// except evidence (spec/bundle.md#reading).
func NewBundleClient(b *Bundle, pol *policy.Policy, o Options) (*Client, error) {
	if pol == nil {
		return nil, errors.New("reading a bundle: a log policy is needed")
	}
	origin, err := chooseOrigin(pol, o.Origin)
	if err != nil {
		return nil, err
	}
	src := &bundleSource{origin: origin, lists: make(map[part]bundleList)}
	for _, p := range b.Parts {
		if p.Origin != origin {
			continue
		}
		answer := p.parsed
		if answer == nil {
			if answer, err = lookup.Parse(p.Answer); err != nil {
				return nil, err
			}
		}
		for n, q := range p.Asked[:min(len(p.Asked), len(answer.Lists))] {
			src.lists[part{origin, q.Key, q.To}] = bundleList{len(src.answers), n}
		}
		src.answers = append(src.answers, bundleAnswer{answer: answer, follows: p.Follows})
	}
	c := &Client{
		pol: pol, origin: origin, mem: o.Memory, src: src, places: []*place{{url: "the bundle", source: src}},
		tiles: newTileCache("", origin), now: o.Now, batch: lookupBatch, offline: src,
	}
	c.defaults()
	src.err = src.check(c)
	return c, nil
}

// Holds reports whether a lookup of key can be answered: always, unless the client
// asks a bundle that does not hold it.
func (c *Client) Holds(key string) bool {
	if c.offline == nil {
		return true
	}
	_, ok := c.offline.lists[part{c.origin, key, 0}]
	return ok
}

// NotInBundleError says that a bundle does not hold what was asked for. It matches
// ErrUnreachable: whoever has a network can ask the log.
type NotInBundleError struct {
	Origin string
	What   string // "" if it holds nothing at all of the log
}

func (e *NotInBundleError) Error() string {
	if e.What == "" {
		return "the bundle holds nothing of log " + e.Origin
	}
	return fmt.Sprintf("the bundle does not hold %s of log %s", e.What, e.Origin)
}

// Is reports whether target is ErrUnreachable.
func (e *NotInBundleError) Is(target error) bool { return target == ErrUnreachable }

// bundleSource is a bundle that is asked like a log.
type bundleSource struct {
	origin  string
	answers []bundleAnswer
	lists   map[part]bundleList
	err     error // what is wrong with the bundle as a whole
}

// bundleList says where a list is: in which answer, and which of its lists.
type bundleList struct{ answer, n int }

// bundleAnswer is an answer in a bundle. size and root are those of its checkpoint,
// which the log signed.
type bundleAnswer struct {
	answer  *lookup.Answer
	follows []tlog.Hash
	size    uint64
	root    tlog.Hash
}

// check makes sure that the checkpoints of all answers are of one history, and
// convicts the log if they are of two (spec/bundle.md#reading).
func (s *bundleSource) check(c *Client) error {
	var before *Checkpoint
	for i := range s.answers {
		a := &s.answers[i]
		v, err := c.pol.VerifyLog(a.answer.Note)
		switch {
		case err != nil:
			return fmt.Errorf("checkpoint of %s in the bundle: %w", c.origin, err)
		case v.Origin != c.origin:
			return fmt.Errorf("checkpoint of %s in the bundle: it is that of %q", c.origin, words(v.Origin))
		}
		a.size, a.root = v.Size, v.Root
		cp := newCheckpoint(v, a.answer.Note)
		if before != nil && before.Size == cp.Size && before.Root != cp.Root {
			return c.mem.convict(context.Background(), c, before.Note, cp)
		}
		if before != nil {
			err = checkConsistency(before.Size, before.Root, cp.Size, cp.Root, a.follows)
		} else if len(a.follows) > 0 {
			err = errors.New("the first one follows another")
		}
		if err != nil {
			return &ProofError{Origin: c.origin, Reason: fmt.Sprintf("the bundle does not prove that its checkpoints, of which one has size %d, are of one history", cp.Size), Err: err}
		}
		before = cp
	}
	return nil
}

// convict keeps the evidence if cp and a note of the same size have two roots.
func (m *Memory) convict(ctx context.Context, c *Client, note []byte, cp *Checkpoint) error {
	_, err := c.goesOn(ctx, note, cp)
	if fork := (*ForkError)(nil); errors.As(err, &fork) {
		return m.keep(c.pol, fork)
	}
	return err
}

// compare is what a client of a bundle does instead of remembering a checkpoint.
func (m *Memory) compare(ctx context.Context, c *Client, cp *Checkpoint) error {
	note, err := m.read(c.origin)
	if err != nil || note == nil {
		return err
	}
	v, err := c.pol.VerifyLog(note)
	if err != nil || v.Origin != c.origin || v.Size != cp.Size {
		return nil // it was remembered under another policy, or cannot be compared
	}
	return m.convict(ctx, c, note, cp)
}

// get returns the checkpoint of the last answer.
func (s *bundleSource) get(_ context.Context, path string, _ int64) ([]byte, error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case len(s.answers) == 0:
		return nil, &NotInBundleError{Origin: s.origin}
	case path != "checkpoint":
		return nil, &NotInBundleError{s.origin, path}
	}
	return s.answers[len(s.answers)-1].answer.Note, nil
}

// call answers a lookup of keys that one part holds; others are asked for again.
func (s *bundleSource) call(_ context.Context, r request) ([]byte, int, error) {
	var q lookup.Request
	switch {
	case s.err != nil:
		return nil, 0, s.err
	case len(s.answers) == 0:
		return nil, 0, &NotInBundleError{Origin: s.origin}
	case r.path != "v1/lookup":
		return nil, 0, &NotInBundleError{s.origin, strings.TrimPrefix(r.path, "v1/")}
	}
	if err := json.Unmarshal(r.body, &q); err != nil {
		return nil, 0, err
	}
	var in *lookup.Answer
	var out lookup.Answer
	listed := make(map[uint64]bool)
	for _, k := range q.Keys {
		at, ok := s.lists[part{s.origin, k.Key, k.To}]
		if !ok && in == nil {
			return nil, 0, &NotInBundleError{s.origin, "the entries under " + k.Key}
		}
		if in == nil {
			in = s.answers[at.answer].answer
			out = *in
			out.Lists = nil
		}
		if !ok || s.answers[at.answer].answer != in {
			break
		}
		list := from(in.Lists[at.n], k.From)
		if err := s.listed(listed, in, &q, k.Key, list); err != nil {
			return nil, 0, err
		}
		out.Lists = append(out.Lists, list)
	}
	out.Bodies = slices.DeleteFunc(slices.Clone(out.Bodies), func(b lookup.Body) bool { return !listed[b.Index] })
	return out.Marshal(), 200, nil
}

// listed notes the entries of a list whose bodies are asked for. Not all bodies are
// in a bundle.
func (s *bundleSource) listed(listed map[uint64]bool, in *lookup.Answer, q *lookup.Request, key string, list lookup.List) error {
	for _, it := range list.Items {
		if q.Signers != nil && !slices.Contains(*q.Signers, it.Signer.String()) {
			continue
		}
		if _, have := slices.BinarySearchFunc(in.Bodies, it.Index, compareBody); !have {
			return &NotInBundleError{s.origin, fmt.Sprintf("entry %d under %s", it.Index, key)}
		}
		listed[it.Index] = true
	}
	return nil
}

// from returns a list without the items before a position.
func from(l lookup.List, position uint64) lookup.List {
	for l.Prefix.Count() < position && len(l.Items) > 0 {
		l.Prefix.Append(l.Items[0])
		l.Items = l.Items[1:]
	}
	return l
}

// sort puts questions in the order of the parts that answer them.
func (s *bundleSource) sort(qs []question) {
	in := func(q question) int {
		if at, ok := s.lists[part{s.origin, q.Key, q.To}]; ok {
			return at.answer
		}
		return -1
	}
	slices.SortStableFunc(qs, func(a, b question) int { return in(a) - in(b) })
}

// entries is Entries for a client of a bundle. All its checkpoints are of one history, so
// that what is proven in the tree of one is in every tree that is large enough.
func (s *bundleSource) entries(cp *Checkpoint, first, end uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for i := first; i < end; i++ {
			leaf, err := s.entry(cp, i)
			if !yield(Entry{i, leaf}, err) || err != nil {
				return
			}
		}
	}
}

func (s *bundleSource) entry(cp *Checkpoint, i uint64) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	if !slices.ContainsFunc(s.answers, func(a bundleAnswer) bool { return a.size == cp.Size && a.root == cp.Root }) {
		return nil, &NotInBundleError{s.origin, fmt.Sprintf("the tree of size %d", cp.Size)}
	}
	for _, a := range s.answers {
		if leaf := a.entry(i); leaf != nil {
			return leaf, nil
		}
	}
	return nil, &NotInBundleError{s.origin, fmt.Sprintf("entry %d", i)}
}

// entry returns an entry that came with the answer, if that proves it; nil otherwise.
func (a *bundleAnswer) entry(i uint64) []byte {
	if i >= a.size {
		return nil
	}
	bodies := []lookup.Body{a.answer.Revision}
	if at, have := slices.BinarySearchFunc(a.answer.Bodies, i, compareBody); have {
		bodies = append(bodies, a.answer.Bodies[at])
	}
	for _, b := range bodies {
		if b.Index == i && tlog.CheckRecord(b.Inclusion, int64(a.size), a.root, int64(i), tlog.RecordHash(b.Leaf)) == nil {
			return b.Leaf
		}
	}
	st, err := statement.Parse(a.answer.Revision.Leaf)
	if err != nil || a.answer.Tail == nil {
		return nil
	}
	rev, ok := st.Body.(*statement.Revision)
	if !ok || i < rev.Size || i-rev.Size >= uint64(len(a.answer.Tail.Leaves)) || rev.Size+uint64(len(a.answer.Tail.Leaves)) != a.size {
		return nil
	}
	if root, ok := foldTail(rev.Size, a.answer.Tail); !ok || root != a.root {
		return nil
	}
	return a.answer.Tail.Leaves[i-rev.Size]
}

package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// people returns what the log holds under keys that start with operator: or
// key:, and adds it to p.
func (r *reading) people(ctx context.Context, keys []string, p pool) error {
	if r.full != nil {
		for _, l := range r.full.people {
			r.addPerson(p, l)
		}
		return nil
	}
	if r.Answered == ByLookups {
		if err := r.askPeople(ctx, keys); err != nil {
			if err := r.fail(ctx, err); err != nil {
				return err
			}
		}
	}
	if r.Answered == NotAtAll {
		return nil
	}
	for _, key := range keys {
		got, known := r.mem.people[key]
		if !known || r.Answered == Remembered && got.upTo < r.mem.size {
			r.gap = fmt.Sprintf("log %s did not answer and not everything about the operators is remembered", r.Name)
			continue
		}
		for _, l := range got.entries {
			r.addPerson(p, l)
		}
	}
	return nil
}

func (r *reading) addPerson(p pool, l leaf) {
	s, err := statement.Parse(l.Leaf)
	if err == nil && s.Kind.Class() == statement.People {
		p.add(s, Place{Log: r.Name, Index: l.Index})
	}
}

// askPeople brings the remembered people statements under keys up to date.
func (r *reading) askPeople(ctx context.Context, keys []string) error {
	for _, b := range batches(keys, func(k string) uint64 { return r.mem.people[k].upTo }) {
		var operators, named []string
		for _, k := range b.keys {
			if strings.HasPrefix(k, "key:") {
				named = append(named, k)
			} else {
				operators = append(operators, k)
			}
		}
		if len(operators) > 0 {
			a, err := r.log.Lookup(ctx, operators, nil, b.after)
			if err != nil {
				return err
			}
			r.rememberPeople(a, b.after)
		}
		if len(named) > 0 {
			if err := r.askNamed(ctx, named, b.after); err != nil {
				return err
			}
		}
	}
	return nil
}

// askNamed asks who says something about a key. Under a busy build key there
// are mostly its own claims, which are not wanted here: so first only the
// lists, then the bodies of everybody else, and the first of its own, which
// shows whether it is an identity key.
func (r *reading) askNamed(ctx context.Context, keys []string, after uint64) error {
	lists, err := r.log.Lookup(ctx, keys, []statement.KeyID{}, after)
	if err != nil {
		return err
	}
	var others []statement.KeyID
	own := make(map[string]leaf)
	for _, key := range lists.Keys {
		for _, f := range lists.Of(key) {
			if "key:"+f.Signer.String() != key {
				others = append(others, f.Signer)
			} else if _, have := own[key]; !have && len(r.mem.people[key].entries) == 0 {
				l, err := r.entry(ctx, lists.Checkpoint, f.Index)
				if err != nil {
					return err
				}
				own[key] = l
			}
		}
	}
	slices.SortFunc(others, compareKeys)
	others = slices.Compact(others)
	bodies := lists
	if len(others) > 0 {
		if bodies, err = r.log.Lookup(ctx, keys, others, after); err != nil {
			return err
		}
	}
	for key, l := range own {
		got := r.mem.people[key]
		got.entries = append(got.entries, l)
		r.mem.people[key] = got
	}
	r.rememberPeople(bodies, after)
	return nil
}

func (r *reading) entry(ctx context.Context, cp *log.Checkpoint, index uint64) (leaf, error) {
	for e, err := range r.log.Entries(ctx, cp, index, index+1) {
		if err != nil {
			return leaf{}, err
		}
		return leaf{Index: e.Index, Leaf: e.Leaf}, nil
	}
	return leaf{}, fmt.Errorf("entry %d is missing", index)
}

func (r *reading) rememberPeople(a *log.Answers, after uint64) {
	for _, key := range a.Keys {
		got := r.mem.people[key]
		have := make(map[uint64]bool)
		for _, l := range got.entries {
			have[l.Index] = true
		}
		for _, f := range a.Of(key) {
			if f.Leaf != nil && !have[f.Index] && f.Leaf.Statement.Kind.Class() == statement.People {
				got.entries = append(got.entries, leaf{Index: f.Index, Leaf: f.Leaf.Bytes})
			}
		}
		slices.SortFunc(got.entries, func(a, b leaf) int { return int(int64(a.Index) - int64(b.Index)) })
		r.mem.changed = r.mem.changed || got.upTo != a.Checkpoint.Size
		got.upTo = a.Checkpoint.Size
		r.mem.people[key] = got
	}
}

// batch is keys that are asked for from the same index on.
type batch struct {
	keys  []string
	after uint64
}

// batches splits keys into those never asked for and the others, which are
// asked for from the oldest of them on: a few answers come twice, and it stays
// two requests.
func batches(keys []string, upTo func(string) uint64) []batch {
	var fresh, known batch
	for _, k := range keys {
		if n := upTo(k); n == 0 {
			fresh.keys = append(fresh.keys, k)
		} else {
			if known.keys == nil || n < known.after {
				known.after = n
			}
			known.keys = append(known.keys, k)
		}
	}
	var out []batch
	for _, b := range []batch{fresh, known} {
		if len(b.keys) > 0 {
			out = append(out, b)
		}
	}
	return out
}

package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
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
	for _, key := range keys {
		got, known := r.mem.people[key]
		if r.Answered == Remembered && (!known || got.upTo < r.mem.size) {
			r.gap = r.lead + " and not everything about the operators is remembered"
		}
		// What people said once counts also if the log is not to be had now, or
		// somebody could undo a revocation by keeping the log away.
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
	var operators, named []string
	for _, k := range keys {
		if strings.HasPrefix(k, "key:") {
			named = append(named, k)
		} else {
			operators = append(operators, k)
		}
	}
	if len(operators) > 0 {
		a, err := r.lookup(ctx, operators, nil, heads(r.mem.people, operators), r.mem.heldPeople)
		if err != nil {
			return err
		}
		r.rememberPeople(a, a)
	}
	if len(named) > 0 {
		return r.askNamed(ctx, named)
	}
	return nil
}

// askNamed asks who says something about a key. Under a busy build key there
// are mostly its own claims, which are not wanted here: so first only the
// lists, then the bodies of everybody else, and the first of its own, which
// shows whether it is an identity key.
func (r *reading) askNamed(ctx context.Context, keys []string) error {
	from := heads(r.mem.people, keys)
	lists, err := r.lookup(ctx, keys, []statement.KeyID{}, from, r.mem.heldPeople)
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
				if s, err := statement.Parse(l.Leaf); err != nil || s.Signer != f.Signer || !slices.Contains(index.StatementKeys(s), key) {
					r.convict(ctx, key, f.Index, lists)
					return &log.ProofError{Origin: r.Origin, Key: key, Index: f.Index, HasIndex: true, Reason: "it is listed as signed by this key and is not"}
				}
				own[key] = l
			}
		}
	}
	slices.SortFunc(others, compareKeys)
	others = slices.Compact(others)
	bodies := lists
	if len(others) > 0 {
		if bodies, err = r.lookup(ctx, keys, others, from, r.mem.heldPeople); err != nil {
			return err
		}
	}
	for key, l := range own {
		got := r.mem.people[key]
		got.entries = append(got.entries, l)
		r.mem.people[key] = got
	}
	r.rememberPeople(bodies, lists)
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

// rememberPeople keeps what people say in bodies. They are all who are in lists:
// entries that came between the two answers are asked for the next time.
func (r *reading) rememberPeople(bodies, lists *log.Answers) {
	for _, key := range bodies.Keys {
		got := r.mem.people[key]
		have := make(map[uint64]bool)
		for _, l := range got.entries {
			have[l.Index] = true
		}
		for _, f := range bodies.Of(key) {
			if f.Leaf != nil && !have[f.Index] && f.Leaf.Statement.Kind.Class() == statement.People {
				got.entries = append(got.entries, leaf{Index: f.Index, Leaf: f.Leaf.Bytes})
			}
		}
		slices.SortFunc(got.entries, func(a, b leaf) int { return int(int64(a.Index) - int64(b.Index)) })
		upTo := min(lists.Read, bodies.Read)
		r.mem.changed = r.mem.changed || got.upTo != upTo || got.head != lists.Heads[key]
		got.upTo, got.head = upTo, lists.Heads[key]
		r.mem.people[key] = got
	}
}

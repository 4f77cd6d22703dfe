package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// A Prover is a Log whose answers come with a proof that nothing is missing.
type Prover interface {
	Log
	// LookupProven is Lookup with that proof. That a proof is missing, too old or
	// wrong is no error but said in Proven.Incomplete; evidence against the index is
	// on disk, and in IndexTrust, before it returns. Its errors are those of
	// Lookup, and a *log.PrefixError.
	LookupProven(ctx context.Context, q log.Query) (*log.Proven, error)
	// IndexTrust asks nobody. auditors is the index policy, nil for none.
	IndexTrust(auditors *policy.Policy) (*log.IndexTrust, error)
}

// answer is what a log says about some keys, from where they were known on.
type answer struct {
	checkpoint *log.Checkpoint
	keys       []string
	list       func(key string) []log.Found
	read       uint64               // the lists hold everything below
	heads      map[string]log.Known // nil if they are not proven
}

// start is from where on keys are asked for; the zero start is the beginning.
type start struct {
	after uint64               // an index, for lists that are not proven
	known map[string]log.Known // for lists that are
}

// batch is keys that are asked for together.
type batch struct {
	keys []string
	start
	fresh bool // nothing is known of them
}

// batches splits keys into those that must be asked for from the start and the
// others. Lists that are not proven are asked for from the oldest index of any of
// them on: a few answers come twice, and it stays two requests. Proven lists are asked for from the position
// up to which their head is known; where it is not, from the start.
func (r *reading) batches(keys []string, known func(string) (upTo uint64, head log.Known)) []batch {
	fresh, old := batch{fresh: true}, batch{start: start{known: make(map[string]log.Known)}}
	for _, k := range keys {
		upTo, head := known(k)
		switch {
		case r.prover != nil && head.Count > 0:
			old.known[k] = head
			old.keys = append(old.keys, k)
		case r.prover != nil, upTo == 0:
			fresh.keys = append(fresh.keys, k)
		default:
			if old.keys == nil || upTo < old.after {
				old.after = upTo
			}
			old.keys = append(old.keys, k)
		}
	}
	return slices.DeleteFunc([]batch{fresh, old}, func(b batch) bool { return len(b.keys) == 0 })
}

// lookup asks the log, for a proof if it gives any. held says which entries of a
// key this reader holds already.
func (r *reading) lookup(ctx context.Context, keys []string, signers []statement.KeyID, from start, held func(key string) []uint64) (*answer, error) {
	if r.prover == nil {
		a, err := r.log.Lookup(ctx, keys, signers, from.after)
		if err != nil {
			return nil, err
		}
		r.proofs.add(keys, a.Checkpoint.Size)
		r.proofs.unproven++
		return &answer{checkpoint: a.Checkpoint, keys: a.Keys, list: a.Of, read: a.Checkpoint.Size}, nil
	}
	q := log.Query{Keys: keys, Signers: signers, Known: from.known, Tail: r.ref.Tail}
	p, err := r.prover.LookupProven(ctx, q)
	if prefix := (*log.PrefixError)(nil); errors.As(err, &prefix) {
		r.warnings = append(r.warnings, fmt.Sprintf("the index of log %s no longer holds what it said before about %s; everything is asked for again", r.Name, prefix.Key))
		r.mem.forgetHeads()
		q.Known = nil
		p, err = r.prover.LookupProven(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	a := &answer{checkpoint: p.Checkpoint, keys: keys, list: func(key string) []log.Found { return p.Lists[key] }}
	if p.Incomplete != "" {
		a.read = p.Checkpoint.Size
		r.proofs.add(keys, a.read)
		r.doubtf("%s", p.Incomplete)
		return a, nil
	}
	a.read, a.heads = p.Read, p.Heads
	r.proofs.add(keys, p.Read)
	r.unread(p.Checkpoint.Size - min(p.Read, p.Checkpoint.Size))
	if len(p.Vouched) == 0 {
		r.proofs.unproven++
	}
	for _, note := range p.Vouched {
		r.vouch(note)
	}
	r.noneHidden(a, q.Known, held)
	return a, nil
}

// noneHidden makes sure that the lists hold what this reader has seen under
// their keys. Entries of the known part of a list are in it, because its head
// was checked; later ones, such as those that were read in a tail, must be listed.
// A list that hides one is not known by its head afterwards.
func (r *reading) noneHidden(a *answer, known map[string]log.Known, held func(key string) []uint64) {
	for _, key := range a.keys {
		listed := make(map[uint64]bool)
		for _, f := range a.list(key) {
			listed[f.Index] = true
		}
		for _, i := range held(key) {
			if i >= known[key].Size && i < a.read && !listed[i] {
				r.doubtf("the index of log %s hides entry %d from %s, which the log holds", r.Name, i, key)
				delete(a.heads, key)
			}
		}
	}
}

// heldPeople and heldClaims are the entries that are remembered under a key.
func (m *memory) heldPeople(key string) (indexes []uint64) {
	for _, l := range m.people[key].entries {
		indexes = append(indexes, l.Index)
	}
	return indexes
}

func (m *memory) heldClaims(key string) (indexes []uint64) {
	for _, rec := range m.claims[key].entries {
		indexes = append(indexes, rec.Index)
	}
	return indexes
}

// forgetHeads makes every list be asked for from the start.
func (m *memory) forgetHeads() {
	for key, got := range m.people {
		got.head = log.Known{}
		m.people[key] = got
	}
	for key, got := range m.claims {
		got.head = log.Known{}
		m.claims[key] = got
	}
}

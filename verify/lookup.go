package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// lookup asks the log what lies under keys: of those that known names, what
// came since. held says which entries of a key this reader holds already. The heads of an
// answer that is not whole are not known.
func (r *reading) lookup(ctx context.Context, keys []string, signers []statement.KeyID, known map[string]log.Known, held func(key string) []uint64) (*log.Answers, error) {
	q := log.Query{Keys: keys, Signers: signers, Known: known, Tail: r.ref.Tail, Audited: r.ref.IndexPolicy != nil}
	a, err := r.log.Lookup(ctx, q)
	if why := r.startsAnew(err, known); why != "" {
		r.warnings = append(r.warnings, why+"; everything is asked for again")
		r.mem.forgetHeads()
		q.Known = nil
		a, err = r.log.Lookup(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	if a.Checkpoint.Size < r.cp.Size { // of a bundle, whose parts are not of one time
		r.use(ctx, a.Checkpoint)
	}
	if r.rests(a) {
		r.noneHidden(ctx, a, q.Known, held)
	}
	return a, nil
}

// rests notes what answers rest on, and reports whether they are whole as far as the
// revisions are right. The heads of those that are not are not known.
func (r *reading) rests(a *log.Answers) bool {
	if a.Incomplete != "" {
		a.Read, a.Heads = a.Checkpoint.Size, nil
		r.proofs.add(a.Keys, a.Read)
		r.doubtf("%s", a.Incomplete)
		return false
	}
	r.proofs.add(a.Keys, a.Read)
	r.unread(a.Checkpoint.Size - min(a.Read, a.Checkpoint.Size))
	for _, note := range a.Vouched {
		r.vouch(note)
	}
	return true
}

// startsAnew says why lists must be asked for from the start although known
// remembers their beginnings, "" if that is not so: the index is another one, or the
// answer was about an older revision of it, in which lists are shorter. Neither is held
// against anybody here; noneHidden looks at what comes then.
func (r *reading) startsAnew(err error, known map[string]log.Known) string {
	var prefix *log.PrefixError
	var refused *log.RequestError
	switch {
	case errors.As(err, &prefix):
		return fmt.Sprintf("the index of log %s no longer holds what it said before about %s", r.Name, prefix.Key)
	case len(known) > 0 && errors.As(err, &refused) && refused.Status == http.StatusBadRequest:
		return fmt.Sprintf("the index of log %s no longer holds all that it said before (%v)", r.Name, err)
	}
	return ""
}

// noneHidden makes sure that the lists hold what this reader has seen under
// their keys, in this run or before. Entries of the known part of a list are in it, because its head
// was checked; later ones, such as those that were read in a tail, must be listed.
// A list that hides one is not known by its head afterwards, and what proves it is kept.
func (r *reading) noneHidden(ctx context.Context, a *log.Answers, known map[string]log.Known, held func(key string) []uint64) {
	for _, key := range a.Keys {
		before := r.before[key]
		r.before[key] = a
		seen := held(key)
		if before != nil {
			for _, f := range before.Of(key) {
				seen = append(seen, f.Index)
			}
		}
		list := a.Of(key)
		for _, i := range seen {
			_, listed := slices.BinarySearchFunc(list, i, func(f log.Found, at uint64) int { return cmp.Compare(f.Index, at) })
			if listed || i < known[key].Size || i >= a.Read {
				continue
			}
			r.doubtf("the index of log %s hides entry %d from %s, which the log holds", r.Name, i, key)
			delete(a.Heads, key)
			r.convict(ctx, key, i, a, before)
			break
		}
	}
}

// convict keeps as evidence what answers say about an entry under a key that the log itself contradicts. What
// shows nothing is no more than an answer that does not count.
func (r *reading) convict(ctx context.Context, key string, entry uint64, answers ...*log.Answers) {
	for _, a := range answers {
		if a == nil {
			continue
		}
		kept, err := r.log.Convict(ctx, a, key, entry)
		if err != nil {
			r.warnings = append(r.warnings, fmt.Sprintf("no evidence could be made of what the index of log %s says about entry %d: %v", r.Name, entry, err))
		}
		if kept || err != nil {
			return
		}
	}
}

// heads returns what is known of the lists of keys.
func heads[T any](mem map[string]remembered[T], keys []string) map[string]log.Known {
	known := make(map[string]log.Known)
	for _, k := range keys {
		if head := mem[k].head; head.Count > 0 {
			known[k] = head
		}
	}
	return known
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

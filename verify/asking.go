package verify

import (
	"bytes"
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// claims makes sure that r.mem holds what signers claim under keys, as far as
// the log or the memory knows; what is not known is in r.missing afterwards.
func (r *reading) claims(ctx context.Context, keys []string, signers []statement.KeyID, known func(statement.KeyID) (statement.PublicKey, bool)) error {
	if r.full != nil {
		r.takeClaims(ctx, keys, signers, known)
		return nil
	}
	if r.Answered == ByLookups {
		err := r.askClaims(ctx, r.held(keys), signers, known)
		if err == nil {
			r.reached()
			return nil
		}
		if err := r.fail(ctx, err); err != nil {
			return err
		}
	}
	if r.Answered == Remembered {
		if !containsAll(r.mem.signers, signers) {
			r.gap = r.lead + " and not every key of the operators is remembered"
		}
		for _, k := range keys {
			if got, ok := r.mem.claims[k]; !ok || got.upTo < r.mem.size {
				r.missing[k] = true
			}
		}
	}
	return nil
}

// reached notes how far the remembered answers go and what vouches for them, after
// everything was asked. What was asked only in earlier runs was vouched for by
// others, so it must not look as if it went as far.
func (r *reading) reached() {
	p, m := &r.proofs, r.mem
	vouched := p.vouched
	if p.doubt != "" {
		vouched = nil
	}
	size := min(r.cp.Size, p.reached)
	same := slices.EqualFunc(m.vouched, vouched, bytes.Equal)
	if !same {
		behind := size - min(size, 1)
		for key, got := range m.people {
			if got.upTo > behind && !p.asked[key] {
				got.upTo = behind
				m.people[key] = got
			}
		}
		for key, got := range m.claims {
			if got.upTo > behind && !p.asked[key] {
				got.upTo = behind
				m.claims[key] = got
			}
		}
	}
	frozen := r.Frozen || m.frozen && noteText(m.note) == noteText(r.cp.Note)
	m.changed = m.changed || !same || m.size != size || m.frozen != frozen || !bytes.Equal(m.note, r.cp.Note)
	m.note, m.size, m.vouched, m.frozen = r.cp.Note, size, vouched, frozen
}

// records returns what is known under a key.
func (r *reading) records(key string) []record {
	if r.Answered == NotAtAll || r.missing[key] {
		return nil
	}
	return r.mem.claims[key].entries
}

func compareKeys(a, b statement.KeyID) int { return slices.Compare(a[:], b[:]) }

func containsAll(sorted, wanted []statement.KeyID) bool {
	return !slices.ContainsFunc(wanted, func(k statement.KeyID) bool {
		_, ok := slices.BinarySearchFunc(sorted, k, compareKeys)
		return !ok
	})
}

// askClaims brings the remembered claims under keys up to date. Lists are asked for
// from where they are known; for the sake of signers that are new, from the start.
func (r *reading) askClaims(ctx context.Context, keys []string, signers []statement.KeyID, known func(statement.KeyID) (statement.PublicKey, bool)) error {
	all := slices.Concat(r.mem.signers, signers)
	slices.SortFunc(all, compareKeys)
	all = slices.Compact(all)
	var added []statement.KeyID
	for _, k := range all {
		if _, ok := slices.BinarySearchFunc(r.mem.signers, k, compareKeys); !ok {
			added = append(added, k)
		}
	}
	if len(added) > 0 { // what is not asked for now would miss the new signers
		asked := make(map[string]bool, len(keys))
		for _, k := range keys {
			asked[k] = true
		}
		for k := range r.mem.claims {
			if !asked[k] {
				delete(r.mem.claims, k)
			}
		}
	}
	from := heads(r.mem.claims, keys)
	if len(from) > 0 && len(added) > 0 {
		a, err := r.lookup(ctx, slices.Sorted(maps.Keys(from)), added, nil, r.mem.heldClaims)
		if err != nil {
			return err
		}
		r.rememberClaims(ctx, a, added, known)
	}
	a, err := r.lookup(ctx, keys, all, from, r.mem.heldClaims)
	if err != nil {
		return err
	}
	r.rememberClaims(ctx, a, all, known)
	r.mem.changed = r.mem.changed || len(added) > 0
	r.mem.signers = all
	return nil
}

// rememberClaims checks the signatures of an answer about signers, which are
// sorted, on all processors, and adds what they claim. Nobody else's claims are
// kept: of others it is not known that all were told.
func (r *reading) rememberClaims(ctx context.Context, a *log.Answers, signers []statement.KeyID, known func(statement.KeyID) (statement.PublicKey, bool)) {
	leaves := make(map[uint64]*checked)
	var order []*checked
	for _, key := range a.Keys {
		for _, f := range a.Of(key) {
			if f.Leaf == nil || leaves[f.Index] != nil || !containsAll(signers, []statement.KeyID{f.Leaf.Statement.Signer}) {
				continue
			}
			c := &checked{statement: f.Leaf.Statement, index: f.Index}
			leaves[f.Index] = c
			order = append(order, c)
		}
	}
	r.check(ctx, order, known)
	for _, key := range a.Keys {
		got := r.mem.claims[key]
		have := make(map[uint64]bool, len(got.entries))
		for _, rec := range got.entries {
			have[rec.Index] = true
		}
		for _, f := range a.Of(key) {
			if c := leaves[f.Index]; c != nil && c.good && !have[f.Index] {
				got.entries = append(got.entries, recordsUnder(key, c.statement, f.Index)...)
			}
		}
		slices.SortStableFunc(got.entries, func(a, b record) int { return int(int64(a.Index) - int64(b.Index)) })
		r.mem.changed = r.mem.changed || got.upTo < a.Read || got.head != a.Heads[key]
		got.upTo, got.head = max(got.upTo, a.Read), a.Heads[key]
		r.mem.claims[key] = got
	}
}

// checked is a statement whose signature is, or is not, that of its signer.
type checked struct {
	statement *statement.Statement
	index     uint64
	good      bool
	unknown   string // why it cannot be known whether it is good
}

// Why a signature cannot be checked.
const (
	noKey  = "is published in no log of the policy, so its signatures cannot be checked"
	noList = "signed other references than those in the store, and the list of them could not be had"
)

// verify decides about c with the key of its signer, and the lists of references
// that the store has: what it holds needs no blob.
func (c *checked) verify(key statement.PublicKey, lists map[nix.Hash][]nix.StorePath) {
	var refs []nix.StorePath
	if b, ok := c.statement.Body.(*statement.CacheSig); ok && b.RefsDigest != nil {
		var have bool
		if refs, have = lists[*b.RefsDigest]; !have {
			c.unknown = noList
			return
		}
	}
	c.good = c.statement.VerifyWithReferences(key, refs) == nil
}

// check verifies the signatures of order.
func (r *reading) check(ctx context.Context, order []*checked, known func(statement.KeyID) (statement.PublicKey, bool)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(order)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(order)); i = next.Add(1) - 1 {
				c := order[i]
				key, ok := known(c.statement.Signer)
				if !ok && c.statement.SignerKey != nil {
					key, ok = *c.statement.SignerKey, true
				}
				if !ok {
					c.unknown = noKey
					continue
				}
				c.verify(key, r.lists)
			}
		})
	}
	wg.Wait()
	r.fetchLists(ctx, order)
	for _, c := range order {
		switch {
		case c.unknown != "":
			r.unverified[c.statement.Signer] = c.unknown
		case !c.good:
			r.Ignored++
		}
	}
}

// forget drops what cannot be remembered because it could not be checked: the
// key may become known later. What is left is by the signers alone, whom the
// file numbers.
func (m *memory) forget(unverified map[statement.KeyID]string) {
	m.signers = slices.DeleteFunc(m.signers, func(k statement.KeyID) bool { return unverified[k] != "" })
	for key, got := range m.claims {
		got.entries = slices.DeleteFunc(got.entries, func(rec record) bool { return !containsAll(m.signers, []statement.KeyID{rec.Signer}) })
		m.claims[key] = got
	}
}

// wholeLog is what reading a whole log gave: every people statement, and the
// claims about the paths in question.
type wholeLog struct {
	people []leaf
	claims map[string][]*checked
}

// readAll reads every entry of the log. progress may be nil; it is called with
// the number of entries read and to read.
func (r *reading) readAll(ctx context.Context, keys []string, progress func(done, total uint64)) error {
	wanted := make(map[string]bool, len(keys))
	for _, k := range keys {
		wanted[k] = true
	}
	w := &wholeLog{claims: make(map[string][]*checked)}
	for e, err := range r.log.Entries(ctx, r.cp, 0, r.cp.Size) {
		if err != nil {
			return r.fail(ctx, err)
		}
		w.add(e, wanted)
		if progress != nil && (e.Index%1024 == 0 || e.Index+1 == r.cp.Size) {
			progress(e.Index+1, r.cp.Size)
		}
	}
	r.full, r.Answered = w, ByReading
	return nil
}

func (w *wholeLog) add(e log.Entry, wanted map[string]bool) {
	s, err := statement.Parse(e.Leaf)
	if err != nil {
		return // not a statement of this version: it claims nothing here
	}
	switch s.Kind.Class() {
	case statement.People:
		w.people = append(w.people, leaf{Index: e.Index, Leaf: e.Leaf})
	case statement.Claim:
		var c *checked
		for _, key := range index.Keys(e.Leaf) {
			if !wanted[key] {
				continue
			}
			if c == nil {
				c = &checked{statement: s, index: e.Index}
			}
			w.claims[key] = append(w.claims[key], c)
		}
	}
}

// takeClaims is askClaims for a log that was read whole. Nothing of it is
// remembered for later runs.
func (r *reading) takeClaims(ctx context.Context, keys []string, signers []statement.KeyID, known func(statement.KeyID) (statement.PublicKey, bool)) {
	r.mem = newMemory()
	seen := make(map[*checked]bool)
	var order []*checked
	for _, key := range keys {
		for _, c := range r.full.claims[key] {
			if !seen[c] && containsAll(signers, []statement.KeyID{c.statement.Signer}) {
				seen[c] = true
				order = append(order, c)
			}
		}
	}
	r.check(ctx, order, known)
	for _, key := range keys {
		var got remembered[record]
		for _, c := range r.full.claims[key] {
			if c.good {
				got.entries = append(got.entries, recordsUnder(key, c.statement, c.index)...)
			}
		}
		r.mem.claims[key] = got
	}
}

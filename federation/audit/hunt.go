package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/statement"
)

// maxTwins is how many entries after the size of a revision are read to find
// another one of that size.
const maxTwins = 8192

// listAtMost is how many items from the end of a list are looked at: a variable for tests.
var listAtMost = index.MaxItems

// Bounds of looking for evidence (spec/auditor.md#work).
const (
	retryHunt    = time.Minute // after the log withheld its map; twice as long each time
	maxRetryHunt = time.Hour
	huntRest     = 9 // times what looking took, until the next
)

// hunt looks for evidence of what the wrong revisions hide, until ctx ends.
func (a *Auditor) hunt(ctx context.Context) {
	for wait := retryHunt; ; wait = min(2*wait, maxRetryHunt) {
		var again <-chan time.Time
		for _, w := range a.stateNow().wrongs {
			began := time.Now()
			err := a.convict(ctx, w)
			if ctx.Err() != nil {
				return
			}
			if a.hunted(w, err) {
				again = time.After(wait)
			}
			if sleep(ctx, min(huntRest*time.Since(began), maxRetryHunt)) != nil {
				return
			}
		}
		select {
		case <-a.hunts:
			wait = retryHunt / 2
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// hunted notes how looking at a wrong revision ended, and reports whether it is to
// be tried again. What was withdrawn is looked at once.
func (a *Auditor) hunted(w wrong, err error) (again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.withheld[w.at] = err
	i := slices.IndexFunc(a.state.wrongs, func(v wrong) bool { return v.at == w.at })
	if i >= 0 && (err == nil || a.state.wrongs[i].withdrawn) {
		delete(a.withheld, w.at)
		a.state.wrongs = slices.Delete(slices.Clone(a.state.wrongs), i, i+1)
		again = false
	} else {
		again = err != nil
	}
	if err != nil {
		a.log.Error("a revision is wrong, and there is no evidence of it yet", "index", w.at, "size", w.size, "error", err)
	}
	a.notify()
	return again
}

// convict keeps evidence of a wrong revision, if there is none yet.
func (a *Auditor) convict(ctx context.Context, w wrong) error {
	held, err := a.memory.Evidence().AgainstIndex(a.pol, a.o.Key.Name, index.MapVersion)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(held, func(h evidence.Held) bool { return h.Verdict.Size == w.size }) {
		return nil
	}
	e, err := a.evidence(ctx, w)
	if err != nil {
		return err
	}
	_, _, err = a.memory.AddEvidence(e, a.pol)
	if errors.Is(err, evidence.ErrSetAside) {
		return nil
	}
	return err
}

// evidence returns what convicts the log of a wrong revision.
func (a *Auditor) evidence(ctx context.Context, w wrong) (*evidence.Evidence, error) {
	a.mu.Lock()
	cp := a.target
	a.mu.Unlock()
	rev, err := a.included(ctx, cp, w.at)
	if err != nil {
		return nil, err
	}
	if e, err := a.twinOf(ctx, cp, w, rev.Leaf); e != nil || err != nil {
		return e, err
	}
	c := &comparison{ctx: ctx, shown: a.shown, size: w.size}
	if err := c.begin(w.root); err != nil {
		return nil, err // before a state of long ago is computed
	}
	view, err := a.db.View(ctx, w.size)
	if err != nil {
		return nil, err
	}
	d, err := c.find(view)
	if err != nil {
		return nil, err
	}
	m := &fraud.Map{Key: a.o.Key, Checkpoint: cp.Note, Revision: rev, Trie: c.trie.tree()}
	if d == nil {
		return fraud.FromMap(m)
	}
	x := &exhibit{a: a, ctx: ctx, cp: cp, m: m, view: view, shown: a.shown}
	return x.of(d)
}

// included returns an entry with the proof that it is in a checkpoint.
func (a *Auditor) included(ctx context.Context, cp *log.Checkpoint, at uint64) (evidence.Included, error) {
	e, err := a.client.Entry(ctx, cp, at)
	if err != nil {
		return evidence.Included{}, err
	}
	p, err := a.client.ProveInclusion(ctx, cp, at)
	if err != nil {
		return evidence.Included{}, err
	}
	return evidence.Included{Index: at, Leaf: e.Leaf, Proof: p.Hashes}, nil
}

// twinOf looks for a revision of the same size with another root, soon after that size.
func (a *Auditor) twinOf(ctx context.Context, cp *log.Checkpoint, w wrong, leaf []byte) (*evidence.Evidence, error) {
	for e, err := range a.client.Entries(ctx, cp, w.size, min(w.size+maxTwins, cp.Size)) {
		if err != nil {
			return nil, err
		}
		s, err := statement.Parse(e.Leaf)
		if err != nil {
			continue
		}
		if r, ok := s.Body.(*statement.Revision); ok && r.Size == w.size && r.Root != w.root {
			if ev, err := fraud.FromRevisions(a.o.Key, leaf, e.Leaf); err == nil {
				return ev, nil
			}
		}
	}
	return nil, nil
}

// An exhibit makes evidence of a difference.
type exhibit struct {
	a     *Auditor
	ctx   context.Context
	cp    *log.Checkpoint
	m     *fraud.Map
	view  *triedb.View
	shown *shownIndex
}

func (x *exhibit) of(d *difference) (*evidence.Evidence, error) {
	if d.absent {
		_, items, _, err := x.view.List(d.kh, 0, 1)
		if err != nil {
			return nil, err
		}
		return x.fromEntry(items[0].Index)
	}
	// The map as it is, before any list: its counts may be too large.
	if e, err := fraud.FromMap(x.m); err == nil {
		return e, nil
	}
	head, _, err := x.m.Trie.Find(d.kh)
	if err != nil {
		return nil, err
	}
	own, _, err := x.view.Head(d.kh)
	if err != nil {
		return nil, err
	}
	for list := (index.List{}); len(list.Items) < listAtMost; {
		if list, err = x.more(d.kh, head, list); err != nil {
			return nil, err
		}
		// As many from the end of the own list, and one more.
		n := min(own.Count, uint64(len(list.Items)+1))
		_, mine, _, err := x.view.List(d.kh, own.Count-n, int(n))
		if err != nil {
			return nil, err
		}
		x.m.Lists = map[index.Hash]index.List{d.kh: list}
		if e, err := fraud.FromMap(x.m); err == nil {
			return e, nil
		}
		if at, ok := differ(list, mine); ok {
			return x.fromEntry(at)
		}
		if list.Prefix.Count() == 0 {
			break
		}
	}
	return nil, fmt.Errorf("%w: no difference was found in the list of %s", errWithheld, d.kh)
}

func (x *exhibit) fromEntry(at uint64) (*evidence.Evidence, error) {
	in, err := x.a.included(x.ctx, x.cp, at)
	if err != nil {
		return nil, err
	}
	return fraud.FromEntry(x.m, in)
}

// more returns a list with more items from before those that are there; the list
// is checked against the head in the map.
func (x *exhibit) more(kh index.Hash, head index.Head, have index.List) (index.List, error) {
	want := head
	if len(have.Items) > 0 {
		want = have.Prefix.Root()
	}
	to := uint64(0)
	if want.Count != head.Count {
		to = want.Count
	}
	l, err := x.shown.list(x.ctx, x.view.Size(), kh, to)
	if err != nil {
		return have, err
	}
	if err := index.CheckList(want, l.Prefix, l.Items); err != nil && !errors.Is(err, index.ErrShape) || len(l.Items) == 0 {
		return have, fmt.Errorf("%w: the list of %s is another one", errWithheld, kh)
	}
	return index.List{Prefix: l.Prefix, Items: append(l.Items, have.Items...)}, nil
}

// differ returns the last entry about which a list of the log, or the end of it,
// differs from the own, of which one item more is given if there is one.
func differ(theirs index.List, mine []index.Item) (at uint64, ok bool) {
	items := theirs.Items
	i, j := len(items)-1, len(mine)-1
	for i >= 0 && j >= 0 {
		switch {
		case items[i] == mine[j]:
			i, j = i-1, j-1
		case items[i].Index < mine[j].Index:
			return mine[j].Index, true
		default:
			return items[i].Index, true
		}
	}
	switch {
	case i >= 0:
		return items[i].Index, true
	case j >= 0 && theirs.Prefix.Count() == 0:
		return mine[j].Index, true
	}
	return 0, false
}

package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/statement"
)

// replay takes the entries below the target until ctx ends.
func (a *Auditor) replay(ctx context.Context) {
	for {
		a.mu.Lock()
		target, checked := a.target, a.state.checked
		a.mu.Unlock()
		var again <-chan time.Time
		if target != nil && (target.Size > checked || a.db.Size() < checked) {
			err := a.replayTo(ctx, target)
			if ctx.Err() != nil {
				return
			}
			a.fail(&a.unread, err)
			if err == nil {
				continue // to what was asked for meanwhile
			}
			again = time.After(retryRead)
		}
		select {
		case <-a.wake:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// replayTo takes the entries below cp into the map and compares the revisions
// among them.
func (a *Auditor) replayTo(ctx context.Context, cp *log.Checkpoint) error {
	from := min(a.db.Size(), a.checked())
	var batch []entry
	for e, err := range a.client.Entries(ctx, cp, from, cp.Size) {
		if err != nil {
			return err
		}
		batch = append(batch, entry{at: e.Index, leaf: e.Leaf})
		if len(batch) < batchSize && e.Index+1 < cp.Size {
			continue
		}
		if err := a.take(ctx, batch, e.Index+1 == cp.Size); err != nil {
			return err
		}
		batch = batch[:0]
	}
	return nil
}

func (a *Auditor) checked() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.checked
}

// An entry is a leaf with what the map and the audit need of it.
type entry struct {
	at    uint64
	leaf  []byte
	row   triedb.Row
	rev   *statement.Revision   // that counts (spec/index.md#revisions), or nil
	reset *statement.IndexReset // that counts, or nil
}

// parse reads the leaves on all cores.
func (a *Auditor) parse(batch []entry) error {
	var g errgroup.Group
	part := max(256, (len(batch)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for es := range slices.Chunk(batch, part) {
		g.Go(func() error {
			for i := range es {
				a.read(&es[i])
			}
			return nil
		})
	}
	return g.Wait()
}

// read fills in what e needs. A leaf that is no statement has no keys.
func (a *Auditor) read(e *entry) {
	s, err := statement.Parse(e.leaf)
	if err != nil {
		return
	}
	e.row = triedb.Row{Keys: index.StatementKeys(s), Signer: s.Signer}
	switch b := s.Body.(type) {
	case *statement.Revision:
		if b.Origin == a.o.Key.Name && b.MapVersion == index.MapVersion && b.Size <= e.at && s.Verify(a.logKey) == nil {
			e.rev = b
		}
	case *statement.IndexReset:
		if b.Origin == a.o.Key.Name && b.MapVersion == index.MapVersion && b.Size <= e.at && s.Verify(a.logKey) == nil {
			e.reset = b
		}
	}
}

// take takes a batch, which begins at or before the next entry of the map. last
// says that a checkpoint ends with it, whose map a later revision may be about.
func (a *Auditor) take(ctx context.Context, batch []entry, last bool) error {
	if err := a.parse(batch); err != nil {
		return err
	}
	checked := a.checked()
	end := batch[len(batch)-1].at + 1
	var sizes []uint64
	for _, e := range batch {
		if e.rev != nil && e.at >= checked && e.rev.Size > a.db.Size() {
			sizes = append(sizes, e.rev.Size)
		}
	}
	if last {
		sizes = append(sizes, end)
	}
	slices.Sort(sizes)
	for _, size := range slices.Compact(sizes) {
		if err := a.append(batch, size); err != nil {
			return err
		}
		root, err := a.db.Commit()
		if err != nil {
			return err
		}
		a.roots.put(a.db.Size(), root)
	}
	if err := a.append(batch, end); err != nil {
		return err
	}
	before := a.stateNow()
	next := before.clone()
	for _, e := range batch {
		if e.at < checked {
			continue
		}
		if err := a.check(ctx, &next, e); err != nil {
			return err
		}
	}
	next.checked = max(next.checked, end)
	return a.advance(before, next, uint64(len(batch)))
}

// append takes the entries of a batch below size into the map.
func (a *Auditor) append(batch []entry, size uint64) error {
	have := a.db.Size()
	if have >= size {
		return nil
	}
	part := batch[have-batch[0].at : size-batch[0].at]
	rows := make([]triedb.Row, len(part))
	for i := range part {
		rows[i] = part[i].row
	}
	return a.db.Append(rows)
}

func (a *Auditor) stateNow() state {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.clone()
}

// advance makes next the state. What must not be forgotten is on disk before
// anybody sees that the entries were read.
func (a *Auditor) advance(before, next state, entries uint64) error {
	a.mu.Lock()
	found := func(w wrong) bool { return w.in(before.wrongs) && !w.in(a.state.wrongs) } // meanwhile
	a.state.spans, a.state.wrongs, a.state.reset = next.spans, slices.DeleteFunc(slices.Clone(next.wrongs), found), next.reset
	a.mu.Unlock()
	if !slices.Equal(before.spans, next.spans) || !slices.Equal(before.wrongs, next.wrongs) {
		// Without the new number of entries: if this is lost they are read again.
		if err := a.save(); err != nil {
			return err
		}
	}
	a.mu.Lock()
	a.state.checked = next.checked
	a.counts.entries += entries
	a.notify()
	a.mu.Unlock()
	if len(next.wrongs) > 0 && !slices.Equal(before.wrongs, next.wrongs) {
		signal(a.hunts)
	}
	if next.checked >= a.saved+saveEvery {
		return a.save()
	}
	return nil
}

// check compares a revision with the map, and heeds an index-reset.
func (a *Auditor) check(ctx context.Context, st *state, e entry) error {
	if e.reset != nil {
		if st.withdraw(e.at, e.reset.Size) {
			a.log.Warn("the log has reset its index, and goes on", "index", e.at)
		}
		return nil
	}
	if e.rev == nil {
		return nil
	}
	if e.rev.Size <= st.reset {
		// Whatever its root is, nobody could be convicted of it: the reset answers.
		a.count(func(c *counts) { c.wrong++ })
		a.log.Error("a revision of the index is of a size that was withdrawn before: nothing that holds it is cosigned", "index", e.at, "size", e.rev.Size)
		st.refuse(e.at, e.rev.Size)
		return nil
	}
	root, err := a.rootAt(ctx, e.rev.Size)
	if err != nil {
		return err
	}
	if e.rev.Size <= a.last {
		a.log.Warn("the log has stated a revision that is not larger than the one before", "index", e.at, "size", e.rev.Size)
	}
	a.last = max(a.last, e.rev.Size)
	a.count(func(c *counts) { c.revisions++ })
	if err := a.twin(e); err != nil {
		return err
	}
	if root == index.Hash(e.rev.Root) {
		return nil
	}
	a.count(func(c *counts) { c.wrong++ })
	a.log.Error("a revision of the index is wrong: nothing that holds it is cosigned", "index", e.at, "size", e.rev.Size, "says", index.Hash(e.rev.Root).String(), "computed", root.String())
	st.add(wrong{at: e.at, size: e.rev.Size, root: e.rev.Root})
	return nil
}

// twin keeps evidence if the log has lately stated another root for the same size.
func (a *Auditor) twin(e entry) error {
	other, there := a.revisions.of[e.rev.Size]
	if !there {
		a.revisions.put(e.rev.Size, e.leaf)
		return nil
	}
	ev, err := fraud.FromRevisions(a.o.Key, other, e.leaf)
	if errors.Is(err, evidence.ErrNotEvidence) {
		return nil
	}
	if err == nil {
		_, _, err = a.memory.AddEvidence(ev, a.pol)
	}
	if errors.Is(err, evidence.ErrSetAside) {
		return nil
	}
	return err
}

func (a *Auditor) count(f func(*counts)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&a.counts)
}

// rootAt returns the root of the map at a size.
func (a *Auditor) rootAt(ctx context.Context, size uint64) (index.Hash, error) {
	if root, ok := a.roots.of[size]; ok {
		return root, nil
	}
	v, err := a.view(ctx, size)
	if err != nil {
		return index.Hash{}, err
	}
	a.roots.put(size, v.Root())
	return v.Root(), nil
}

// view returns the map at a size that was appended.
func (a *Auditor) view(ctx context.Context, size uint64) (*triedb.View, error) {
	v, err := a.db.View(ctx, size)
	if errors.Is(err, triedb.ErrFuture) {
		if _, err := a.db.Commit(); err != nil {
			return nil, err
		}
		v, err = a.db.View(ctx, size)
	}
	if err != nil {
		return nil, fmt.Errorf("the map at size %d: %w", size, err)
	}
	return v, nil
}

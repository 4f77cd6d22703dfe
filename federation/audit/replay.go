package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/index/triedb"
)

// maxBehind is how many entries may be between the size of a revision and its index
// (spec/index.md#revisions, rule 25): so many leaves wait to be taken into the map, so that no state
// of it is ever made a second time.
const maxBehind = 32768

// replay takes the entries below the target until ctx ends.
func (a *Auditor) replay(ctx context.Context) {
	for {
		a.mu.Lock()
		target := a.target
		a.mu.Unlock()
		var again <-chan time.Time
		if target != nil && target.Size > a.at {
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

// replayTo reads the entries below cp and compares the revisions among them.
func (a *Auditor) replayTo(ctx context.Context, cp *log.Checkpoint) error {
	for batch, err := range a.entries(ctx, cp, a.at) {
		if err != nil {
			return err
		}
		if err := a.take(batch); err != nil {
			a.rewind()
			return err
		}
	}
	if _, err := a.db.Commit(); err != nil {
		return fmt.Errorf("the map at size %d: %w", a.db.Size(), err)
	}
	return nil
}

// rewind has everything read again that is not in the map.
func (a *Auditor) rewind() { a.at, a.waiting, a.last = a.db.Size(), nil, 0 }

// A taking is a batch on its way through the audit.
type taking struct {
	*Auditor
	before, next state
}

// take compares the revisions among the next entries. The leaves wait until
// the map is made as large as a revision says, or none may be about them any more.
func (a *Auditor) take(batch []entry) error {
	t := &taking{Auditor: a}
	t.begin()
	read := t.before.checked
	for i := range batch {
		e := &batch[i]
		if err := t.check(e); err != nil {
			return err
		}
		a.waiting = append(a.waiting, e.row)
		a.at++
	}
	t.next.checked = max(t.next.checked, a.at)
	if err := a.advance(t.before, t.next, t.next.checked-min(t.next.checked, max(read, batch[0].at))); err != nil {
		return err
	}
	return a.grow(a.at - min(a.at, maxBehind))
}

func (t *taking) begin() {
	t.before = t.stateNow()
	t.next = t.before.clone()
}

// grow takes the leaves below size into the map. All of them were checked, and that
// was noted.
func (a *Auditor) grow(size uint64) error {
	have := a.db.Size()
	if have >= size {
		return nil
	}
	n := size - have
	if err := a.db.Append(a.waiting[:n]); err != nil {
		return err
	}
	clear(a.waiting[:n])
	a.waiting = a.waiting[n:]
	return nil
}

// check compares a revision with the map, and heeds an index-reset.
func (t *taking) check(e *entry) error {
	known := e.at < t.next.checked // before this start
	switch {
	case e.reset != nil && !known:
		if t.next.withdraw(e.at, e.reset.Size) {
			t.log.Warn("the log has reset its index, and goes on", "index", e.at)
		}
	case e.rev != nil:
		return t.revision(e, known)
	}
	return nil
}

// revision compares a revision. Its size is at least that of the map, or it breaks a
// rule; so one map that only grows is enough for all of them.
func (t *taking) revision(e *entry, known bool) error {
	size, why := e.rev.Size, ""
	switch {
	case size <= t.next.reset && !known:
		why = "it is of a size that was withdrawn before"
	case size <= t.last || size < t.db.Size():
		why = "it is not larger than one before"
	case e.at-size > maxBehind:
		why = "it is too far behind"
	}
	t.last = max(t.last, size)
	if why != "" {
		if known {
			return nil
		}
		return t.unfit(e, why)
	}
	if !known {
		// Before the map holds leaves it is noted that they were checked: a kill loses neither
		// alone.
		t.next.checked = max(t.next.checked, e.at)
		if err := t.advance(t.before, t.next, 0); err != nil {
			return err
		}
		t.begin()
	}
	if err := t.grow(size); err != nil {
		return err
	}
	root, err := t.db.Commit()
	if err != nil {
		return fmt.Errorf("the map at size %d: %w", size, err)
	}
	if known {
		t.revisions.put(size, e.leaf)
		return nil
	}
	return t.compare(e, root)
}

// unfit refuses a revision without comparing it: whatever its root is, it must not be
// there (spec/auditor.md#work).
func (t *taking) unfit(e *entry, why string) error {
	t.count(func(c *counts) { c.wrong++ })
	t.log.Error("a revision must not be there, and is not compared: nothing that holds it is cosigned", "index", e.at, "size", e.rev.Size, "why", why)
	t.next.refuse(e.at, e.rev.Size)
	if e.rev.Size <= t.next.reset {
		return nil // nobody could be convicted of it: the reset answers
	}
	return t.twin(e)
}

// compare compares a revision with the root of the map of its size.
func (t *taking) compare(e *entry, root index.Hash) error {
	t.count(func(c *counts) { c.revisions++ })
	if err := t.twin(e); err != nil {
		return err
	}
	if root == index.Hash(e.rev.Root) {
		return nil
	}
	t.count(func(c *counts) { c.wrong++ })
	t.log.Error("a revision of the index is wrong: nothing that holds it is cosigned", "index", e.at, "size", e.rev.Size, "says", index.Hash(e.rev.Root).String(), "computed", root.String())
	t.next.add(wrong{at: e.at, size: e.rev.Size, root: e.rev.Root})
	return nil
}

// twin keeps evidence if the log has lately stated another root for the same size.
func (a *Auditor) twin(e *entry) error {
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

// noted makes durable what was compared before the map in memory became what a file is
// to hold. Less does not do, though it be more than the size of the map: a revision that is not
// known after a kill would be of a size that the map has gone by.
func (a *Auditor) noted(uint64) error {
	if a.saved.Load() >= a.checked() {
		return nil
	}
	return a.save()
}

// openMap opens the map. Whatever becomes durable there was noted in the state before.
func (a *Auditor) openMap() (*triedb.DB, error) {
	o := triedb.Options{Logger: a.log, BeforeFlush: a.noted}
	db, err := triedb.Open(a.mapDir(), a.o.Key.Name, o)
	if errors.Is(err, triedb.ErrDamaged) {
		a.log.Warn("the map is damaged and is computed again", "error", err)
		if err := triedb.Remove(a.mapDir()); err != nil {
			return nil, err
		}
		db, err = triedb.Open(a.mapDir(), a.o.Key.Name, o)
	}
	return db, err
}

package follow

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/tracker/store"
)

// Bounds of what is written at once.
const (
	batchEntries = 1024
	batchBytes   = 4 << 20
)

// Pauses after a failure, and how often a log is asked that has ended.
const (
	firstPause  = time.Second
	longestWait = 5 * time.Minute
	frozenPoll  = 10 * time.Minute
	noteEvery   = time.Minute // newer cosignatures of the same tree are noted
)

// run follows the log until ctx ends.
func (l *follower) run(ctx context.Context) {
	for failures := 0; ; {
		err := l.round(ctx)
		if ctx.Err() != nil {
			return
		}
		l.tell(ctx, err)
		pause := l.f.o.Poll
		switch {
		case err != nil && kindOf(err) != "stale":
			failures++
			pause = backoff(failures, err)
		case l.now().Frozen:
			failures, pause = 0, frozenPoll
		default:
			failures = 0
		}
		if !sleep(ctx, jitter(pause)) {
			return
		}
	}
}

// backoff is how long to wait after the n-th failure in a row: twice as long each time,
// and as long as the log asks.
func backoff(n int, why error) time.Duration {
	pause := longestWait
	if n < 20 {
		pause = min(longestWait, firstPause<<(n-1))
	}
	var refused *log.RequestError
	if errors.As(why, &refused) {
		pause = max(pause, min(refused.RetryAfter, longestWait))
	}
	return pause
}

// jitter keeps those who began together from asking together.
func jitter(d time.Duration) time.Duration { return d - time.Duration(rand.Int64N(int64(d)/4+1)) }

// round replays the log up to the checkpoint that it shows.
func (l *follower) round(ctx context.Context) error {
	root, err := l.recall(ctx)
	if err != nil {
		return databaseError{err}
	}
	cp, err := l.client.Checkpoint(ctx)
	if err != nil {
		return err
	}
	l.set(func(s *Status) {
		s.Size, s.Checked = cp.Size, time.Now()
		if cp.Verified.Dated {
			s.CheckpointTime = cp.Verified.Time
		}
	})
	from := l.now().Replayed
	if from > cp.Size {
		return &historyError{from, cp.Size}
	}
	if err := l.compare(ctx, cp, root); err != nil {
		return err
	}
	if err := l.note(ctx, cp, from); err != nil {
		return err
	}
	if err := l.replay(ctx, cp, from); err != nil {
		return err
	}
	if err := l.freeze(ctx, cp); err != nil {
		return err
	}
	if v := cp.Verified; l.MaxAge > 0 && !l.now().Frozen && v.Dated && v.Age > l.MaxAge {
		return &ageError{v.Age, l.MaxAge}
	}
	return nil
}

// recall asks the database how far it is, and the first time what it knows. It returns the
// root that it was last told.
func (l *follower) recall(ctx context.Context) ([32]byte, error) {
	st := l.f.o.Store
	next, root, err := st.Progress(ctx, l.Origin)
	if err != nil {
		return root, err
	}
	l.set(func(s *Status) { s.Replayed = next })
	if l.recalled {
		return root, nil
	}
	all, err := st.Logs(ctx)
	if err != nil {
		return root, err
	}
	view := store.LogView{Origin: l.Origin, URL: l.URL}
	if i := slices.IndexFunc(all, func(v store.LogView) bool { return v.Origin == l.Origin }); i >= 0 {
		view = all[i]
	}
	l.noted.recall(view, root)
	for _, k := range st.Keys() {
		l.f.keys.add(k)
	}
	l.recalled = true
	return root, nil
}

// compare holds, once, what the database was told of the log against what the log shows: it
// may be a copy of another one, and the memory beside it lost.
func (l *follower) compare(ctx context.Context, cp *log.Checkpoint, root [32]byte) error {
	size := l.noted.view.Size
	if l.compared || size == 0 || size > cp.Size {
		return nil
	}
	_, now, err := l.client.ProveConsistency(ctx, size, cp)
	if err != nil {
		return err
	}
	if now != root {
		return &historyError{size, cp.Size}
	}
	l.compared = true
	return nil
}

// note tells the database of a checkpoint before it is replayed: of each that is
// larger, of the first in this run, and now and then of one that was cosigned again.
func (l *follower) note(ctx context.Context, cp *log.Checkpoint, from uint64) error {
	n := &l.noted
	if !n.at.IsZero() && from == cp.Size && n.view.Size == cp.Size && time.Since(n.at) < noteEvery {
		return nil
	}
	n.view, n.root = n.see(&l.Log, cp), cp.Root
	return l.write(ctx)
}

// write tells the database how the log is.
func (l *follower) write(ctx context.Context) error {
	s := l.now()
	n := &l.noted
	n.view.Replayed, n.view.Frozen, n.view.Error = s.Replayed, s.Frozen, s.Error
	n.view.Checked, n.view.Updated = s.Checked.UTC(), s.Updated.UTC()
	if err := l.f.o.Store.Note(ctx, n.view, n.root); err != nil {
		return databaseError{err}
	}
	n.at = time.Now()
	return nil
}

// replay adds the entries from an index up to cp to the database.
func (l *follower) replay(ctx context.Context, cp *log.Checkpoint, from uint64) error {
	if from == cp.Size {
		return nil
	}
	r := newReader(l.client, &l.f.keys, l.file, func(what string, err error) { l.log.Warn(what, "error", err) })
	b := batch{l: l}
	for p, err := range r.parts(ctx, cp, from) {
		if err == nil {
			err = b.add(ctx, r, p)
		}
		if err == nil {
			if last := p.entries[len(p.entries)-1]; last.index+1 == cp.Size {
				l.ended(log.ParseFreeze(l.Policy, l.Origin, last.leaf) != nil)
			}
		}
		if err != nil || b.full() {
			// What came before a failure is not read again.
			if err := errors.Join(err, b.write(ctx)); err != nil {
				return err
			}
		}
	}
	return b.write(ctx)
}

// freeze finds out, where nothing was replayed in this run, whether the log has ended.
func (l *follower) freeze(ctx context.Context, cp *log.Checkpoint) error {
	if !l.looked {
		freeze, err := l.client.Freeze(ctx, cp)
		if err != nil {
			return err
		}
		l.ended(freeze != nil)
	}
	if l.noted.view.Frozen == l.now().Frozen {
		return nil
	}
	return l.write(ctx)
}

// ended notes whether the last entry is one by which the log has ended.
func (l *follower) ended(frozen bool) {
	l.looked = true
	l.set(func(s *Status) { s.Frozen = frozen })
}

// tell notes why the log does not go on, nil that it does, and says so when that changes,
// in the database too if it can be told.
func (l *follower) tell(ctx context.Context, err error) {
	why := sentence(err)
	var was string
	l.set(func(s *Status) {
		was, s.Error = s.Error, why
		if err != nil {
			s.Errors[kindOf(err)]++
		}
	})
	switch {
	case why != "" && why != was:
		l.log.Warn("the log is not followed", "why", why)
	case why == "" && was != "":
		l.log.Info("the log is followed again")
	}
	if !l.recalled || why == l.noted.view.Error || kindOf(err) == "database" {
		return
	}
	if err := l.write(ctx); err != nil {
		l.log.Warn("what became of the log is not in the database", "error", err)
	}
}

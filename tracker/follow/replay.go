package follow

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/firn-log/firn/log"
)

// Bounds of what is written at once.
const (
	batchEntries = 2048
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
		l.tell(err)
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
	from, err := l.begin(ctx, cp)
	if err != nil {
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

// begin returns the index of the entry that comes next. The tree of what the database
// holds is compared with the log once: it may be a copy of another one.
func (l *follower) begin(ctx context.Context, cp *log.Checkpoint) (uint64, error) {
	p, err := l.f.o.Store.Progress(ctx, l.Origin)
	if err != nil {
		return 0, databaseError{err}
	}
	l.set(func(s *Status) { s.Replayed = p.Entries })
	if p.Entries > cp.Size {
		return 0, &historyError{p.Entries, cp.Size}
	}
	if l.compared || p.Size == 0 || p.Size > cp.Size {
		return p.Entries, nil
	}
	_, root, err := l.client.ProveConsistency(ctx, p.Size, cp)
	if err != nil {
		return 0, err
	}
	if root != p.Root {
		return 0, &historyError{p.Size, cp.Size}
	}
	l.compared = true
	return p.Entries, nil
}

// note tells the database of a checkpoint before it is replayed: of each that is
// larger, of the first in this run, and now and then of one that was cosigned again.
func (l *follower) note(ctx context.Context, cp *log.Checkpoint, from uint64) error {
	if l.noted != nil && from == cp.Size && l.noted.Size == cp.Size && time.Since(l.notedAt) < noteEvery {
		return nil
	}
	c := l.checkpoint(cp, l.now().Frozen)
	if err := l.f.o.Store.SetCheckpoint(ctx, l.Origin, c); err != nil {
		return databaseError{err}
	}
	l.noted, l.notedAt = c, time.Now()
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
			b.add(p)
			if b.to == cp.Size {
				l.ended(log.ParseFreeze(l.Policy, l.Origin, p.entries[len(p.entries)-1].leaf) != nil)
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
	if l.noted.Frozen == l.now().Frozen {
		return nil
	}
	l.noted = nil
	return l.note(ctx, cp, cp.Size)
}

// ended notes whether the last entry is one by which the log has ended.
func (l *follower) ended(frozen bool) {
	l.looked = true
	l.set(func(s *Status) { s.Frozen = frozen })
}

package follow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/firn-log/firn/tracker/eval"
	"github.com/firn-log/firn/tracker/store"
)

// Evaluations are the kept evaluation files of all channels. Of one channel and tier
// they are added to the database in order, each in one transaction.
type Evaluations struct {
	Folder *eval.Folder
	Store  EvaluationStore
	Logger *slog.Logger

	mu    sync.Mutex // guards what follows
	added uint64
	told  string // why not all are added, "" if they are
}

// EvaluationStore is what evaluations are added to; [Database] is one.
type EvaluationStore interface {
	// Evaluated returns the newest evaluation of a channel and tier that was added, 0 if none was.
	Evaluated(ctx context.Context, channel string, tier eval.Tier) (int64, error)
	// Evaluate adds the next one, all or nothing.
	Evaluate(ctx context.Context, h eval.Header, attrs iter.Seq2[eval.Attribute, error]) error
}

// Evaluate implements EvaluationStore.
func (d Database) Evaluate(ctx context.Context, h eval.Header, attrs iter.Seq2[eval.Attribute, error]) error {
	return d.Write(ctx, func(tx *store.Tx) error { return tx.AddEvaluation(ctx, h, attrs) })
}

// Run adds new files as they come until ctx ends.
func (e *Evaluations) Run(ctx context.Context, every time.Duration) {
	for {
		err := e.Add(ctx)
		if ctx.Err() != nil {
			return
		}
		e.tell(err)
		if !sleep(ctx, jitter(every)) {
			return
		}
	}
}

// Add adds all files that are there and newer than what the database has. A file that
// cannot be added stops its channel and tier, and not the others.
func (e *Evaluations) Add(ctx context.Context) error {
	channels, err := e.Folder.Channels()
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range channels {
		for _, tier := range []eval.Tier{eval.Meta, eval.Drvs} {
			if err := e.addTier(ctx, c, tier); err != nil {
				errs = append(errs, fmt.Errorf("evaluations of %s: %w", c, err))
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return errors.Join(errs...)
}

func (e *Evaluations) addTier(ctx context.Context, channel string, tier eval.Tier) error {
	after, err := e.Store.Evaluated(ctx, channel, tier)
	if err != nil {
		return databaseError{err}
	}
	for ev, err := range e.Folder.Read(channel, tier, after) {
		if err != nil {
			return err
		}
		if err := e.Store.Evaluate(ctx, ev.Header, ev.Attributes); err != nil {
			return fmt.Errorf("%s: %w", ev.Path, err)
		}
		e.mu.Lock()
		e.added++
		e.mu.Unlock()
		e.Logger.Info("an evaluation was added", "channel", channel, "seq", ev.Seq, "tier", string(tier))
	}
	return nil
}

// tell says why not all are added, when that changes.
func (e *Evaluations) tell(err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	e.mu.Lock()
	was := e.told
	e.told = why
	e.mu.Unlock()
	if why != was && why != "" {
		e.Logger.Error("an evaluation cannot be added; the ones before it stay", "why", why)
	}
}

// Status returns how many evaluations were added since the start, and why not all are, "" if
// they are.
func (e *Evaluations) Status() (added uint64, trouble string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.added, e.told
}

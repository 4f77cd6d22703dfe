package send

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// Item is one leaf to send.
type Item struct {
	Leaf []byte
	// Blobs that the leaf names. A leaf with blobs is sent in a request of its own.
	Blobs [][]byte
	// Of is the caller's, for its report.
	Of any
}

const (
	// inFlight is how many requests SendAll has open at once: the log works on
	// one while the other is on its way.
	inFlight = 2
	// linger is how long a leaf waits for others to fill the request.
	linger = 50 * time.Millisecond
)

// SendAll sends what comes out of in, until in is closed, in requests of at most
// [log.MaxSubmitLeaves] and [log.MaxSubmitBytes], each asking the log to wait up to
// wait for a checkpoint. A request that fails is tried again with growing pauses,
// as long as the log asks, for Options.Patience.
//
// report is called once for each item that the log has answered for, never
// concurrently and in no order. What is accepted or a duplicate is durable; it has
// a proof only if wait was long enough. A request whose answer did not verify is
// sent again: the log then calls its leaves duplicates.
//
// The error is the first that ended it; what was not reported has to be sent
// another time. A rejection for which [Later] holds is reported and ends it with a
// *RejectedError, one that is final is only reported. SendAll reads nothing more
// from in once it fails, so whoever writes to in should give up with a context
// that the caller cancels then.
func (l *Log) SendAll(ctx context.Context, in <-chan Item, wait time.Duration, report func(Item, log.Submitted)) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	batches := make(chan []Item)
	g.Go(func() error {
		defer close(batches)
		return collect(ctx, in, batches)
	})
	for range inFlight {
		g.Go(func() error {
			for batch := range batches {
				res, err := l.persist(ctx, batch, wait)
				if err != nil {
					return err
				}
				mu.Lock()
				err = settle(batch, res, report)
				mu.Unlock()
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// settle reports the answer to one batch.
func settle(batch []Item, res *log.SubmitResult, report func(Item, log.Submitted)) error {
	var err error
	for i, item := range batch {
		r := res.Results[i]
		if r.Status == log.Rejected && Later(r.Code) {
			err = &RejectedError{r.Code, r.Message}
		}
		report(item, r)
	}
	return err
}

// collect makes batches of what comes out of in.
func collect(ctx context.Context, in <-chan Item, out chan<- []Item) error {
	var c collector
	for open := true; open || len(c.batch) > 0; {
		from, to := in, out
		switch {
		case len(c.batch) == 0:
			to = nil // nothing to hand on
		case c.over != nil:
			from = nil // full
		case open && !c.due:
			to = nil // the linger is not over
		}
		if !open {
			from = nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case item, ok := <-from:
			if !ok {
				open = false
				continue
			}
			if err := c.add(item); err != nil {
				return err
			}
		case <-c.timer:
			c.due, c.timer = true, nil
		case to <- c.batch:
			c.next()
		}
	}
	return nil
}

// collector is one batch that is being filled.
type collector struct {
	batch []Item
	bytes int
	over  *Item // belongs to the next batch; batch is full
	due   bool  // the first leaf has waited for linger
	timer <-chan time.Time
}

func (c *collector) add(item Item) error {
	n := len(item.Leaf) + 2
	if n == 2 || n-2 > statement.MaxLargeLeaf {
		return fmt.Errorf("a leaf of %d bytes", n-2)
	}
	if len(c.batch) == log.MaxSubmitLeaves || c.bytes+n > log.MaxSubmitBytes || len(c.batch) > 0 && (item.Blobs != nil || c.batch[0].Blobs != nil) {
		c.over = &item
		return nil
	}
	if len(c.batch) == 0 {
		c.timer = time.After(linger)
	}
	c.batch, c.bytes = append(c.batch, item), c.bytes+n
	return nil
}

// next starts another batch.
func (c *collector) next() {
	over := c.over
	*c = collector{}
	if over != nil {
		_ = c.add(*over) // it was checked when it came
	}
}

// persist sends one batch until the log has answered for it.
func (l *Log) persist(ctx context.Context, batch []Item, wait time.Duration) (*log.SubmitResult, error) {
	leaves := make([][]byte, len(batch))
	for i := range batch {
		leaves[i] = batch[i].Leaf
	}
	var back Backoff
	start := time.Now()
	for {
		var res *log.SubmitResult
		var err error
		if blobs := batch[0].Blobs; blobs != nil {
			res, err = l.SubmitWithBlobs(ctx, leaves[0], blobs, wait)
		} else {
			res, err = l.Submit(ctx, leaves, wait)
		}
		if err == nil {
			return res, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !again(err) {
			return nil, err
		}
		pause := back.Next(l.opts.MaxPause, err)
		if time.Since(start)+pause > l.opts.Patience {
			return nil, err
		}
		if l.opts.OnTrouble != nil {
			l.opts.OnTrouble(err, pause)
		}
		if !Sleep(ctx, pause) {
			return nil, context.Cause(ctx)
		}
	}
}

// again reports whether a request that failed may succeed later. A log that
// refuses a request as a whole says the same about the same request.
func again(err error) bool {
	var refused *log.RequestError
	if errors.As(err, &refused) && !errors.Is(err, log.ErrUnreachable) {
		return false
	}
	return !Final(err)
}

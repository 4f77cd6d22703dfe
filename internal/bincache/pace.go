package bincache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	maxPause = time.Minute
	// maxFailures is how often in a row a cache may fail, about four minutes.
	maxFailures = 9
)

// pacer spaces the requests to one cache, and makes all of them wait when it
// fails. It may be used concurrently.
type pacer struct {
	every     time.Duration // between two requests; 0 for no bound
	onTrouble func(error, time.Duration)

	mu       sync.Mutex // guards what follows
	next     time.Time  // when the next request may begin
	until    time.Time  // nothing begins before
	failures int        // in a row
	epoch    uint64     // of failures: requests that began together fail together
}

func newPacer(rate float64, onTrouble func(error, time.Duration)) *pacer {
	p := &pacer{onTrouble: onTrouble}
	if rate > 0 {
		p.every = time.Duration(float64(time.Second) / rate)
	}
	return p
}

// turn waits until a request may begin. What it returns is for bad.
func (p *pacer) turn(ctx context.Context) (uint64, error) {
	p.mu.Lock()
	at := p.next
	if now := time.Now(); at.Before(now) {
		at = now
	}
	p.next = at.Add(p.every)
	for {
		if at.Before(p.until) {
			at = p.until
		}
		d := time.Until(at)
		if d <= 0 {
			defer p.mu.Unlock()
			return p.epoch, nil
		}
		p.mu.Unlock()
		if !sleep(ctx, d) {
			return 0, context.Cause(ctx)
		}
		p.mu.Lock()
	}
}

// good ends a row of failures.
func (p *pacer) good() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = 0
}

// bad makes everybody wait, and fails if there is no use in it.
func (p *pacer) bad(epoch uint64, why *answerError) error {
	if why.after > maxRetryAfter {
		return &answerError{reason: fmt.Sprintf("%s and asks to be left alone for %v", why.reason, why.after)}
	}
	p.mu.Lock()
	pause := why.after
	counted := epoch == p.epoch
	if counted {
		p.epoch++
		p.failures++
		pause = max(pause, pauseAfter(p.failures))
	}
	failures := p.failures
	if t := time.Now().Add(pause); t.After(p.until) {
		p.until = t
	}
	p.mu.Unlock()
	if failures > maxFailures {
		return &answerError{reason: fmt.Sprintf("failed %d times in a row; the last time it %s", failures, why.reason)}
	}
	if counted && p.onTrouble != nil {
		p.onTrouble(why, pause)
	}
	return nil
}

// pauseAfter is how long to wait after that many failures in a row: a second, then each time twice
// as long, shortened at random by up to half so that readers who failed together do not come back
// together.
func pauseAfter(failures int) time.Duration {
	pause := min(maxPause, time.Second<<(failures-1))
	return pause - time.Duration(rand.Int64N(int64(pause)/2+1))
}

// sleep waits, and reports whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

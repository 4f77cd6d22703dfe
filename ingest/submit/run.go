package submit

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/firn-log/firn/log"
)

// proofWait is how long one request may wait for a checkpoint.
const proofWait = 10 * time.Second

// Once resolves and sends, trying again with growing pauses, until nothing waits
// or wait is over. Without waiting (0) it tries once. The error is one of the
// store or the spool; the statements that could not be sent are in the Outcome.
func (s *Submitter) Once(ctx context.Context, wait time.Duration) (Outcome, error) {
	var total Outcome
	end := s.now().Add(wait)
	for {
		out, err := s.round(ctx, min(wait, proofWait))
		total.Sent += out.Sent
		total.Rejected += out.Rejected
		total.Waiting, total.Why = out.Waiting, out.Why
		if err != nil || total.Waiting == 0 || final(total.Why) {
			return total, err
		}
		left := end.Sub(s.now())
		if left <= 0 || !sleep(ctx, min(left, s.back.next(s.conf, total.Why))) {
			return total, nil
		}
	}
}

// Loop resolves as builds come and sends, until ctx ends or the log is caught
// with two histories, which it returns.
func (s *Submitter) Loop(ctx context.Context) error {
	var next time.Time // not before this time is the log tried again
	for {
		if s.now().Before(next) {
			if err := s.Resolve(ctx); err != nil {
				s.say("firn: warning: %v", err)
			}
		} else {
			out, err := s.round(ctx, proofWait)
			if err != nil {
				s.say("firn: warning: %v", err)
			}
			next = time.Time{}
			if out.Waiting > 0 {
				pause := s.back.next(s.conf, out.Why)
				next = s.now().Add(pause)
				s.say("%d statements wait %v: %v", out.Waiting, pause.Round(time.Second), out.Why)
				if forkOf(out.Why) != nil {
					return out.Why
				}
			} else {
				s.back.reset()
			}
		}
		if !sleep(ctx, s.conf.Interval.Duration) {
			return nil
		}
	}
}

// round is one pass of all that there is to do. It leaves word in last-run.
func (s *Submitter) round(ctx context.Context, wait time.Duration) (Outcome, error) {
	resolved := s.Resolve(ctx)
	fetched, closures := s.fetchClosures(ctx)
	if fetched && resolved == nil {
		resolved = s.Resolve(ctx)
	}
	out, sent := s.Send(ctx, wait)
	err := errors.Join(resolved, sent, s.spool.prune(s.conf.KeepSent))
	why := errors.Join(err, out.Why, closures)
	if ctx.Err() != nil && why != nil {
		return out, err // stopped: what is missing is nobody's fault
	}
	return out, errors.Join(err, s.spool.writeLastRun(s.now(), why))
}

// final reports whether trying again soon is pointless.
func final(err error) bool {
	var conf *ConfigError
	return errors.As(err, &conf) || forkOf(err) != nil || errors.Is(err, context.Canceled)
}

// forkOf returns the proof in err that a log misbehaved, nil if there is none.
func forkOf(err error) *log.ForkError {
	var fork *log.ForkError
	if errors.As(err, &fork) {
		return fork
	}
	return nil
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

// firstPause is the pause after the first failure.
const firstPause = time.Second

// backoff counts failures in a row.
type backoff struct{ failures int }

func (b *backoff) reset() { b.failures = 0 }

// next returns how long to wait after another failure: twice as long as after
// the last, up to max-pause, shortened at random by up to half so that machines
// that failed together do not come back together; and as long as the log asks.
func (b *backoff) next(c *Config, why error) time.Duration {
	limit := c.MaxPause.Duration
	pause := limit
	if b.failures < 30 {
		pause = min(limit, firstPause<<b.failures)
	}
	b.failures++
	pause -= time.Duration(rand.Int64N(int64(pause)/2 + 1))
	var refused *log.RequestError
	if errors.As(why, &refused) {
		pause = max(pause, refused.RetryAfter)
	}
	return pause
}

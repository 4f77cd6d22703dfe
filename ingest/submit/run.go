package submit

import (
	"context"
	"errors"
	"time"

	"github.com/firn-log/firn/ingest/send"
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
		if err != nil || total.Waiting == 0 || send.Final(total.Why) {
			return total, err
		}
		left := end.Sub(s.now())
		if left <= 0 || !send.Sleep(ctx, min(left, s.back.Next(s.conf.MaxPause.Duration, total.Why))) {
			return total, nil
		}
	}
}

// SendOne signs and sends one statement that waits in the spool, and nothing else, again with
// growing pauses until it is sent and proven, refused, or wait is over. Without waiting (0) it
// tries once. The error is one of the spool; why the statement still waits is in the Outcome.
func (s *Submitter) SendOne(ctx context.Context, name string, wait time.Duration) (Outcome, error) {
	var out Outcome
	for end := s.now().Add(wait); ; {
		out = Outcome{}
		batch, err := s.sign(ctx, []string{name})
		switch {
		case err != nil:
			out.Why = err
		case len(batch) == 0: // set aside
		default:
			if err := s.submit(ctx, batch, min(wait, proofWait), &out); err != nil {
				return out, err
			}
		}
		var refused *send.RejectedError // which only somebody can change
		if out.Why == nil || send.Final(out.Why) || errors.As(out.Why, &refused) {
			break
		}
		left := end.Sub(s.now())
		if left <= 0 || !send.Sleep(ctx, min(left, s.back.Next(s.conf.MaxPause.Duration, out.Why))) {
			break
		}
	}
	return out, errors.Join(s.spool.prune(s.conf.KeepSent), s.spool.sweepBlobs(s.now()))
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
				pause := s.back.Next(s.conf.MaxPause.Duration, out.Why)
				next = s.now().Add(pause)
				s.say("%d statements wait %v: %v", out.Waiting, pause.Round(time.Second), out.Why)
				if send.ForkOf(out.Why) != nil {
					return out.Why
				}
			} else {
				s.back.Reset()
			}
		}
		if !send.Sleep(ctx, s.conf.Interval.Duration) {
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
	err := errors.Join(resolved, sent, s.spool.prune(s.conf.KeepSent), s.spool.sweepBlobs(s.now()))
	why := errors.Join(err, out.Why, closures)
	if ctx.Err() != nil && why != nil {
		return out, err // stopped: what is missing is nobody's fault
	}
	return out, errors.Join(err, s.spool.writeLastRun(s.now(), why))
}

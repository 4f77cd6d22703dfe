package submit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/log"
)

// flaky is a sender that fails a number of times.
type flaky struct {
	sender
	failures int
	err      error
	times    []time.Time
}

func (f *flaky) Submit(ctx context.Context, leaves [][]byte, wait time.Duration) (*log.SubmitResult, error) {
	f.times = append(f.times, time.Now())
	if len(f.times) <= f.failures {
		return nil, f.err
	}
	res := &log.SubmitResult{}
	for range leaves {
		res.Results = append(res.Results, log.Submitted{Status: log.Accepted, Proof: &log.Proof{Note: []byte("n\n")}})
	}
	return res, nil
}

func TestPausesGrowAndRespectTheLog(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		wait time.Duration
		sent int
		min  []time.Duration
	}{
		"unreachable":         {log.ErrUnreachable, time.Hour, 1, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}},
		"log says when":       {&log.RequestError{Status: 503, RetryAfter: 7 * time.Second}, time.Hour, 1, []time.Duration{7 * time.Second, 7 * time.Second}},
		"patience is over":    {log.ErrUnreachable, 2 * time.Second, 0, []time.Duration{500 * time.Millisecond}},
		"a key that is wrong": {&send.ConfigError{Err: errors.New("no such key")}, time.Hour, 0, nil},
		"two histories":       {&log.ForkError{Origin: "x"}, time.Hour, 0, nil},
	} {
		w := newWorld(t)
		drv, _ := w.drv("a", "out")
		w.public(drv)
		w.spooled(drv)
		synctest.Test(t, func(t *testing.T) {
			opts := w.options()
			f := &flaky{sender: newLogSender(w.conf, opts.Signer), failures: 5, err: c.err}
			opts.client = f
			s := w.open(opts)
			defer s.Close()
			out, err := s.Once(t.Context(), c.wait)
			if err != nil || out.Sent != c.sent {
				t.Errorf("%s: %+v, %v", name, out, err)
			}
			if c.min == nil && len(f.times) != 1 {
				t.Errorf("%s: tried %d times, want once", name, len(f.times))
			}
			for i, least := range c.min {
				if got := f.times[i+1].Sub(f.times[i]); got < least || got > 2*least+time.Millisecond {
					t.Errorf("%s: pause %d is %v, want %v or up to twice that", name, i, got, least)
				}
			}
			if last := f.times[len(f.times)-1].Sub(f.times[0]); last > c.wait {
				t.Errorf("%s: still tried after %v", name, last)
			}
		})
	}
}

func TestLoopResolvesAtOnceAndSendsWhenTheLogIsBack(t *testing.T) {
	w := newWorld(t)
	drv, _ := w.drv("a", "out")
	w.public(drv)
	build := w.spooled(drv)
	synctest.Test(t, func(t *testing.T) {
		opts := w.options()
		opts.client = &flaky{sender: newLogSender(w.conf, opts.Signer), failures: 3, err: log.ErrUnreachable}
		s := w.open(opts)
		defer s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Loop(ctx) }()
		synctest.Wait()
		if !s.spool.exists(unsignedDir, build) {
			t.Error("not resolved at once")
		}
		late := w.spooled(drv)
		<-time.After(6 * time.Second)
		synctest.Wait()
		if s.spool.exists("pending", late) {
			t.Error("a build that came later is not resolved after one interval")
		}
		<-time.After(5 * time.Minute)
		synctest.Wait()
		if !s.spool.exists(sentDir, build) || !s.spool.exists(sentDir, late) {
			t.Error("not sent after the log came back")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

package federation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/statement"
)

// SubmitterOptions are what a Submitter is made from.
type SubmitterOptions struct {
	Hub *Hub
	// Signer signs the statements, in a form that carries its key
	// ([statement.SignerOptions].CarryKey). It conveys no authority.
	Signer statement.Signer
	// Path is the file that remembers what logs have; "" keeps it in memory.
	Path string
	// BackoffMin and BackoffMax bound the pause after a failure, which doubles
	// each time, give or take a quarter; 0 are 5 s and 1 h.
	BackoffMin, BackoffMax time.Duration
}

// submitWait is how long a log is asked to wait for a checkpoint of what it took.
const submitWait = 5 * time.Second

// A Submitter puts all evidence that a hub holds into every log that it follows but those that
// showed two histories (spec/federation.md#submitting). A log has it when it has proven that under a
// checkpoint of its policy; until then it is sent again. It may be used concurrently.
type Submitter struct {
	o SubmitterOptions

	mu   sync.Mutex // guards what follows
	logs map[string]*submissions
}

// submissions are what one log has and has not.
type submissions struct {
	done  map[string]bool // SHA-256 of evidence that is proven to be there
	large map[string]bool // of evidence that fits in no leaf
	tries map[string]*try // of what is still to come
	err   string          // of the last try, "" if it ended well
	fails int             // of the log, in a row
	again time.Time       // when it is asked again
}

// A try is evidence that a log did not take.
type try struct {
	fails int
	again time.Time
}

// A SubmissionStatus is how far one log is.
type SubmissionStatus struct {
	Origin        string
	Done, Waiting int
	Large         int    // what is too large for a leaf and stays a file
	Error         string // why the last one did not end well, "" if it did
}

// NewSubmitter reads what logs have.
func NewSubmitter(o SubmitterOptions) (*Submitter, error) {
	if o.BackoffMin == 0 {
		o.BackoffMin = 5 * time.Second
	}
	if o.BackoffMax == 0 {
		o.BackoffMax = max(time.Hour, o.BackoffMin)
	}
	s := &Submitter{o: o, logs: make(map[string]*submissions)}
	for _, name := range o.Hub.Origins() {
		s.logs[name] = &submissions{done: make(map[string]bool), large: make(map[string]bool), tries: make(map[string]*try)}
	}
	return s, s.load()
}

// Run submits until ctx ends. A log that does not answer delays no other.
func (s *Submitter) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, o := range s.o.Hub.origins {
		if o.URL == "" {
			s.o.Hub.o.Logger.Warn("evidence is not submitted to this log: no URL says where it is", "origin", o.Origin)
			continue
		}
		wg.Go(func() { s.follow(ctx, o) })
	}
	wg.Wait()
}

// idle is how long a log is left alone if nothing waits.
const idle = time.Hour

func (s *Submitter) follow(ctx context.Context, o *origin) {
	for ctx.Err() == nil {
		changed := s.o.Hub.EvidenceChanged()
		t := time.NewTimer(s.Submit(ctx, o.Origin))
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// Submit sends one log what is due for it, and returns how long nothing is.
func (s *Submitter) Submit(ctx context.Context, name string) time.Duration {
	o := s.o.Hub.byName[name]
	all, err := s.o.Hub.Evidence()
	if err != nil {
		s.o.Hub.o.Logger.Error("evidence cannot be read", "error", err)
		return jitter(s.o.BackoffMax)
	}
	s.forget(name, all)
	if s.o.Hub.Convicted(name) {
		return idle // nothing of it is believed, and it takes nothing, least of all against itself
	}
	next := s.o.Hub.o.Now().Add(idle)
	for _, e := range all {
		if at, waits := s.due(name, e.Hash); waits && at.After(s.o.Hub.o.Now()) {
			next = earlier(next, at)
			continue
		} else if !waits {
			continue
		}
		sending, cancel := context.WithTimeout(ctx, askTimeout)
		outcome, err := s.send(sending, o, e)
		cancel()
		if ctx.Err() != nil {
			return idle
		}
		s.settle(o, e, outcome, err)
		if at, waits := s.due(name, e.Hash); waits {
			next = earlier(next, at)
		}
	}
	return max(next.Sub(s.o.Hub.o.Now()), 0)
}

// forget forgets what is not held any more: a log that goes on committing to wrong
// indexes fills no memory.
func (s *Submitter) forget(name string, all []Evidence) {
	held := make(map[string]bool)
	for _, e := range all {
		held[e.Hash] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[name]
	gone := func(hash string, _ bool) bool { return !held[hash] }
	maps.DeleteFunc(l.done, gone)
	maps.DeleteFunc(l.large, gone)
	maps.DeleteFunc(l.tries, func(hash string, _ *try) bool { return !held[hash] })
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// due returns when evidence is to be sent to a log; waits is false if it is not.
func (s *Submitter) due(name, hash string) (at time.Time, waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[name]
	if l.done[hash] || l.large[hash] {
		return time.Time{}, false
	}
	at = l.again
	if t := l.tries[hash]; t != nil && t.again.After(at) {
		at = t.again
	}
	return at, true
}

// A submitOutcome is what became of sending evidence; it is the value of a metric's label.
type submitOutcome string

const (
	submitAccepted    submitOutcome = "accepted"    // and proven to be there
	submitPresent     submitOutcome = "present"     // it was there already, whoever brought it
	submitUnproven    submitOutcome = "unproven"    // the log says that it has it, and has not proven it yet
	submitRefused     submitOutcome = "refused"     // by a code of the log
	submitFailed      submitOutcome = "failed"      // no answer, or not one that can be believed
	submitOversized   submitOutcome = "oversized"   // no leaf holds it
	submitUnsupported submitOutcome = "unsupported" // the evidence cannot be signed as a statement
)

// send has a log take one piece of evidence. It asks first whether it is there.
func (s *Submitter) send(ctx context.Context, o *origin, e Evidence) (submitOutcome, error) {
	st, err := statement.Sign(ctx, s.o.Signer, &statement.Evidence{Bytes: e.Bytes}, "", nil)
	switch {
	case statement.CodeOf(err) == statement.CodeOversize:
		return submitOversized, err
	case err != nil:
		return submitUnsupported, err
	}
	c, err := s.o.Hub.client(o)
	if err != nil {
		return submitFailed, err
	}
	if s.present(ctx, o, c, e) {
		return submitPresent, nil
	}
	answer, err := c.Submit(ctx, [][]byte{st.Leaf()}, submitWait)
	if answer == nil {
		return submitFailed, err
	}
	r := answer.Results[0]
	switch {
	case r.Status == log.Rejected:
		return submitRefused, fmt.Errorf("%s: %s", r.Code, r.Message)
	case err != nil:
		return submitFailed, err
	case r.Proof == nil:
		return submitUnproven, errors.New("it says that it has the evidence, and has not proven it yet")
	}
	if err := s.o.Hub.believe(ctx, o, answer.Checkpoint); err != nil {
		return submitUnproven, err
	}
	if r.Status == log.Duplicate {
		return submitPresent, nil
	}
	return submitAccepted, nil
}

// present reports whether a log is proven to have the evidence, in whosever statement.
// If it does not say, or says something wrong, it is sent.
func (s *Submitter) present(ctx context.Context, o *origin, c *log.Client, e Evidence) bool {
	key := "digest:sha256:" + e.Hash
	answers, err := c.Lookup(ctx, log.Query{Keys: []string{key}})
	if err != nil || s.o.Hub.believe(ctx, o, answers.Checkpoint) != nil {
		return false
	}
	for _, f := range answers.Of(key) {
		if f.Leaf == nil {
			continue
		}
		if b, ok := f.Leaf.Statement.Body.(*statement.Evidence); ok && bytes.Equal(b.Bytes, e.Bytes) {
			return true
		}
	}
	return false
}

// settle keeps what became of it.
func (s *Submitter) settle(o *origin, e Evidence, outcome submitOutcome, err error) {
	logger := s.o.Hub.o.Logger.With("origin", o.Origin, "against", e.Key.Name, "sha256", e.Hash)
	s.o.Hub.o.Metrics.submissions.WithLabelValues(o.Origin, string(outcome)).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	l, now := s.logs[o.Origin], s.o.Hub.o.Now()
	before := l.err
	switch outcome {
	case submitAccepted, submitPresent:
		l.done[e.Hash], l.err, l.fails, l.again = true, "", 0, time.Time{}
		delete(l.tries, e.Hash)
		logger.Info("the log has the evidence", "outcome", string(outcome))
		if err := s.save(); err != nil {
			logger.Error("what logs have cannot be written", "error", err)
		}
		return
	case submitOversized, submitUnsupported:
		l.large[e.Hash] = true
		logger.Warn("evidence does not fit into a statement and stays a file", "bytes", len(e.Bytes), "error", err)
		return
	case submitFailed:
		l.fails++
		l.again = now.Add(s.pause(l.fails))
	default:
		t := l.tries[e.Hash]
		if t == nil {
			t = new(try)
			l.tries[e.Hash] = t
		}
		t.fails++
		t.again = now.Add(s.pause(t.fails))
		l.fails, l.again = 0, time.Time{}
	}
	if l.err = err.Error(); l.err != before {
		logger.Warn("the log does not have the evidence yet; it is sent again", "outcome", string(outcome), "error", err)
	}
}

// pause returns how long to wait after so many failures in a row.
func (s *Submitter) pause(fails int) time.Duration {
	d := s.o.BackoffMin
	for ; fails > 1 && d < s.o.BackoffMax; fails-- {
		d *= 2
	}
	return jitter(min(d, s.o.BackoffMax))
}

// Status returns how far each log is, in their order.
func (s *Submitter) Status() ([]SubmissionStatus, error) {
	held, err := s.o.Hub.Evidence()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []SubmissionStatus
	for _, o := range s.o.Hub.origins {
		l := s.logs[o.Origin]
		st := SubmissionStatus{Origin: o.Origin, Error: l.err}
		if o.URL == "" {
			st.Error = errNoURL.Error()
		}
		for _, e := range held {
			switch {
			case e.Kind == evidence.KindLog && e.Origin == o.Origin:
			case l.done[e.Hash]:
				st.Done++
			case l.large[e.Hash]:
				st.Large++
			default:
				st.Waiting++
			}
		}
		all = append(all, st)
	}
	return all, nil
}

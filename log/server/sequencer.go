package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/firn-log/firn/log/server/store"
	"github.com/firn-log/firn/log/statement"
)

// claimKey is one signer's claims about one subject.
type claimKey struct {
	signer  statement.KeyID
	subject string
}

// sequencer orders admitted entries and adds them in batches: whatever came
// while one batch was being written is the next one. An entry is in flight from
// its admission until the tree and the index both have it.
type sequencer struct {
	wake    chan struct{} // holds one token if there may be something to do
	stopped chan struct{} // closed when the last batch is through

	mu       sync.Mutex // guards what follows; held while an entry is admitted
	queue    []*entry
	inflight map[statement.ID]*entry
	claims   map[claimKey]uint64 // of entries in flight
	people   *entry              // the statement about people in flight, of which there is at most one
	closed   error               // why nothing is taken; nil while the log is open
	refused  error               // why nothing is to be taken here whatever the disk does; nil usually
	ended    error               // why nothing is ever taken here again; nil usually
	frozen   *frozenError        // how the log has ended; nil usually
}

func newSequencer() *sequencer {
	return &sequencer{
		wake:     make(chan struct{}, 1),
		stopped:  make(chan struct{}),
		inflight: make(map[statement.ID]*entry),
		claims:   make(map[claimKey]uint64),
	}
}

// enqueue puts an admitted entry in line. The caller holds mu.
func (q *sequencer) enqueue(e *entry, subjects []string) {
	q.queue = append(q.queue, e)
	q.inflight[e.id] = e
	for _, subject := range subjects {
		q.claims[claimKey{e.s.Signer, subject}]++
	}
	if changesRegistry(e.s) {
		q.people = e
	}
	q.signal()
}

func (q *sequencer) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the next batch, and whether the sequencer is at its end.
func (q *sequencer) take() (batch []*entry, end bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.queue), store.MaxBatch)
	batch, q.queue = q.queue[:n:n], q.queue[n:]
	if len(q.queue) > 0 || n > 0 && errors.Is(q.closed, errStopping) {
		q.signal() // close may have found the token of what was just taken
	}
	return batch, n == 0 && errors.Is(q.closed, errStopping)
}

// close says why nothing more is taken; what was admitted goes on. Stopping is
// final, every other reason ends with open.
func (q *sequencer) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !errors.Is(q.closed, errStopping) {
		q.closed = why
	}
	q.signal()
}

// open takes entries again.
func (q *sequencer) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !errors.Is(q.closed, errStopping) {
		q.closed = nil
	}
}

// refuse says why this copy of the log takes nothing; nil ends it.
func (q *sequencer) refuse(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refused = why
}

// end says why nothing is ever taken here again.
func (q *sequencer) end(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = cmp.Or(q.ended, why)
}

// over returns why nothing is ever taken here again, or nil.
func (q *sequencer) over() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended
}

// reason returns why nothing is taken, or nil.
func (q *sequencer) reason() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.why()
}

// why is reason for a caller that holds mu.
func (q *sequencer) why() error {
	if why := cmp.Or(q.closed, q.ended, q.refused); why != nil || q.frozen == nil {
		return why
	}
	return q.frozen
}

// forget takes entries that are through out of flight.
func (q *sequencer) forget(batch []*entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range batch {
		delete(q.inflight, e.id)
		for _, subject := range subjectsOf(e.s) {
			k := claimKey{e.s.Signer, subject}
			if q.claims[k]--; q.claims[k] == 0 {
				delete(q.claims, k)
			}
		}
		if q.people == e {
			q.people = nil
		}
	}
}

// claimInFlight returns an entry in flight that makes such a claim, or nil. The
// caller holds mu.
func (q *sequencer) claimInFlight(c claimKey) *entry {
	if q.claims[c] == 0 {
		return nil
	}
	for _, e := range q.inflight {
		if e.s.Signer == c.signer && slices.Contains(subjectsOf(e.s), c.subject) {
			return e
		}
	}
	return nil
}

// errStopping is why nothing is taken when the program ends.
var errStopping = errors.New("the log is stopping")

// sequence adds batches until the intake is closed for good and empty, or ctx
// ends, which abandons what is in line.
func (s *Server) sequence(ctx context.Context) {
	defer close(s.seq.stopped)
	for {
		select {
		case <-s.seq.wake:
		case <-ctx.Done():
			s.abandon()
			return
		}
		batch, end := s.seq.take()
		if end {
			return
		}
		if len(batch) > 0 {
			s.add(ctx, batch)
		}
	}
}

// abandon resolves what is still in line when time has run out.
func (s *Server) abandon() {
	for {
		batch, _ := s.seq.take()
		if len(batch) == 0 {
			return
		}
		s.seq.forget(batch)
		for _, e := range batch {
			e.resolve(0, errStopping)
		}
	}
}

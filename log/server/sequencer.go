package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/firn-log/firn/log/server/admission"
	"github.com/firn-log/firn/log/server/indexdb"
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
	if len(q.queue) > 0 {
		q.signal()
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
func (q *sequencer) why() error { return cmp.Or(q.closed, q.ended, q.refused) }

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

// add writes one batch to the tree and the index, and resolves its entries.
// An entry is acknowledged only after both.
func (s *Server) add(ctx context.Context, batch []*entry) {
	leaves := make([][]byte, len(batch))
	for i, e := range batch {
		leaves[i] = e.leaf
	}
	began := time.Now()
	first, err := s.store.Append(ctx, leaves)
	s.metrics.append.Observe(time.Since(began).Seconds())
	s.metrics.batch.Observe(float64(len(batch)))
	if want := s.db.State().Size; err == nil && first != want {
		err = fmt.Errorf("the tree gave index %d where %d was next: somebody else writes to it", first, want)
	}
	if err == nil {
		err = s.ingestBatch(ctx, batch)
	}
	if err != nil {
		s.recover(ctx, batch, err)
		return
	}
	s.seq.forget(batch)
	for i, e := range batch {
		e.resolve(first+uint64(i), nil)
	}
}

// ingestBatch writes a batch that the tree has to the index.
func (s *Server) ingestBatch(ctx context.Context, batch []*entry) error {
	rows := make([]indexdb.Row, len(batch))
	statements := make([]*statement.Statement, len(batch))
	names := make(map[string]bool)
	for i, e := range batch {
		rows[i], statements[i] = rowOf(e.s, e.leaf), e.s
		if name := e.reserved.Name(); name != "" {
			names[name] = true
		}
	}
	day, used := s.budget.Used(names)
	var usage []indexdb.Usage
	for name, u := range used {
		usage = append(usage, indexdb.Usage{Day: day, Name: name, Statements: u.Statements, Bytes: u.Bytes})
	}
	return s.ingest(ctx, rows, statements, usage)
}

// ingest writes the rows that follow to the index, applies them to the
// registry, and lets checkpoints of them be published.
func (s *Server) ingest(ctx context.Context, rows []indexdb.Row, statements []*statement.Statement, usage []indexdb.Usage) error {
	began := time.Now()
	next := indexdb.State{Size: s.db.State().Size + uint64(len(rows))}
	var err error
	if next.Root, err = s.tree.Root(ctx, next.Size); err != nil {
		return err
	}
	if err := s.db.Ingest(ctx, rows, next, usage); err != nil {
		return err
	}
	for _, st := range statements {
		if st != nil {
			s.registry.Apply(st)
		}
	}
	s.metrics.ingest.Observe(time.Since(began).Seconds())
	s.metrics.size.Set(float64(next.Size))
	s.publisher.ingested(next.Size)
	return nil
}

// recover finds out what became of a batch whose writing failed: the tree may
// have all of it, a part, or nothing. Until the index has again read all of
// the tree, nothing is taken.
func (s *Server) recover(ctx context.Context, batch []*entry, cause error) {
	s.log.Error("adding to the log failed", "error", cause)
	s.metrics.failures.Inc()
	s.seq.close(&storageError{cause})
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := s.catchUp(ctx)
		if err == nil {
			break
		}
		s.log.Error("reading the tree after a failure", "error", err, "again in", wait)
		s.seq.close(&storageError{err})
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			s.settle(context.WithoutCancel(ctx), batch, errUnknown)
			return
		}
	}
	if _, err := sweepEdge(filepath.Join(s.dir, treeName, "tile"), s.db.State().Size); err != nil {
		s.log.Warn("removing temporary files", "error", err)
	}
	s.settle(ctx, batch, &storageError{cause})
	s.seq.open()
}

// settle resolves the entries of a batch by what the index says of them; those
// it does not have failed for the reason given.
func (s *Server) settle(ctx context.Context, batch []*entry, why error) {
	s.seq.forget(batch)
	for _, e := range batch {
		switch i, ok, err := s.db.IndexOf(ctx, e.id); {
		case err != nil:
			e.resolve(0, errUnknown)
		case ok:
			e.resolve(i, nil)
		default:
			s.budget.Release(e.reserved)
			e.resolve(0, why)
		}
	}
}

// catchUp reads what the tree has and the index has not.
func (s *Server) catchUp(ctx context.Context) error {
	size, err := s.store.Size(ctx)
	if err != nil {
		return err
	}
	from := s.db.State().Size
	if from > size {
		return &RollbackError{Why: fmt.Sprintf("the index knows %d entries, and the tree has only %d", from, size), Hint: hintRestored}
	}
	var rows []indexdb.Row
	var statements []*statement.Statement
	for leaf, err := range s.tree.Entries(ctx, from, size) {
		if err != nil {
			return err
		}
		// A leaf that this version cannot read has no keys; it is passed over.
		st, err := statement.Parse(leaf)
		row := indexdb.Row{}
		if err == nil {
			row = rowOf(st, leaf)
		}
		rows, statements = append(rows, row), append(statements, st)
		if len(rows) == store.MaxBatch {
			if err := s.ingest(ctx, rows, statements, nil); err != nil {
				return err
			}
			rows, statements = nil, nil
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return s.ingest(ctx, rows, statements, nil)
}

// storageError is a failure of the disk, not of a statement.
type storageError struct{ cause error }

func (e *storageError) Error() string {
	return "the log cannot write to its disk: " + e.cause.Error()
}

func (e *storageError) Unwrap() error { return e.cause }

// restoreBudget reads today's counters back.
func (s *Server) restoreBudget(ctx context.Context) error {
	usage, err := s.db.Usage(ctx, s.budget.Today())
	if err != nil {
		return err
	}
	for _, u := range usage {
		s.budget.Restore(u.Day, u.Name, admission.Use{Statements: u.Statements, Bytes: u.Bytes})
	}
	return nil
}

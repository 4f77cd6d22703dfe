package server

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/firn-log/firn/log/server/admission"
	"github.com/firn-log/firn/log/server/indexdb"
	"github.com/firn-log/firn/log/server/store"
	"github.com/firn-log/firn/log/statement"
)

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
		rows[i], statements[i] = s.rowOf(e.s, e.leaf), e.s
		if name := e.reserved.Name(); name != "" {
			names[name] = true
		}
	}
	day, used := s.budget.Used(names)
	var usage []indexdb.Usage
	for name, u := range used {
		usage = append(usage, indexdb.Usage{Day: day, Name: name, Statements: u.Statements, Bytes: u.Bytes})
	}
	return s.ingest(ctx, rows, statements, usage, s.db.State().Size+uint64(len(rows)))
}

// ingest writes the rows that follow to the index, applies them to the
// registry, and lets checkpoints of them be published. size is that of the tree.
func (s *Server) ingest(ctx context.Context, rows []indexdb.Row, statements []*statement.Statement, usage []indexdb.Usage, size uint64) error {
	began := time.Now()
	first := s.db.State().Size
	next := indexdb.State{Size: first + uint64(len(rows))}
	var err error
	if next.Root, err = s.tree.RootWithin(ctx, next.Size, size); err != nil {
		return err
	}
	if err := s.db.Ingest(ctx, rows, next, usage); err != nil {
		return err
	}
	for i, st := range statements {
		if st != nil {
			s.apply(first+uint64(i), st)
			if b, ok := st.Body.(*statement.Evidence); ok {
				s.bring(b)
			}
		}
	}
	s.recent.add(first, statements)
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
			s.settle(context.WithoutCancel(ctx), batch, errUnknown)()
			return
		}
	}
	if _, err := sweepEdge(filepath.Join(s.dir, treeName, "tile"), s.db.State().Size); err != nil {
		s.log.Warn("removing temporary files", "error", err)
	}
	resolve := s.settle(ctx, batch, &storageError{cause})
	s.seq.open() // whoever hears of the failure may send again at once
	resolve()
}

// settle takes the entries of a batch out of flight and decides about them by
// what the index has; those it does not have failed for the reason given. They
// hear of it when the result is called.
func (s *Server) settle(ctx context.Context, batch []*entry, why error) (resolve func()) {
	s.seq.forget(batch)
	indexes := make([]uint64, len(batch))
	errs := make([]error, len(batch))
	for n, e := range batch {
		switch i, ok, err := s.db.IndexOf(ctx, e.id); {
		case err != nil:
			errs[n] = errUnknown
		case ok:
			indexes[n] = i
		default:
			s.budget.Release(e.reserved)
			errs[n] = why
		}
	}
	return func() {
		for n, e := range batch {
			e.resolve(indexes[n], errs[n])
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
			row = s.rowOf(st, leaf)
		}
		rows, statements = append(rows, row), append(statements, st)
		if len(rows) == store.MaxBatch {
			if err := s.ingest(ctx, rows, statements, nil, size); err != nil {
				return err
			}
			rows, statements = nil, nil
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return s.ingest(ctx, rows, statements, nil, size)
}

// storageError is a failure of the disk, not of a statement.
type storageError struct{ cause error }

func (e *storageError) Error() string {
	return "the log cannot write to its disk: " + e.cause.Error()
}

func (e *storageError) Unwrap() error { return e.cause }

// restoreBudget reads the counters back.
func (s *Server) restoreBudget(ctx context.Context) error {
	today := s.budget.Today()
	day, usage, err := s.db.Usage(ctx, today)
	if err != nil {
		return err
	}
	if day > today {
		s.log.Warn("the clock is behind the last day that budgets were counted for; they begin anew when it has passed that day", "days", day-today)
	}
	used := make(map[string]admission.Use)
	for _, u := range usage {
		used[u.Name] = admission.Use{Statements: u.Statements, Bytes: u.Bytes}
	}
	s.budget.Restore(day, used)
	return nil
}

package store

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/pgtest"
	"github.com/firn-log/firn/tracker/eval"
)

// A transaction that fails leaves nothing behind, in the writer's memory neither.
func TestAFailedTransactionLeavesNothing(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		w, failed := makeWorld(t, 1), errors.New("no")
		db := fresh(Options{})
		for _, origin := range []string{logA, logB} {
			for _, e := range w.logs[origin] {
				err := db.Write(t.Context(), func(tx *Tx) error {
					if err := tx.AddEntries(t.Context(), origin, []Entry{e}); err != nil {
						return err
					}
					if e.Index%3 == 0 {
						return failed
					}
					return nil
				})
				if errors.Is(err, failed) {
					add(t, db, origin, []Entry{e})
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, list := range w.evals {
			for _, e := range list {
				half := func(yield func(eval.Attribute, error) bool) {
					for i, a := range e.attrs {
						if i == len(e.attrs)/2 {
							yield(a, failed)
							return
						}
						if !yield(a, nil) {
							return
						}
					}
				}
				if err := db.Write(t.Context(), func(tx *Tx) error { return tx.AddEvaluation(t.Context(), e.h, half) }); len(e.attrs) > 0 && !errors.Is(err, failed) {
					t.Fatal(err)
				}
				if len(e.attrs) > 0 {
					evaluate(t, db, e)
				}
			}
		}
		want := fresh(Options{})
		w.replay(t, want)
		if diff := firstDifference(dump(t, want), dump(t, db)); diff != "" {
			t.Error(diff)
		}
	})
}

// A database that goes away is one error, and a later Write goes on exactly where the last one ended.
func TestADatabaseThatDisappears(t *testing.T) {
	s := pgtest.New(t)
	w := makeWorld(t, 2)
	db := openAt(t, s.Database(t), Options{})
	n := len(w.logs[logA]) / 2
	add(t, db, logA, w.logs[logA][:n])
	err := db.Write(t.Context(), func(tx *Tx) error {
		if err := tx.AddEntries(t.Context(), logA, w.logs[logA][n:n+5]); err != nil {
			return err
		}
		s.Stop()
		return tx.AddEntries(t.Context(), logA, w.logs[logA][n+5:])
	})
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("%v, want one error", err)
	}
	t.Log(err)
	if _, err := db.Overview(t.Context()); err == nil {
		t.Error("a page is read from nothing")
	}
	if err := db.Write(t.Context(), func(*Tx) error { return nil }); err == nil {
		t.Error("it is written to nothing")
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	next, _, err := db.Progress(t.Context(), logA)
	if err != nil || next != uint64(n) {
		t.Fatalf("next %d, %v; want %d", next, err, n)
	}
	add(t, db, logA, w.logs[logA][n:])
	add(t, db, logB, w.logs[logB])
	for _, list := range w.evals {
		for _, e := range list {
			evaluate(t, db, e)
		}
	}
	want := openSQLite(t, Options{})
	w.replay(t, want)
	if diff := firstDifference(dump(t, want), dump(t, db)); diff != "" {
		t.Error(diff)
	}
}

// There is one writer; who comes second is told who is there.
func TestASecondTrackerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	openAt(t, path, Options{})
	if _, err := Open(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "locked by process") {
		t.Errorf("SQLite: %v", err)
	}
	dsn := pgtest.Shared(t).Database(t)
	openAt(t, dsn, Options{})
	if _, err := Open(t.Context(), dsn, Options{}); err == nil || !strings.Contains(err.Error(), "another tracker writes to this database: firn-tracker (process ") {
		t.Errorf("PostgreSQL: %v", err)
	}
}

// Another policy makes another database.
func TestAnotherConfigurationIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	w := makeWorld(t, 4)
	db := openAt(t, path, Options{})
	w.replay(t, db)
	db.Close()
	o := Options{Policy: testPolicy(t), PolicyName: "test"}
	db, err := Open(t.Context(), path, o)
	if !errors.Is(err, ErrConfiguration) {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Write(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrConfiguration) {
		t.Errorf("written under another configuration: %v", err)
	}
	if err := db.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.replay(t, db)
	want := openSQLite(t, o)
	w.replay(t, want)
	if diff := firstDifference(dump(t, want), dump(t, db)); diff != "" {
		t.Error(diff)
	}
}

// What does not follow what is there is refused.
func TestGapsAreRefused(t *testing.T) {
	w := makeWorld(t, 5)
	db := openSQLite(t, Options{})
	write := func(f func(*Tx) error) error { return db.Write(context.Background(), f) }
	es := w.logs[logA]
	if err := write(func(tx *Tx) error { return tx.AddEntries(t.Context(), logA, es[1:3]) }); err == nil {
		t.Error("a log begins at its second entry")
	}
	add(t, db, logA, es[:3])
	if err := write(func(tx *Tx) error { return tx.AddEntries(t.Context(), logA, es[2:4]) }); err == nil {
		t.Error("an entry comes twice")
	}
	e := w.evals[0][0]
	changes := e
	changes.h.Full = false
	if err := write(func(tx *Tx) error { return tx.AddEvaluation(t.Context(), changes.h, changes.seq()) }); err == nil {
		t.Error("changes of nothing")
	}
	evaluate(t, db, e)
	if err := write(func(tx *Tx) error { return tx.AddEvaluation(t.Context(), e.h, e.seq()) }); err == nil {
		t.Error("an evaluation comes twice")
	}
	other := w.evals[1][0]
	other.h.Revision = "another"
	if err := write(func(tx *Tx) error { return tx.AddEvaluation(t.Context(), other.h, other.seq()) }); err == nil {
		t.Error("two revisions of one number")
	}
	next := w.evals[0][1]
	if len(next.attrs) > 1 {
		next.attrs = []eval.Attribute{next.attrs[1], next.attrs[0]}
		if err := write(func(tx *Tx) error { return tx.AddEvaluation(t.Context(), next.h, next.seq()) }); err == nil {
			t.Error("attributes in no order")
		}
	}
}

// Twenty evaluations with 4 % changes cost what changed: a seventh of the rows of snapshots, and less.
func TestEvaluationsAreIntervals(t *testing.T) {
	const attrs = 2000
	db := openSQLite(t, Options{})
	s := fill(t, db, 0, attrs)
	for seq := int64(1); seq <= 20; seq++ {
		evaluate(t, db, s.evaluation(t, "c", seq, eval.Meta, int(seq)))
		evaluate(t, db, s.evaluation(t, "c", seq, eval.Drvs, int(seq)))
	}
	var metas, drvs int
	if err := db.conn.QueryRowContext(t.Context(), "SELECT (SELECT COUNT(*) FROM meta_fact), (SELECT COUNT(*) FROM drv_fact)").Scan(&metas, &drvs); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{metas, drvs} {
		if n*7 > 20*attrs {
			t.Errorf("%d rows, %d for snapshots", n, 20*attrs)
		}
	}
	t.Logf("%d and %d rows, %d for snapshots", metas, drvs, 20*attrs)
}

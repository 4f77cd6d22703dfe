package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/firn-log/firn/internal/pgtest"
)

// places runs a test with the address of an empty database of either kind.
func places(t *testing.T, f func(t *testing.T, dsn string)) {
	t.Run("SQLite", func(t *testing.T) { f(t, filepath.Join(t.TempDir(), "t.db")) })
	t.Run("PostgreSQL", func(t *testing.T) { f(t, pgtest.Shared(t).Database(t)) })
}

// A dump that is taken beside a writer is that of the database between two of its transactions.
func TestADumpBesideAWriterIsOfOneMoment(t *testing.T) {
	places(t, func(t *testing.T, dsn string) {
		w := makeWorld(t, 3)
		between := make(map[string]bool)
		db := openSQLite(t, Options{})
		var steps []func(*Tx) error
		for _, origin := range []string{logA, logB} {
			for es := w.logs[origin]; len(es) > 0; {
				n := min(len(es), 7)
				some := es[:n]
				es = es[n:]
				steps = append(steps, func(tx *Tx) error { return tx.AddEntries(context.Background(), origin, some) })
			}
		}
		for _, list := range w.evals {
			for _, e := range list {
				steps = append(steps, func(tx *Tx) error { return tx.AddEvaluation(context.Background(), e.h, e.seq()) })
			}
		}
		for _, step := range steps {
			between[dump(t, db)] = true
			write(t, db, step)
		}
		between[dump(t, db)] = true

		writer := openAt(t, dsn, Options{})
		reader, err := OpenReader(t.Context(), dsn, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		// In the middle of a transaction nothing of it is seen, and the reader does not wait for it.
		before := dump(t, reader)
		write(t, writer, func(tx *Tx) error {
			if err := steps[0](tx); err != nil {
				return err
			}
			if dump(t, reader) != before {
				t.Error("a dump holds part of a transaction")
			}
			return nil
		})
		var wg sync.WaitGroup
		var done atomic.Bool
		wg.Go(func() {
			defer done.Store(true)
			for _, step := range steps[1:] {
				if err := writer.Write(context.Background(), step); err != nil {
					t.Error(err)
					return
				}
			}
		})
		dumps := make(map[string]bool)
		for !done.Load() && !t.Failed() {
			d := dump(t, reader)
			if dumps[d] = true; !between[d] {
				t.Error("a dump is none of the states between transactions")
			}
		}
		wg.Wait()
		t.Logf("%d of %d states were dumped", len(dumps), len(between))
		if d := dump(t, reader); d != dump(t, writer) || !between[d] {
			t.Error("the last dump is not the writer's")
		}
	})
}

// Who opens a database for reading changes nothing, makes none, and is told what is wrong with it.
func TestAReaderOnlyReads(t *testing.T) {
	places(t, func(t *testing.T, dsn string) {
		if _, err := OpenReader(t.Context(), dsn, Options{}); err == nil || !strings.Contains(err.Error(), "rebuild") {
			t.Errorf("nothing there: %v", err)
		}
		db := openAt(t, dsn, Options{})
		makeWorld(t, 4).replay(t, db)
		want := dump(t, db)
		if _, err := OpenReader(t.Context(), dsn, Options{Random: []string{"x"}}); !errors.Is(err, ErrConfiguration) {
			t.Errorf("another configuration: %v", err)
		}
		write(t, db, func(tx *Tx) error { return tx.exec(t.Context(), "UPDATE migration SET version = version + 1") })
		if _, err := OpenReader(t.Context(), dsn, Options{}); err == nil || !strings.Contains(err.Error(), "use the firn-tracker that made it") {
			t.Errorf("tables of another version: %v", err)
		}
		write(t, db, func(tx *Tx) error { return tx.exec(t.Context(), "UPDATE migration SET version = version - 1") })
		db.Close()
		r, err := OpenReader(t.Context(), dsn, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Write(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, errReadOnly) {
			t.Errorf("Write: %v", err)
		}
		if err := r.Reset(t.Context()); !errors.Is(err, errReadOnly) {
			t.Errorf("Reset: %v", err)
		}
		if _, err := r.r.ExecContext(t.Context(), "DELETE FROM stmt"); err == nil {
			t.Error("the database lets a reader write")
		}
		var b bytes.Buffer
		if err := r.Dump(t.Context(), &b); err != nil || b.String() != want {
			t.Errorf("another dump, or %v", err)
		}
		again := openAt(t, dsn, Options{}) // the reader holds no lock
		e := makeWorld(t, 1).evals[0][0]
		e.h.Channel = "other"
		evaluate(t, again, e)
		if _, err := r.Channel(t.Context(), "other"); err != nil {
			t.Error(err)
		}
		for _, channel := range []string{"stable", "unstable"} {
			l, err := r.Attributes(t.Context(), Filter{Channel: channel}, Page{Limit: 500})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range l.Rows {
				if _, err := r.Attribute(t.Context(), row.Attr); err != nil { // also claims that do not count
					t.Error(err)
				}
			}
		}
	})
}

// A file that is no tracker's is as it was when somebody tried to read it as one.
func TestAReaderChangesNoDatabaseOfOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "other.db")
	other, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.ExecContext(t.Context(), "CREATE TABLE mine (a INTEGER)")
	if err := errors.Join(err, other.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReader(t.Context(), name, Options{}); err == nil || !strings.Contains(err.Error(), "rebuild") {
		t.Errorf("%v", err)
	}
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was changed: %v", err)
	}
}

package indexdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/statement"
)

const origin = "log.example/0123abcd"

func open(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(context.Background(), path, origin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func row(i int, signer byte, subjects ...string) Row {
	return Row{ID: statement.ID{byte(i), byte(i >> 8), 1}, Signer: statement.KeyID{signer}, Subjects: subjects}
}

func state(size int) State { return State{Size: uint64(size), Root: tlog.Hash{byte(size)}} }

func TestIngestAndRead(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "index.db")
	db := open(t, path)
	var rows []Row
	for i := range 200 {
		rows = append(rows, row(i, byte(1+i%3), "all", fmt.Sprintf("key %d", i)))
	}
	rows[7].Leaf = []byte("people")
	rows[8] = Row{} // a leaf that could not be read
	rows[20].Revision, rows[40].Revision, rows[150].Revision = 10, 40, 150
	rows[30].Accused, rows[31].Accused, rows[60].Accused = "key:a", "key:b", "key:a"
	if err := db.Ingest(ctx, rows, state(200), []Usage{{Day: 5, Name: "unvouched", Statements: 3, Bytes: 400}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path)
	if db.State() != state(200) {
		t.Errorf("state %v", db.State())
	}
	if i, ok, err := db.IndexOf(ctx, rows[150].ID); i != 150 || !ok || err != nil {
		t.Errorf("index %d, %v, %v", i, ok, err)
	}
	if _, ok, err := db.IndexOf(ctx, statement.ID{9, 9, 9}); ok || err != nil {
		t.Errorf("an unknown id: %v, %v", ok, err)
	}
	var ids []statement.ID
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	found, err := db.IndexesOf(ctx, append(ids, statement.ID{9, 9, 9}))
	if err != nil || len(found) != 199 || found[rows[199].ID] != 199 {
		t.Errorf("%d found, %v", len(found), err)
	}
	counts, err := db.Claims(ctx, statement.KeyID{1}, []string{"all", "key 0", "key 1", "none"})
	if err != nil || counts["all"] != 67 || counts["key 0"] != 1 || counts["key 1"] != 0 {
		t.Errorf("counts %v, %v", counts, err)
	}
	if counts, err := db.Claims(ctx, statement.KeyID{99}, []string{"all"}); err != nil || len(counts) != 0 {
		t.Errorf("an unknown signer: %v, %v", counts, err)
	}
	checkFew(t, db)
	var people []uint64
	if err := db.People(ctx, func(i uint64, leaf []byte) error { people = append(people, i); return nil }); err != nil || !slices.Equal(people, []uint64{7}) {
		t.Errorf("people %v, %v", people, err)
	}
	for _, today := range []int64{4, 5, 4} {
		if day, usage, err := db.Usage(ctx, today); err != nil || day != 5 || len(usage) != 1 || usage[0].Bytes != 400 {
			t.Errorf("usage %d %v, %v", day, usage, err)
		}
	}
	for _, today := range []int64{6, 5} { // the clock is set back
		if day, usage, err := db.Usage(ctx, today); err != nil || day != 6 || len(usage) != 0 {
			t.Errorf("the next day: %d %v, %v", day, usage, err)
		}
	}
}

func checkFew(t *testing.T, db *DB) {
	t.Helper()
	ctx := t.Context()
	for size, index := range map[uint64]uint64{10: 20, 40: 40, 150: 150} {
		if i, ok, err := db.Revision(ctx, size); i != index || !ok || err != nil {
			t.Errorf("revision of %d at %d, %v, %v", size, i, ok, err)
		}
	}
	if _, ok, err := db.Revision(ctx, 11); ok || err != nil {
		t.Errorf("a size that is no revision's: %v, %v", ok, err)
	}
	for below, want := range map[uint64][]uint64{200: {150, 40, 10}, 150: {40, 10}, 40: {10}, 20: nil} {
		var got []uint64
		if err := db.Revisions(ctx, below, func(r Revision) bool { got = append(got, r.Size); return true }); err != nil || !slices.Equal(got, want) {
			t.Errorf("revisions below %d: %v, %v", below, got, err)
		}
	}
	for from, want := range map[uint64]uint64{0: 30, 30: 30, 31: 60} {
		if i, ok, err := db.Against(ctx, "key:a", from); i != want || !ok || err != nil {
			t.Errorf("evidence from %d on: %d, %v, %v", from, i, ok, err)
		}
	}
	if _, ok, err := db.Against(ctx, "key:a", 61); ok || err != nil {
		t.Errorf("more evidence: %v, %v", ok, err)
	}
}

func TestIngestIsAllOrNothing(t *testing.T) {
	ctx := context.Background()
	db := open(t, filepath.Join(t.TempDir(), "index.db"))
	if err := db.Ingest(ctx, []Row{row(0, 1, "a")}, state(5), nil); err == nil {
		t.Error("a gap was taken")
	}
	if _, err := db.write.Exec("CREATE TRIGGER full BEFORE INSERT ON claims BEGIN SELECT RAISE(ABORT, 'disk full'); END"); err != nil {
		t.Fatal(err)
	}
	if err := db.Ingest(ctx, []Row{row(0, 1, "a"), row(1, 2, "b")}, state(2), nil); err == nil {
		t.Error("a broken batch was taken")
	}
	if _, err := db.write.Exec("DROP TRIGGER full"); err != nil {
		t.Fatal(err)
	}
	if db.State().Size != 0 {
		t.Errorf("state %v after a failure", db.State())
	}
	if err := db.Ingest(ctx, []Row{row(0, 2, "a"), row(1, 1, "b")}, state(2), nil); err != nil {
		t.Fatalf("after a failure: %v", err)
	}
	for signer, want := range map[byte]uint64{1: 0, 2: 1} {
		if n, err := db.Claims(ctx, statement.KeyID{signer}, []string{"a"}); err != nil || n["a"] != want {
			t.Errorf("claims of %d: %v, %v", signer, n, err)
		}
	}
}

func TestDamageIsRecognized(t *testing.T) {
	ctx := context.Background()
	for name, damage := range map[string]func(path string) error{
		"garbage": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("garbage ", 2000)), 0o600) },
		"empty":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a page overwritten": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte(strings.Repeat("garbage ", 512)), 4096)
			return err
		},
	} {
		path := filepath.Join(t.TempDir(), "index.db")
		db := open(t, path)
		if err := db.Ingest(ctx, []Row{row(0, 1, "a")}, state(1), nil); err != nil {
			t.Fatal(err)
		}
		db.read.Close()
		db.write.Close() // not closed properly
		if err := damage(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ctx, path, origin); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
		if open(t, path).State().Size != 0 {
			t.Errorf("%s: not empty after Remove", name)
		}
	}
}

func TestForeignOrUnreadableIsNotDamage(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "index.db")
	open(t, path).Close()
	if _, err := Open(ctx, path, "other.example/01234567"); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("another log's index: %v, want an error that is not damage", err)
	}
	if _, err := Open(ctx, filepath.Join(t.TempDir(), "missing", "index.db"), origin); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a folder that is not there: %v, want an error that is not damage", err)
	}
}

package nixdb

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/firn-log/firn/internal/testreq"
)

// asNobody runs f with the file system rights of an unprivileged user, which for
// root means another fsuid on a thread of its own.
func asNobody(t testing.TB, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		unix.SetfsgidRetGid(65534)
		unix.SetfsuidRetUid(65534)
		if uid, _ := unix.SetfsuidRetUid(-1); uid != 65534 {
			t.Errorf("fsuid is %d", uid)
			return
		}
		f()
	}()
	<-done
}

// copyOf copies the database at path, with its write-ahead log if it has one,
// into a folder that others may read but not write, and returns its path.
func copyOf(t testing.TB, path string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "firn-nixdb-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.Chmod(dir, 0o755)
		os.RemoveAll(dir)
	})
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "db.sqlite"+suffix), b, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "db.sqlite")
}

// writer opens a database as Nix does and changes one path's size, which stays
// in the write-ahead log.
func writer(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(wal)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(`update ValidPaths set narSize = 4711 where path = ?`, pathOf(t, "app").String()); err != nil {
		t.Fatal(err)
	}
	return db
}

func sizeOfApp(t testing.TB, db *DB) uint64 {
	t.Helper()
	info, err := db.PathInfo(t.Context(), pathOf(t, "app"))
	if err != nil {
		t.Fatal(err)
	}
	return info.NarSize
}

func TestReadsBesideAWriter(t *testing.T) {
	path := makeDB(t, store)
	w := writer(t, path)
	db := openDB(t, path)
	if got := sizeOfApp(t, db); got != 4711 {
		t.Errorf("size %d: what is only in the write-ahead log was not read", got)
	}
	if _, err := w.Exec(`update ValidPaths set narSize = 4712`); err != nil {
		t.Fatalf("the reader blocks the writer: %v", err)
	}
	if got := sizeOfApp(t, db); got != 4712 {
		t.Errorf("size %d, want the newest", got)
	}
}

// An unprivileged user who finds a log without its index would read the past.
func TestRefusesAFileThatIsOutOfDate(t *testing.T) {
	path := makeDB(t, store)
	writer(t, path)
	stale := copyOf(t, path)
	asNobody(t, func() {
		_, err := Open(stale, testDir)
		if !errors.Is(err, ErrUnreadable) {
			t.Errorf("got %v, want ErrUnreadable", err)
		}
	})
}

func TestUnprivilegedReaderBesideAWriterSeesTheNewest(t *testing.T) {
	path := makeDB(t, store)
	asNobodyCanReach(t, path)
	writer(t, path)
	asNobody(t, func() {
		db, err := Open(path, testDir)
		if err != nil {
			t.Errorf("opening: %v", err)
			return
		}
		defer db.Close()
		if got := sizeOfApp(t, db); got != 4711 || db.still != nil {
			t.Errorf("size %d, immutable %v; want the size in the write-ahead log", got, db.still != nil)
		}
	})
}

func asNobodyCanReach(t testing.TB, path string) {
	t.Helper()
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// A database that was opened as immutable is not when Nix starts to write it.
func TestImmutableEndsWhenSomebodyWrites(t *testing.T) {
	if os.Getuid() != 0 {
		testreq.Missing(t, "root", "a reader who may not write, beside a writer, takes root")
	}
	path := makeDB(t, store)
	asNobodyCanReach(t, path)
	asNobody(t, func() {
		db, err := Open(path, testDir)
		if err != nil {
			t.Errorf("opening: %v", err)
			return
		}
		defer db.Close()
		if got := sizeOfApp(t, db); got != 3 || db.still == nil {
			t.Errorf("size %d, immutable %v", got, db.still != nil)
		}
		wrote := make(chan struct{})
		go func() { // with this process's own rights
			defer close(wrote)
			writer(t, path)
		}()
		<-wrote
		if got := sizeOfApp(t, db); got != 4711 {
			t.Errorf("size %d after a write, want 4711", got)
		}
	})
}

func TestRefusesWhatIsNotANixDatabase(t *testing.T) {
	noCA := makeDB(t, store, `alter table ValidPaths drop column ca`)
	if _, err := Open(noCA, testDir); !errors.Is(err, ErrSchema) {
		t.Errorf("a database without ValidPaths.ca: %v, want ErrSchema", err)
	}
	text := filepath.Join(t.TempDir(), "db.sqlite")
	if err := os.WriteFile(text, []byte("not a database, but long enough to be read as the header of one ...................................\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(text, testDir); err == nil {
		t.Error("a text file was opened")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), testDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v, want fs.ErrNotExist", err)
	}
	if _, err := Open(t.TempDir(), testDir); err == nil {
		t.Error("a folder was opened")
	}
}

func TestExtraColumnsDoNotMatter(t *testing.T) {
	db := openDB(t, makeDB(t, store, `alter table ValidPaths add column provenance text`, `drop index IndexReferrer`))
	if got := sizeOfApp(t, db); got != 3 {
		t.Errorf("size %d", got)
	}
}

func TestRefusesDamagedRows(t *testing.T) {
	for name, damage := range map[string]string{
		"hash":                `update ValidPaths set hash = 'sha256:00'`,
		"negative size":       `update ValidPaths set narSize = -1`,
		"path elsewhere":      `update ValidPaths set path = '/nix/store/' || substr(path, 19) where path like '%-lib'`,
		"reference to no row": `delete from ValidPaths where path like '%-lib'`,
	} {
		db := openDB(t, makeDB(t, store, damage))
		if _, err := db.Closure(t.Context(), paths(t, "app")); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := db.PathInfo(t.Context(), pathOf(t, "app")); err == nil {
			t.Errorf("%s: accepted for one path", name)
		}
	}
}

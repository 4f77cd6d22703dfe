package nixdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/firn-log/firn/internal/nix"
)

// DefaultPath is where Nix keeps the database of /nix/store.
const DefaultPath = "/nix/var/nix/db/db.sqlite"

// DB is Nix's own SQLite database. It implements Source and answers everything.
type DB struct {
	path string
	dir  nix.StoreDir

	mu  sync.RWMutex // guards the fields below; held for reading during a query
	sql *sql.DB
	how schema
	// still is set while the database is open as a file that nobody changes,
	// which is only sound until somebody does: see steady.
	still *fingerprint
}

// Open opens the database at path, whose paths lie in dir. It reads only: no
// process of Nix waits for it. Three cases decide how:
//
//   - The write-ahead log and its index can be opened, or made (root): normal
//     reading beside Nix.
//   - They do not exist and cannot be made (an unprivileged user while no
//     process of Nix runs): SQLite reports READONLY_DIRECTORY (1544); the file
//     then is complete, and is read as immutable while it stays as it is.
//   - A write-ahead log exists that this user cannot use: the file is out of
//     date, and Open returns an error matching ErrUnreadable.
func Open(path string, dir nix.StoreDir) (*DB, error) {
	if err := dir.Validate(); err != nil {
		return nil, err
	}
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	d := &DB{path: path, dir: dir}
	if err := d.open(context.Background()); err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return d, nil
}

// open opens the database in the way its files allow now, and leaves d as it was
// if there is none. It is called with d.mu held, or before d is known to anybody
// else.
func (d *DB) open(ctx context.Context) error {
	var still *fingerprint
	db, how, err := connect(ctx, d.path, "mode=ro")
	if err != nil {
		if !needsImmutable(err) {
			return err
		}
		if still, err = takeFingerprint(d.path); err != nil {
			return fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
		if db, how, err = connect(ctx, d.path, "mode=ro&immutable=1"); err != nil {
			return err
		}
	}
	if d.sql != nil {
		d.sql.Close()
	}
	d.sql, d.how, d.still = db, how, still
	return nil
}

// needsImmutable reports whether err is SQLite's way of saying that it cannot
// make the files it needs beside a database in WAL mode.
func needsImmutable(err error) bool {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code() {
	case sqlite3.SQLITE_READONLY_DIRECTORY, sqlite3.SQLITE_READONLY_CANTINIT, sqlite3.SQLITE_READONLY_RECOVERY,
		sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}

func connect(ctx context.Context, path, query string) (*sql.DB, schema, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, schema{}, err
	}
	u := url.URL{Scheme: "file", Path: abs, RawQuery: query + "&_pragma=busy_timeout(10000)&_pragma=query_only(1)"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, schema{}, err
	}
	db.SetMaxOpenConns(4)
	db.SetConnMaxIdleTime(time.Minute)
	how, err := readSchema(ctx, db)
	if err != nil {
		db.Close()
		return nil, schema{}, err
	}
	return db, how, nil
}

// fingerprint is enough of a file's state to notice that somebody wrote it.
type fingerprint struct {
	size  int64
	mtime time.Time
}

// takeFingerprint returns the state of a database that nobody has open for
// writing, or an error if there is a write-ahead log: reading around one would
// be reading the past, or a mixture.
func takeFingerprint(path string) (*fingerprint, error) {
	if st, err := os.Stat(path + "-wal"); err == nil && st.Size() > 0 {
		return nil, fmt.Errorf("%s-wal holds changes that are not in the file yet and can only be read by its owner", filepath.Base(path))
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return &fingerprint{st.Size(), st.ModTime()}, nil
}

// steady reports whether what was read since d was opened can be believed.
func (d *DB) steady() bool {
	if d.still == nil {
		return true
	}
	now, err := takeFingerprint(d.path)
	return err == nil && now.size == d.still.size && now.mtime.Equal(d.still.mtime)
}

// read runs f in one read transaction, which is one state of the database. If
// the file was being read as immutable and changed meanwhile, it is opened again
// and f runs again, so f must start its result afresh.
func (d *DB) read(ctx context.Context, f func(tx *sql.Tx, how schema) error) error {
	for range 3 {
		ok, err := d.try(ctx, f)
		if ok {
			return err
		}
		if err := d.reopen(ctx); err != nil {
			return fmt.Errorf("reading %s again, which changed: %w", d.path, err)
		}
	}
	return fmt.Errorf("%s changes faster than it can be read: %w", d.path, ErrUnreadable)
}

// try runs f once and reports whether its answer can be believed.
func (d *DB) try(ctx context.Context, f func(tx *sql.Tx, how schema) error) (bool, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	err := d.inTx(ctx, f)
	return d.steady(), err
}

func (d *DB) reopen(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.steady() {
		return nil // somebody else has done it
	}
	return d.open(ctx)
}

func (d *DB) inTx(ctx context.Context, f func(tx *sql.Tx, how schema) error) error {
	tx, err := d.sql.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return f(tx, d.how)
}

// StoreDir implements Source.
func (d *DB) StoreDir() nix.StoreDir { return d.dir }

// Records implements Source.
func (d *DB) Records() Records {
	return Records{Ultimate: true, Sigs: true, CA: true, Outputs: true}
}

// Close implements Source.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sql.Close()
}

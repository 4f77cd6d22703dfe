// Package indexdb is the embedded store of a firn log (SQLite): which statement
// id is at which index, how many claims each signer has made about each subject,
// where the revisions of the index and the evidence are, and how much of today's
// budgets is used. What lies under which key is in the map (package triedb).
//
// Everything in it but the counters of budgets is derived: it follows the
// tree, says up to which size and root it has read it, and may be deleted at
// any time; the log reads the tree again. Therefore its writes are not synced
// one by one (PRAGMA synchronous = NORMAL: SQLite syncs only where an unsynced
// write could damage the file). After a power cut it is an older one, never a
// broken one, and what is missing is read from the tree.
//
// The document is spec/log.md#index-db.
package indexdb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
	"modernc.org/sqlite"
)

// schemaVersion is raised when the tables, or what claims are counted by, change; a file with another version
// is treated like a damaged one and made again.
const schemaVersion = "4"

// schema: a claim is counted under a hash of its signer and its subject.
const schema = `
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE ids(id BLOB PRIMARY KEY, idx INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE claims(k BLOB PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE people(idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL);
CREATE TABLE revisions(size INTEGER PRIMARY KEY, idx INTEGER NOT NULL);
CREATE TABLE accused(k BLOB NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY(k, idx)) WITHOUT ROWID;
CREATE TABLE usage(day INTEGER NOT NULL, name TEXT NOT NULL, statements INTEGER NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY(day, name)) WITHOUT ROWID;
`

// ErrDamaged says that the file is not a sound index of this log: it may be
// removed and made again.
var ErrDamaged = errors.New("damaged index")

// State says how far the index has read the tree.
type State struct {
	Size uint64
	Root tlog.Hash // of the tree of Size entries
}

// DB is an open index. There is one writer, which calls Ingest; everything
// else may be called concurrently.
type DB struct {
	write *sql.DB
	read  *sql.DB
	stmts statements

	mu    sync.RWMutex // guards what follows; written by Ingest only
	state State
	rows  uint64 // in the tables together, every claim counted
}

// Open opens the index of the log with this origin, and makes an empty one if
// there is none. An error that matches ErrDamaged asks for Remove.
func Open(ctx context.Context, path, origin string) (*DB, error) {
	_, err := os.Stat(path)
	fresh := errors.Is(err, os.ErrNotExist)
	db := new(DB)
	if err := db.open(ctx, path, origin, fresh); err != nil {
		err = errors.Join(err, db.Close())
		if isDamage(err) {
			return nil, fmt.Errorf("%w %s: %w", ErrDamaged, path, err)
		}
		return nil, fmt.Errorf("opening index %s: %w", path, err)
	}
	return db, nil
}

// Remove deletes the index at path.
func Remove(path string) error {
	var errs error
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Remove(path + suffix); !errors.Is(err, os.ErrNotExist) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

func (db *DB) open(ctx context.Context, path, origin string, fresh bool) (err error) {
	pragmas := url.Values{"_pragma": {
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)", "cache_size(-65536)",
		"wal_autocheckpoint(4000)", "temp_store(MEMORY)",
	}, "_txlock": {"immediate"}}
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas.Encode()
	if db.write, err = sql.Open("sqlite", name); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	if fresh {
		if err := db.create(ctx, origin); err != nil {
			return err
		}
	}
	if err := db.check(ctx, origin); err != nil {
		return err
	}
	pragmas["_pragma"] = append(pragmas["_pragma"], "query_only(1)")
	pragmas.Del("_txlock")
	name = "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas.Encode()
	if db.read, err = sql.Open("sqlite", name); err != nil {
		return err
	}
	db.read.SetMaxOpenConns(4)
	db.read.SetMaxIdleConns(4)
	return db.stmts.prepare(ctx, db.write, db.read)
}

func (db *DB) create(ctx context.Context, origin string) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	empty := sha256.Sum256(nil)
	for name, value := range map[string][]byte{
		"version": []byte(schemaVersion), "origin": []byte(origin), "size": []byte("0"), "root": empty[:], "open": []byte("0"),
		"rows": []byte("0"),
	} {
		if _, err := tx.ExecContext(ctx, "INSERT INTO meta VALUES(?, ?)", name, value); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// check reads the state and leaves the mark "open", which Close takes away: an
// index that was not closed is looked through before it is believed.
func (db *DB) check(ctx context.Context, origin string) error {
	meta := make(map[string]string)
	rows, err := db.write.QueryContext(ctx, "SELECT name, value FROM meta")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var value []byte
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		meta[name] = string(value)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if meta["version"] != schemaVersion {
		return fmt.Errorf("%w: tables of version %q, want %q", errDamage, meta["version"], schemaVersion)
	}
	if meta["origin"] != origin {
		return fmt.Errorf("it belongs to the log %q, not to %q", meta["origin"], origin)
	}
	if n, err := fmt.Sscanf(meta["size"], "%d", &db.state.Size); n != 1 || err != nil || len(meta["root"]) != len(db.state.Root) {
		return fmt.Errorf("%w: size %q and a root of %d bytes", errDamage, meta["size"], len(meta["root"]))
	}
	copy(db.state.Root[:], meta["root"])
	if n, err := fmt.Sscanf(meta["rows"], "%d", &db.rows); n != 1 || err != nil {
		return fmt.Errorf("%w: %q rows", errDamage, meta["rows"])
	}
	if meta["open"] != "0" {
		if err := db.quickCheck(ctx); err != nil {
			return err
		}
	}
	_, err = db.write.ExecContext(ctx, "UPDATE meta SET value = '1' WHERE name = 'open'")
	return err
}

func (db *DB) quickCheck(ctx context.Context) error {
	var answer string
	if err := db.write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return fmt.Errorf("%w: %s", errDamage, answer)
	}
	// An older file beside the newer write-ahead log of a crash can be sound,
	// and lacks the rows between the two.
	const count = "SELECT (SELECT count(*) FROM ids) + (SELECT coalesce(sum(n), 0) FROM claims) + (SELECT count(*) FROM people)" +
		" + (SELECT count(*) FROM revisions) + (SELECT count(*) FROM accused)"
	var rows uint64
	if err := db.write.QueryRowContext(ctx, count).Scan(&rows); err != nil {
		return err
	}
	if rows != db.rows {
		return fmt.Errorf("%w: %d rows, want %d", errDamage, rows, db.rows)
	}
	return nil
}

// State returns how far the index has read the tree.
func (db *DB) State() State {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.state
}

// Close closes the index. It may be called on one that is not fully open.
func (db *DB) Close() error {
	var errs []error
	if db.read != nil {
		errs = append(errs, db.read.Close())
	}
	if db.write != nil {
		if db.read != nil {
			_, err := db.write.Exec("UPDATE meta SET value = '0' WHERE name = 'open'")
			errs = append(errs, err)
		}
		errs = append(errs, db.write.Close())
	}
	return errors.Join(errs...)
}

// errDamage marks findings of our own that are as good as SQLite's.
var errDamage = errors.New("not as it was written")

// isDamage reports whether err says that the file itself is broken, not that
// the disk is full or the file not ours to read.
func isDamage(err error) bool {
	const corrupt, notADatabase, sqlError = 11, 26, 1
	var se *sqlite.Error
	if errors.As(err, &se) {
		switch se.Code() & 0xff {
		case corrupt, notADatabase, sqlError: // sqlError: a table is missing
			return true
		}
	}
	return errors.Is(err, errDamage)
}

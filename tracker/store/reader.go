package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// errReadOnly is what Write and Reset say of a database that OpenReader opened.
var errReadOnly = errors.New("the database is open for reading alone")

// newDB returns a database that is not open yet.
func newDB(dsn string, o Options) *DB {
	db := &DB{opts: o, log: o.Log, dialect: sqlite{}, reads: make(map[string]*sql.Stmt)}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		db.dialect = postgres{}
	}
	return db
}

// OpenReader opens a database that a tracker has filled, for reading alone: it takes no lock, changes
// nothing, and waits for no writer and lets none wait, also while another process writes. Each page, and each Dump
// from its first line to its last, is of one moment between two transactions of the writer; why claims
// do not count is told as of when it was opened. Write and Reset fail. With ErrConfiguration nothing is open.
func OpenReader(ctx context.Context, dsn string, o Options) (*DB, error) {
	db := newDB(dsn, o)
	var err error
	if db.r, db.done, err = db.dialect.openReader(ctx, dsn); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := db.startReading(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// startReading checks that the database is one of this program and configuration, and learns who counts.
func (db *DB) startReading(ctx context.Context) (err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.conn, err = db.r.Conn(ctx); err != nil {
		return fmt.Errorf("connecting to the database: %w", err)
	}
	db.stmts = make(map[string]*sql.Stmt)
	defer db.disconnect()
	if _, err := db.conn.ExecContext(ctx, "BEGIN"); err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	defer db.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	var version sql.NullInt64
	if err := db.conn.QueryRowContext(ctx, "SELECT MAX(version) FROM migration").Scan(&version); err != nil {
		return fmt.Errorf("there are no tables of a tracker in the database, or they cannot be read; firn-tracker rebuild makes them: %w", err)
	}
	if version.Int64 != schemaVersion {
		return fmt.Errorf("the database has version %d of the tables, this program knows %d: use the firn-tracker that made it, or rebuild it", version.Int64, schemaVersion)
	}
	var have string
	if err := db.conn.QueryRowContext(ctx, "SELECT value FROM config WHERE name = 'digest'").Scan(&have); err != nil {
		return fmt.Errorf("reading the configuration of the database: %w", err)
	}
	if have != db.opts.digest() {
		return ErrConfiguration
	}
	return db.load(ctx)
}

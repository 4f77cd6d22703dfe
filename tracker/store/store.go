package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
	"github.com/firn-log/firn/verify"
)

// Options configure a database. They are part of what it is a function of.
type Options struct {
	// Policy decides which operators count and when outputs agree. Nil: every
	// registered operator counts, and two that built the same agree.
	Policy     *verify.Policy
	PolicyName string
	// Random are attribute globs (* and ?) whose outputs are random by construction.
	Random []string
	Log    *slog.Logger // nil: silent
}

// ErrConfiguration says that a database was filled under another configuration;
// Reset and a replay bring it up to date.
var ErrConfiguration = errors.New("the database was filled under another policy, or with other outputs random by construction: rebuild it")

// A DB is an open database. All its methods may be called concurrently; Write
// lets one writer in at a time.
type DB struct {
	opts    Options
	log     *slog.Logger
	dialect dialect
	w, r    *sql.DB // w is nil if it is open for reading alone
	done    func() error

	mu    sync.Mutex // of the writer: all that follows
	conn  *sql.Conn  // nil after it failed
	stmts map[string]*sql.Stmt
	state *state // nil if it is to be read anew
	other bool   // it was filled under another configuration

	regMu sync.RWMutex // of state.reg, which readers ask too; the writer changes it under both
	reg   *verify.Register

	pages  sync.RWMutex // held for reading by every page, and by Reset: PostgreSQL drops no table that is read
	readMu sync.Mutex
	reads  map[string]*sql.Stmt

	seen func(query string) // for tests: every query, with $1 and so on
}

// Open opens, and if need be creates, a database: a file of SQLite, or
// PostgreSQL if dsn begins with postgres:// or postgresql://. It holds a lock until Close, so that
// there is one writer. With ErrConfiguration the database is open, and Reset
// and Close are what it is good for.
func Open(ctx context.Context, dsn string, o Options) (*DB, error) {
	db := newDB(dsn, o)
	var err error
	if db.w, db.r, db.done, err = db.dialect.open(ctx, dsn); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := db.start(ctx); err != nil && !errors.Is(err, ErrConfiguration) {
		db.Close()
		return nil, err
	} else {
		return db, err
	}
}

// start makes the tables, checks the configuration and reads the writer's state.
func (db *DB) start(ctx context.Context) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.connect(ctx); err != nil {
		return err
	}
	if err := db.transaction(ctx, func() error { return migrate(ctx, db.conn, db.dialect) }); err != nil {
		return fmt.Errorf("making the tables: %w", err)
	}
	want := db.opts.digest()
	var have string
	err := db.conn.QueryRowContext(ctx, "SELECT value FROM config WHERE name = 'digest'").Scan(&have)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return db.transaction(ctx, func() error { return db.configure(ctx) })
	case err != nil:
		return fmt.Errorf("reading the configuration of the database: %w", err)
	case have != want:
		db.other = true
		return ErrConfiguration
	}
	return db.load(ctx)
}

// configure fills in what an empty database holds, and reads it back.
func (db *DB) configure(ctx context.Context) error {
	for name, value := range map[string]string{"digest": db.opts.digest(), "policy": db.opts.PolicyName} {
		if _, err := db.conn.ExecContext(ctx, "INSERT INTO config (name, value) VALUES ($1, $2)", name, value); err != nil {
			return err
		}
	}
	if err := db.load(ctx); err != nil {
		return err
	}
	tx := db.newTx()
	if err := tx.addVoters(ctx); err != nil {
		return err
	}
	return tx.end(ctx)
}

// connect gets the writer's connection and its lock.
func (db *DB) connect(ctx context.Context) error {
	if db.conn != nil {
		return nil
	}
	if db.w == nil {
		return errReadOnly
	}
	c, err := db.w.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", err)
	}
	if err := db.dialect.lock(ctx, c); err != nil {
		c.Close()
		return err
	}
	db.conn, db.stmts, db.state = c, make(map[string]*sql.Stmt), nil
	return nil
}

// disconnect forgets the writer's connection, so that the next Write makes another.
func (db *DB) disconnect() {
	for _, s := range db.stmts {
		s.Close()
	}
	if db.conn != nil {
		_ = db.conn.Raw(func(any) error { return driver.ErrBadConn }) // or the pool gives it again
		db.conn.Close()
	}
	db.conn, db.stmts, db.state = nil, nil, nil
}

// transaction runs f between BEGIN and COMMIT.
func (db *DB) transaction(ctx context.Context, f func() error) error {
	if _, err := db.conn.ExecContext(ctx, db.dialect.begin()); err != nil {
		db.disconnect()
		return err
	}
	err := f()
	end := context.WithoutCancel(ctx)
	if err == nil {
		_, err = db.conn.ExecContext(end, "COMMIT")
	}
	if err == nil {
		return nil
	}
	db.state = nil
	if _, failed := db.conn.ExecContext(end, "ROLLBACK"); failed != nil || db.dialect.spent(err) {
		db.disconnect()
	}
	return err
}

// Close lets go of the database.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.disconnect()
	db.readMu.Lock()
	defer db.readMu.Unlock()
	for _, s := range db.reads {
		s.Close()
	}
	db.reads = make(map[string]*sql.Stmt)
	return db.done()
}

// Reset drops everything that the database holds and takes over the configuration. It waits
// for pages that are being read.
func (db *DB) Reset(ctx context.Context) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.connect(ctx); err != nil {
		return err
	}
	for _, s := range db.stmts {
		s.Close()
	}
	db.stmts = make(map[string]*sql.Stmt)
	db.pages.Lock()
	defer db.pages.Unlock()
	err := db.transaction(ctx, func() error {
		for _, name := range append(tables(), "migration") {
			if _, err := db.conn.ExecContext(ctx, "DROP TABLE IF EXISTS "+name); err != nil {
				return err
			}
		}
		if err := migrate(ctx, db.conn, db.dialect); err != nil {
			return err
		}
		return db.configure(ctx)
	})
	if err != nil {
		return fmt.Errorf("emptying the database: %w", err)
	}
	db.other = false
	return nil
}

// Write runs f in one transaction. If f fails, nothing of it is kept.
func (db *DB) Write(ctx context.Context, f func(*Tx) error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.other {
		return ErrConfiguration
	}
	if err := db.connect(ctx); err != nil {
		return err
	}
	if db.state == nil {
		if err := db.load(ctx); err != nil {
			db.disconnect()
			return err
		}
	}
	return db.transaction(ctx, func() error {
		tx := db.newTx()
		if err := f(tx); err != nil {
			return err
		}
		return tx.end(ctx)
	})
}

// Progress returns the index of the first entry of a log that is not in the
// database, and the root that the last SetCheckpoint gave; 0 and zero if there is none.
func (db *DB) Progress(ctx context.Context, origin string) (next uint64, root [32]byte, err error) {
	var b []byte
	err = db.view(ctx, func(q *view) error {
		_, err := q.one("SELECT next, root FROM log WHERE origin = $1", []any{origin}, &next, &b)
		return err
	})
	copy(root[:], b)
	return next, root, err
}

// Evaluated returns the newest evaluation of a channel and tier that the database
// holds, 0 if there is none.
func (db *DB) Evaluated(ctx context.Context, channel string, tier eval.Tier) (seq int64, err error) {
	column := "meta_seq"
	if tier == eval.Drvs {
		column = "drv_seq"
	}
	err = db.view(ctx, func(q *view) error {
		_, err := q.one("SELECT "+column+" FROM channel WHERE name = $1", []any{channel}, &seq)
		return err
	})
	return seq, err
}

// Keys returns every public key that people statements have shown so far, also
// of operators that do not count. With them a follower verifies claims.
func (db *DB) Keys() map[statement.KeyID]statement.PublicKey {
	db.regMu.RLock()
	defer db.regMu.RUnlock()
	if db.reg == nil {
		return nil
	}
	return db.reg.Keys()
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/firn-log/firn/log/statement"
)

// ErrUnavailable is matched when the database cannot be asked at all: it is down, or its file is gone.
var ErrUnavailable = errors.New("the database does not answer")

// view is a picture of the database at one time, for one page.
type view struct {
	ctx context.Context
	db  *DB
	tx  *sql.Tx

	parsed   map[int64]*statement.Statement // by row, and by whom, so that nothing is read twice for a page
	said     map[int64][]said               // what those claim
	speakers map[speaker]OperatorRef
}

// speaker is a key, and the operator for whom it counts, or 0.
type speaker struct {
	op  int64
	kid statement.KeyID
}

// view runs f on a picture of the database. An error of the database says that it was reading.
func (db *DB) view(ctx context.Context, f func(*view) error) error {
	db.pages.RLock()
	defer db.pages.RUnlock()
	opts := &sql.TxOptions{ReadOnly: true}
	if _, pg := db.dialect.(postgres); pg {
		opts.Isolation = sql.LevelRepeatableRead
	}
	tx, err := db.r.BeginTx(ctx, opts)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("reading from the database: %w", err)
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer tx.Rollback()
	if err := f(&view{ctx: ctx, db: db, tx: tx, parsed: make(map[int64]*statement.Statement), said: make(map[int64][]said), speakers: make(map[speaker]OperatorRef)}); err != nil {
		if errors.Is(err, ErrNotFound) {
			return err
		}
		return fmt.Errorf("reading from the database: %w", err)
	}
	return nil
}

// prepared returns a statement that is prepared once for the pool.
func (q *view) prepared(query string) (*sql.Stmt, error) {
	if q.db.seen != nil {
		q.db.seen(query)
	}
	q.db.readMu.Lock()
	defer q.db.readMu.Unlock()
	s := q.db.reads[query]
	if s == nil {
		var err error
		if s, err = q.db.r.PrepareContext(q.ctx, query); err != nil {
			return nil, err
		}
		q.db.reads[query] = s
	}
	return q.tx.StmtContext(q.ctx, s), nil
}

// one reads the only row of a query and reports whether there is one.
func (q *view) one(query string, args []any, dest ...any) (bool, error) {
	s, err := q.prepared(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(q.ctx, storable(args)...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// each calls f for every row.
func (q *view) each(query string, args []any, f func(*sql.Rows) error) error {
	s, err := q.prepared(query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(q.ctx, storable(args)...)
	if err != nil {
		return err
	}
	return drain(rows, f)
}

func drain(rows *sql.Rows, f func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// storable makes texts that somebody asks for what the database may hold: PostgreSQL refuses others.
func storable(args []any) []any {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = clean(text)
		}
	}
	return args
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
)

// A Tx is a write transaction. It is for one goroutine.
//
// What follows from new facts is computed by flush: outputs whose claims changed, then
// the derivations they belong to, then the rows and sums of attributes. Until then
// it is only noted what is dirty.
type Tx struct {
	db *DB
	*state

	further  rows // claims of nobody who counts
	fresh    map[int64]*output
	dirty    map[int64]*outChange
	flags    map[int64]flags
	drvs     map[int64]bool
	opDelta  map[int64]*[5]int64
	totals   map[scopeKey]*sums
	trends   map[trendKey]*counts
	words    map[wordKey]int64
	labels   map[label]labelled
	stats    map[string]int64
	closures map[int64]counts
}

func (db *DB) newTx() *Tx {
	tx := &Tx{
		db: db, state: db.state, words: make(map[wordKey]int64), labels: make(map[label]labelled),
		totals: make(map[scopeKey]*sums), trends: make(map[trendKey]*counts), stats: make(map[string]int64),
	}
	tx.clean()
	return tx
}

// clean forgets what was flushed.
func (tx *Tx) clean() {
	tx.further = furtherTable.rows()
	tx.fresh = make(map[int64]*output)
	tx.dirty = make(map[int64]*outChange)
	tx.flags = make(map[int64]flags)
	tx.drvs = make(map[int64]bool)
	tx.opDelta = make(map[int64]*[5]int64)
	tx.closures = make(map[int64]counts)
}

// flush computes what follows and writes it.
func (tx *Tx) flush(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		tx.flushOutputs, tx.flushDrvs, tx.flushOperators, tx.flushClosures,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	tx.clean()
	if err := tx.flushSums(ctx, false); err != nil {
		return err
	}
	return tx.flushWords(ctx, false)
}

// end writes all that is still noted.
func (tx *Tx) end(ctx context.Context) error {
	if err := tx.flush(ctx); err != nil {
		return err
	}
	if err := tx.flushSums(ctx, true); err != nil {
		return err
	}
	return tx.flushWords(ctx, true)
}

// prepared returns a statement of the writer's connection.
func (tx *Tx) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := tx.db.stmts[query]; s != nil {
		return s, nil
	}
	tx.see(query)
	s, err := tx.db.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	tx.db.stmts[query] = s
	return s, nil
}

// see shows tests a query.
func (tx *Tx) see(query string) {
	if tx.db.seen != nil && !strings.Contains(query, "?") {
		tx.db.seen(query)
	}
}

func (tx *Tx) exec(ctx context.Context, query string, args ...any) error {
	s, err := tx.prepared(ctx, query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(ctx, args...)
	return err
}

func (tx *Tx) one(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	s, err := tx.prepared(ctx, query)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(ctx, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func (tx *Tx) each(ctx context.Context, query string, args []any, f func(*sql.Rows) error) error {
	s, err := tx.prepared(ctx, query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return drain(rows, f)
}

// many runs a statement with each of args; see [dialect]. Within row nothing else is asked.
func (tx *Tx) many(ctx context.Context, query string, args [][]any, row func(int, scanner) error) error {
	tx.see(query)
	if done, err := tx.db.dialect.many(ctx, tx.db.conn, query, args, row); done || err != nil {
		return err
	}
	for i, a := range args {
		var err error
		if row == nil {
			err = tx.exec(ctx, query, a...)
		} else {
			err = tx.each(ctx, query, a, func(r *sql.Rows) error { return row(i, r) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Lists in queries have one of these lengths, so that few statements are prepared.
var listSizes = []int{1, 10, 100, 500}

// lists returns lists that together hold vals, each as long as one of listSizes; the
// last one repeats its last value.
func lists[T any](vals []T) (out [][]any) {
	for len(vals) > 0 {
		n := listSizes[len(listSizes)-1]
		for _, size := range listSizes {
			if len(vals) <= size {
				n = size
				break
			}
		}
		list := make([]any, n)
		for i := range list {
			list[i] = vals[min(i, len(vals)-1)]
		}
		vals = vals[min(n, len(vals)):]
		out = append(out, list)
	}
	return out
}

// inList is "($first,…)" with n placeholders.
func inList(first, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(",$")
		b.WriteString(strconv.Itoa(first + i))
	}
	return "(" + b.String()[1:] + ")"
}

// eachIn runs query, in which "IN ?" stands for a list of vals, and calls f for every row. args come
// before the list. A row is seen once per list, so vals hold nothing twice.
func eachIn[T any](ctx context.Context, tx *Tx, query string, args []any, vals []T, f func(*sql.Rows) error) error {
	for _, list := range lists(vals) {
		q := strings.Replace(query, "IN ?", "IN "+inList(len(args)+1, len(list)), 1)
		if err := tx.each(ctx, q, append(args[:len(args):len(args)], list...), f); err != nil {
			return err
		}
	}
	return nil
}

// table is where rows are inserted.
type table struct {
	name     string
	columns  []string
	conflict string // ON CONFLICT …, or ""
}

func newTable(name, columns, conflict string) *table {
	return &table{name: name, columns: strings.Fields(columns), conflict: conflict}
}

// upsert is the conflict clause that takes over all columns but keys.
func upsert(keys, columns string) string {
	var set []string
	for _, c := range strings.Fields(columns) {
		set = append(set, c+" = excluded."+c)
	}
	return " ON CONFLICT (" + keys + ") DO UPDATE SET " + strings.Join(set, ", ")
}

// rows collects rows of a table.
type rows struct {
	table *table
	args  []any
}

func (t *table) rows() rows { return rows{table: t} }

func (r *rows) add(values ...any) { r.args = append(r.args, values...) }

// Rows are inserted in statements of these many.
var insertSizes = []int{100, 10, 1}

// write inserts the rows and forgets them.
func (r *rows) write(ctx context.Context, tx *Tx) error {
	args, n := r.args, len(r.table.columns)
	r.args = nil
	if len(args) == 0 {
		return nil
	}
	if r.table.conflict == "" {
		if done, err := tx.db.dialect.bulk(ctx, tx.db.conn, r.table.name, r.table.columns, args); done || err != nil {
			return err
		}
	}
	verb := "INSERT INTO "
	if r.table.conflict == "" {
		verb = tx.db.dialect.insert()
	}
	for _, size := range insertSizes {
		for len(args) >= size*n {
			q := verb + r.table.name + " (" + strings.Join(r.table.columns, ", ") + ") VALUES " + tx.db.dialect.placeholders(size, n) + r.table.conflict
			if err := tx.exec(ctx, q, args[:size*n]...); err != nil {
				return err
			}
			args = args[size*n:]
		}
	}
	return nil
}

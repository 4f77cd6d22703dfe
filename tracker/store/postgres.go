package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// advisory is the number of the lock that the writer holds: "firntrkr".
const advisory = 0x6669726e74726b72

// postgres is PostgreSQL through database/sql.
type postgres struct{}

func (postgres) open(ctx context.Context, dsn string) (w, r *sql.DB, done func() error, err error) {
	conf, err := postgresConfig(dsn)
	if err != nil {
		return nil, nil, nil, err
	}
	w, r = stdlib.OpenDB(*conf), stdlib.OpenDB(*conf)
	w.SetMaxOpenConns(1)
	limitReaders(r)
	done = func() error {
		r.Close()
		return w.Close()
	}
	if err := w.PingContext(ctx); err != nil {
		done()
		return nil, nil, nil, err
	}
	return w, r, done, nil
}

func (postgres) openReader(ctx context.Context, dsn string) (r *sql.DB, done func() error, err error) {
	conf, err := postgresConfig(dsn)
	if err != nil {
		return nil, nil, err
	}
	conf.RuntimeParams["default_transaction_read_only"] = "on"
	conf.RuntimeParams["default_transaction_isolation"] = "repeatable read"
	r = stdlib.OpenDB(*conf)
	limitReaders(r)
	if err := r.PingContext(ctx); err != nil {
		r.Close()
		return nil, nil, err
	}
	return r, r.Close, nil
}

func limitReaders(r *sql.DB) {
	r.SetMaxOpenConns(2 * readers)
	r.SetMaxIdleConns(readers)
}

// sessions say how every session plans, unless the address of the database does: rows are found one by one through
// indexes, which is what all queries are made for (spec/tracker.md#database). PostgreSQL would choose by what it knows of
// the tables: nothing of what the transaction that fills them has added, and nothing of how much of a prefix is wanted.
var sessions = map[string]string{
	"application_name": "firn-tracker", "jit": "off",
	"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off",
}

func postgresConfig(dsn string) (*pgx.ConnConfig, error) {
	conf, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("the address of the database: %w", err)
	}
	for name, value := range sessions {
		if conf.RuntimeParams[name] == "" {
			conf.RuntimeParams[name] = value
		}
	}
	return conf, nil
}

// lock takes the lock of the writer's session, which ends with its connection.
func (postgres) lock(ctx context.Context, c *sql.Conn) error {
	var got bool
	if err := c.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", int64(advisory)).Scan(&got); err != nil || got {
		return err
	}
	var who string
	err := c.QueryRowContext(ctx, `SELECT COALESCE(MIN(a.application_name || ' (process ' || a.pid || ', since ' || to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') || ')'), 'somebody')
		FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&who)
	if err != nil {
		who = "somebody"
	}
	return fmt.Errorf("another tracker writes to this database: %s; stop it, or give this one a database of its own", who)
}

func (postgres) macros() *strings.Replacer {
	return strings.NewReplacer("{id}", "BIGINT PRIMARY KEY", "{int}", "BIGINT", "{text}", `TEXT COLLATE "C"`, "{blob}", "BYTEA", "{clustered}", "")
}

// spent reports that of a session which began when nobody was to write: it stays so.
func (postgres) spent(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "25006" // read_only_sql_transaction
}

func (postgres) begin() string { return "BEGIN" }

func (postgres) insert() string { return "INSERT INTO " }

func (postgres) placeholders(rows, cols int) string {
	var b strings.Builder
	for n := range rows * cols {
		switch {
		case n%cols > 0:
			b.WriteByte(',')
		case n > 0:
			b.WriteString("),(")
		default:
			b.WriteByte('(')
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n + 1))
	}
	b.WriteByte(')')
	return b.String()
}

// bulk is COPY, which is worth its overhead for many rows.
func (postgres) bulk(ctx context.Context, c *sql.Conn, table string, columns []string, args []any) (bool, error) {
	n := len(columns)
	if len(args) < 50*n {
		return false, nil
	}
	rows := pgx.CopyFromSlice(len(args)/n, func(i int) ([]any, error) { return args[i*n : (i+1)*n], nil })
	err := c.Raw(func(driver any) error {
		_, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{table}, columns, rows)
		return err
	})
	return true, err
}

// manyAtOnce is how many statements are sent before their answers are read.
const manyAtOnce = 500

// many sends all together: waiting for an answer takes longer than most statements.
func (postgres) many(ctx context.Context, c *sql.Conn, query string, args [][]any, row func(int, scanner) error) (bool, error) {
	if len(args) < 2 {
		return false, nil
	}
	return true, c.Raw(func(driver any) error {
		conn := driver.(*stdlib.Conn).Conn()
		for from := 0; from < len(args); from += manyAtOnce {
			some := args[from:min(from+manyAtOnce, len(args))]
			var batch pgx.Batch
			for i, a := range some {
				batch.Queue(query, a...).Query(func(rows pgx.Rows) error {
					for rows.Next() && row != nil {
						if err := row(from+i, rows); err != nil {
							return err
						}
					}
					return rows.Err()
				})
			}
			if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (postgres) explain() string { return "EXPLAIN " }

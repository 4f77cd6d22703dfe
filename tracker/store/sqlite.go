package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/firn-log/firn/internal/durable"
)

// readers is how many connections read at once.
const readers = 4

// sqlite is the embedded database: a file, a log of writes beside it (WAL), so that
// readers and the writer do not wait for each other, and a lock file.
type sqlite struct{}

func (sqlite) open(ctx context.Context, path string) (w, r *sql.DB, done func() error, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, nil, nil, err
	}
	lock, err := durable.Acquire(path + ".lock")
	if err != nil {
		return nil, nil, nil, err
	}
	// The allocator of the driver rounds a page up to 8 KiB: caches take twice the memory that they are given.
	w, err = sql.Open("sqlite", sqliteName(path, "_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=cache_size(-24576)&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)"))
	if err == nil {
		w.SetMaxOpenConns(1)
		err = w.PingContext(ctx) // makes the file, which readers do not
	}
	if err == nil {
		r, err = sqliteReaders(path)
	}
	done = func() error {
		for _, db := range []*sql.DB{r, w} {
			if db != nil {
				db.Close()
			}
		}
		return lock.Unlock()
	}
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return w, r, done, nil
}

func (sqlite) openReader(ctx context.Context, path string) (r *sql.DB, done func() error, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, nil, fmt.Errorf("there is none; firn-tracker rebuild makes it: %w", err)
	}
	if r, err = sqliteReaders(path); err != nil {
		return nil, nil, err
	}
	if err := r.PingContext(ctx); err != nil {
		r.Close()
		return nil, nil, err
	}
	return r, r.Close, nil
}

func sqliteReaders(path string) (*sql.DB, error) {
	r, err := sql.Open("sqlite", sqliteName(path, "mode=rw&_pragma=query_only(1)&_pragma=cache_size(-4096)"))
	if err == nil {
		r.SetMaxOpenConns(readers)
		r.SetMaxIdleConns(readers)
	}
	return r, err
}

func sqliteName(path, more string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)&" + more}
	return u.String()
}

func (sqlite) lock(context.Context, *sql.Conn) error { return nil }

func (sqlite) macros() *strings.Replacer {
	return strings.NewReplacer("{id}", "INTEGER PRIMARY KEY", "{int}", "INTEGER", "{text}", "TEXT", "{blob}", "BLOB", "{clustered}", "WITHOUT ROWID")
}

func (sqlite) spent(error) bool { return false }

func (sqlite) begin() string { return "BEGIN IMMEDIATE" }

// insert saves a journal of each statement, which nobody needs: no transaction goes on after an error.
func (sqlite) insert() string { return "INSERT OR FAIL INTO " }

func (sqlite) placeholders(rows, cols int) string {
	one := "(" + strings.Repeat("?,", cols-1) + "?)"
	return strings.Repeat(one+",", rows-1) + one
}

func (sqlite) bulk(context.Context, *sql.Conn, string, []string, []any) (bool, error) {
	return false, nil
}

func (sqlite) many(context.Context, *sql.Conn, string, [][]any, func(int, scanner) error) (bool, error) {
	return false, nil
}

func (sqlite) explain() string { return "EXPLAIN QUERY PLAN " }

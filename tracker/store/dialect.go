package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"strings"
)

// dialect is what differs between the two databases; the SQL of everything else is the same.
type dialect interface {
	// open returns the pool of the writer and that of readers, and what lets go of both and of the lock.
	open(ctx context.Context, dsn string) (w, r *sql.DB, done func() error, err error)
	// openReader returns a pool that only reads, from a database that is there, and what lets go of it.
	openReader(ctx context.Context, dsn string) (r *sql.DB, done func() error, err error)
	// lock makes the writer's connection the only one, if open has not done so.
	lock(ctx context.Context, c *sql.Conn) error
	macros() *strings.Replacer
	// spent reports whether the connection of a transaction that failed so can take no other one.
	spent(err error) bool
	begin() string
	// insert begins a statement that inserts rows that are not there yet; if one is, the transaction fails.
	insert() string
	// placeholders returns the list of a statement that inserts rows of cols columns.
	placeholders(rows, cols int) string
	// bulk inserts rows that are not there yet, fast, and reports whether it did; if not, insert them plainly.
	bulk(ctx context.Context, c *sql.Conn, table string, columns []string, args []any) (bool, error)
	// many runs a statement with each of args, without waiting for one answer before it asks the next, and reports whether it
	// did; if not, run one after the other. row gets the rows of all, in this order, with the number of the args; it may be nil.
	many(ctx context.Context, c *sql.Conn, query string, args [][]any, row func(int, scanner) error) (bool, error)
	explain() string
}

// scanner is a row of an answer.
type scanner interface{ Scan(dest ...any) error }

//go:embed schema/*.sql
var schemas embed.FS

// schemaVersion is the number of the newest file in schema.
const schemaVersion = 1

// migrate brings the tables up to date within a transaction of c.
func migrate(ctx context.Context, c *sql.Conn, d dialect) error {
	if _, err := c.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY)"); err != nil {
		return err
	}
	var have sql.NullInt64
	if err := c.QueryRowContext(ctx, "SELECT MAX(version) FROM migration").Scan(&have); err != nil {
		return err
	}
	if have.Int64 > schemaVersion {
		return fmt.Errorf("the database has version %d of the tables, this program knows %d: use a newer firn-tracker, or another database", have.Int64, schemaVersion)
	}
	for v := have.Int64 + 1; v <= schemaVersion; v++ {
		text, err := schemas.ReadFile(fmt.Sprintf("schema/%04d.sql", v))
		if err != nil {
			return err
		}
		for _, stmt := range splitSQL(string(text)) {
			if _, err := c.ExecContext(ctx, d.macros().Replace(stmt)); err != nil {
				return fmt.Errorf("table version %d: %w", v, err)
			}
		}
		if _, err := c.ExecContext(ctx, "INSERT INTO migration (version) VALUES ($1)", v); err != nil {
			return err
		}
	}
	return nil
}

// splitSQL returns the statements of a schema file, without comments.
func splitSQL(text string) (stmts []string) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	for s := range strings.SplitSeq(b.String(), ";") {
		if s = strings.TrimSpace(s); s != "" {
			stmts = append(stmts, s)
		}
	}
	return stmts
}

// tables are those of the schema, in the order in which they are dropped and created.
func tables() (names []string) {
	for v := 1; v <= schemaVersion; v++ {
		text, err := schemas.ReadFile(fmt.Sprintf("schema/%04d.sql", v))
		if err != nil {
			return nil
		}
		for _, s := range splitSQL(string(text)) {
			if rest, ok := strings.CutPrefix(s, "CREATE TABLE "); ok {
				name, _, _ := strings.Cut(rest, " ")
				names = append(names, name)
			}
		}
	}
	return names
}

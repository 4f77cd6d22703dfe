package indexdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/firn-log/firn/log/statement"
)

// IndexOf returns the index of the entry with this statement id, and whether
// there is one.
func (db *DB) IndexOf(ctx context.Context, id statement.ID) (uint64, bool, error) {
	found, err := db.IndexesOf(ctx, []statement.ID{id})
	index, ok := found[id]
	return index, ok, err
}

// IndexesOf is IndexOf for many ids at once; those that are not there are
// missing in what it returns.
func (db *DB) IndexesOf(ctx context.Context, ids []statement.ID) (map[statement.ID]uint64, error) {
	found := make(map[statement.ID]uint64)
	err := db.chunks(ctx, db.stmts.ids, db.stmts.id, len(ids), func(i int) any { return ids[i][:] }, func(rows *sql.Rows) error {
		var id []byte
		var index int64
		if err := rows.Scan(&id, &index); err != nil {
			return err
		}
		found[statement.ID(id)] = uint64(index)
		return nil
	})
	return found, err
}

// Claims returns how many claims a signer has made about each subject; subjects
// without any are missing in what it returns.
func (db *DB) Claims(ctx context.Context, signer statement.KeyID, subjects []string) (map[string]uint64, error) {
	counts := make(map[string]uint64)
	names := make(map[claimHash]string, len(subjects))
	hashes := make([]claimHash, len(subjects))
	for i, subject := range subjects {
		hashes[i] = hashClaim(signer, subject)
		names[hashes[i]] = subject
	}
	err := db.chunks(ctx, db.stmts.claims, db.stmts.claim, len(subjects), func(i int) any { return hashes[i][:] }, func(rows *sql.Rows) error {
		var k []byte
		var n int64
		if err := rows.Scan(&k, &n); err != nil {
			return err
		}
		counts[names[claimHash(k)]] = uint64(n)
		return nil
	})
	return counts, err
}

// chunks runs many for n parameters, chunk of them at a time, and calls scan with
// each row; one does the same for a single one.
// Missing parameters are NULL, which nothing equals.
//
// The context is not handed on: it would cost SQLite's driver a goroutine per
// query, and each takes microseconds.
func (db *DB) chunks(ctx context.Context, many, one *sql.Stmt, n int, param func(int) any, scan func(*sql.Rows) error) error {
	stmt, width := many, chunk
	if n == 1 {
		stmt, width = one, 1
	}
	args := make([]any, width)
	for from := 0; from < n; from += width {
		if err := ctx.Err(); err != nil {
			return err
		}
		for j := range width {
			args[j] = nil
			if from+j < n {
				args[j] = param(from + j)
			}
		}
		rows, err := stmt.QueryContext(context.WithoutCancel(ctx), args...)
		if err == nil {
			for err == nil && rows.Next() {
				err = scan(rows)
			}
			err = errors.Join(err, rows.Err(), rows.Close())
		}
		if err != nil {
			return fmt.Errorf("reading the index: %w", err)
		}
	}
	return nil
}

// A Revision is where a revision of the index is.
type Revision struct {
	Size  uint64
	Index uint64
}

// Revision returns the index of the revision of a size, and whether there is one.
func (db *DB) Revision(ctx context.Context, size uint64) (uint64, bool, error) {
	return one(db.read.QueryRowContext(ctx, "SELECT idx FROM revisions WHERE size = ?", int64(min(size, math.MaxInt64))))
}

// Revisions calls f with each revision below an index, the newest first, until it
// returns false.
func (db *DB) Revisions(ctx context.Context, below uint64, f func(Revision) bool) error {
	rows, err := db.read.QueryContext(ctx, "SELECT size, idx FROM revisions WHERE size < ? ORDER BY size DESC", int64(below))
	if err != nil {
		return fmt.Errorf("reading the index: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var size, idx int64
		if err := rows.Scan(&size, &idx); err != nil {
			return fmt.Errorf("reading the index: %w", err)
		}
		if uint64(idx) < below && !f(Revision{uint64(size), uint64(idx)}) {
			return nil
		}
	}
	return rows.Err()
}

// Against returns the index of the first entry from an index on that is evidence
// against a key, by its index key, and whether there is one.
func (db *DB) Against(ctx context.Context, key string, from uint64) (uint64, bool, error) {
	return one(db.read.QueryRowContext(ctx, "SELECT idx FROM accused WHERE k = ? AND idx >= ? ORDER BY idx LIMIT 1", accusedHash(key), int64(from)))
}

func one(row *sql.Row) (uint64, bool, error) {
	var n int64
	switch err := row.Scan(&n); {
	case errors.Is(err, sql.ErrNoRows):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("reading the index: %w", err)
	}
	return uint64(n), true, nil
}

// People calls f with every leaf that the index kept, in the order of the log.
func (db *DB) People(ctx context.Context, f func(index uint64, leaf []byte) error) error {
	rows, err := db.read.QueryContext(ctx, "SELECT idx, leaf FROM people ORDER BY idx")
	if err != nil {
		return fmt.Errorf("reading the index: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var index int64
		var leaf []byte
		if err := rows.Scan(&index, &leaf); err != nil {
			return fmt.Errorf("reading the index: %w", err)
		}
		if err := f(uint64(index), leaf); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Usage returns the counters of a day, and forgets those of the days before. The
// day is today, or the latest that it ever was: it is kept, as the counter
// without a name, so that a clock that is set back brings no day again.
func (db *DB) Usage(ctx context.Context, today int64) (day int64, all []Usage, err error) {
	for _, change := range []string{
		"INSERT INTO usage VALUES(?, '', 0, 0) ON CONFLICT DO NOTHING",
		"DELETE FROM usage WHERE day < max(?, (SELECT max(day) FROM usage))",
	} {
		if _, err := db.write.ExecContext(ctx, change, today); err != nil {
			return 0, nil, fmt.Errorf("writing the index: %w", err)
		}
	}
	day = today
	rows, err := db.write.QueryContext(ctx, "SELECT day, name, statements, bytes FROM usage")
	if err != nil {
		return 0, nil, fmt.Errorf("reading the index: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var u Usage
		var statements, bytes int64
		if err := rows.Scan(&u.Day, &u.Name, &statements, &bytes); err != nil {
			return 0, nil, fmt.Errorf("reading the index: %w", err)
		}
		u.Statements, u.Bytes = uint64(statements), uint64(bytes)
		day = u.Day // they all have the same
		if u.Name != "" {
			all = append(all, u)
		}
	}
	return day, all, rows.Err()
}

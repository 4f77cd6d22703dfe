package indexdb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

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
	err := db.chunks(ctx, db.stmts.ids, db.stmts.id, len(ids), nil, func(i int) any { return ids[i][:] }, func(rows *sql.Rows) error {
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

// Claims returns how many entries under each index key are signer's; keys
// without any are missing in what it returns.
func (db *DB) Claims(ctx context.Context, signer statement.KeyID, keys []string) (map[string]uint64, error) {
	counts := make(map[string]uint64)
	db.mu.RLock()
	sid, ok := db.sids[signer]
	db.mu.RUnlock()
	if !ok {
		return counts, nil
	}
	names := make(map[[32]byte]string, len(keys))
	hashes := make([][32]byte, len(keys))
	for i, k := range keys {
		hashes[i] = sha256.Sum256([]byte(k))
		names[hashes[i]] = k
	}
	err := db.chunks(ctx, db.stmts.claims, db.stmts.claim, len(keys), []any{sid}, func(i int) any { return hashes[i][:] }, func(rows *sql.Rows) error {
		var k []byte
		var n int64
		if err := rows.Scan(&k, &n); err != nil {
			return err
		}
		counts[names[[32]byte(k)]] = uint64(n)
		return nil
	})
	return counts, err
}

// chunks runs many for n parameters, chunk of them at a time after the fixed
// ones, and calls scan with each row; one does the same for a single one.
// Missing parameters are NULL, which nothing equals.
//
// The context is not handed on: it would cost SQLite's driver a goroutine per
// query, and each takes microseconds.
func (db *DB) chunks(ctx context.Context, many, one *sql.Stmt, n int, fixed []any, param func(int) any, scan func(*sql.Rows) error) error {
	stmt, width := many, chunk
	if n == 1 {
		stmt, width = one, 1
	}
	args := make([]any, len(fixed)+width)
	copy(args, fixed)
	for from := 0; from < n; from += width {
		if err := ctx.Err(); err != nil {
			return err
		}
		for j := range width {
			args[len(fixed)+j] = nil
			if from+j < n {
				args[len(fixed)+j] = param(from + j)
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

// An Entry is one entry of the list under a key.
type Entry struct {
	Index  uint64
	Signer statement.KeyID
}

// List returns the entries under an index key with from ≤ index < to, in
// order, at most limit of them, and whether there are more.
func (db *DB) List(ctx context.Context, key string, from, to uint64, limit int) (entries []Entry, more bool, err error) {
	h := sha256.Sum256([]byte(key))
	rows, err := db.stmts.list.QueryContext(context.WithoutCancel(ctx), h[:], int64(from), int64(to), limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("reading the index: %w", err)
	}
	defer rows.Close()
	db.mu.RLock()
	defer db.mu.RUnlock()
	for rows.Next() {
		var index, sid int64
		if err := rows.Scan(&index, &sid); err != nil {
			return nil, false, fmt.Errorf("reading the index: %w", err)
		}
		if len(entries) == limit {
			return entries, true, nil
		}
		signer, ok := db.signers[sid]
		if !ok {
			return nil, false, fmt.Errorf("reading the index: entry %d has a signer that it does not know", index)
		}
		entries = append(entries, Entry{uint64(index), signer})
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("reading the index: %w", err)
	}
	return entries, false, nil
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

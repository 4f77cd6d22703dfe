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
	var index int64
	err := db.stmts.id.QueryRowContext(ctx, id[:]).Scan(&index)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading the index: %w", err)
	}
	return uint64(index), true, nil
}

// Claims returns how many entries under an index key are signer's, counting no
// further than limit.
func (db *DB) Claims(ctx context.Context, key string, signer statement.KeyID, limit uint64) (uint64, error) {
	db.mu.RLock()
	sid, ok := db.sids[signer]
	db.mu.RUnlock()
	if !ok {
		return 0, nil
	}
	var n int64
	h := sha256.Sum256([]byte(key))
	if err := db.stmts.claims.QueryRowContext(ctx, h[:], sid, int64(limit)).Scan(&n); err != nil {
		return 0, fmt.Errorf("reading the index: %w", err)
	}
	return uint64(n), nil
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
	rows, err := db.stmts.list.QueryContext(ctx, h[:], int64(from), int64(to), limit+1)
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

// Usage returns the counters of one day, and forgets those of the days before.
func (db *DB) Usage(ctx context.Context, day int64) ([]Usage, error) {
	if _, err := db.write.ExecContext(ctx, "DELETE FROM usage WHERE day < ?", day); err != nil {
		return nil, fmt.Errorf("writing the index: %w", err)
	}
	rows, err := db.write.QueryContext(ctx, "SELECT day, name, statements, bytes FROM usage WHERE day = ?", day)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	defer rows.Close()
	var all []Usage
	for rows.Next() {
		var u Usage
		var statements, bytes int64
		if err := rows.Scan(&u.Day, &u.Name, &statements, &bytes); err != nil {
			return nil, fmt.Errorf("reading the index: %w", err)
		}
		u.Statements, u.Bytes = uint64(statements), uint64(bytes)
		all = append(all, u)
	}
	return all, rows.Err()
}

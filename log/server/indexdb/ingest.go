package indexdb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/firn-log/firn/log/statement"
)

// A Row is what the index keeps of one entry.
type Row struct {
	ID     statement.ID
	Signer statement.KeyID
	Keys   []string // index keys
	Leaf   []byte   // of statements about people and the log; nil for claims
}

// Usage is how much of a day's budget somebody has used.
type Usage struct {
	Day        int64  // days since 1970, UTC
	Name       string // a key id, or "unvouched"
	Statements uint64
	Bytes      uint64
}

// statements are prepared once: preparing costs more than running.
type statements struct {
	id, claim, list            *sql.Stmt // reading one
	ids, claims                *sql.Stmt // reading chunk at once
	addIDs, addLists           *sql.Stmt // writing chunk rows at once
	addID, addList             *sql.Stmt // writing one row
	addSigner, addPeople, meta *sql.Stmt
	setUsage                   *sql.Stmt
}

// chunk is how many rows one INSERT takes; most of its cost is per statement.
const chunk = 64

func (s *statements) prepare(ctx context.Context, write, read *sql.DB) error {
	many := func(row string) string { return strings.Repeat(row+",", chunk-1) + row }
	for _, p := range []struct {
		db   *sql.DB
		stmt **sql.Stmt
		sql  string
	}{
		{read, &s.id, "SELECT id, idx FROM ids WHERE id = ?"},
		{read, &s.ids, "SELECT id, idx FROM ids WHERE id IN (" + many("?") + ")"},
		{read, &s.claim, "SELECT k, count(*) FROM lists WHERE sid = ? AND k = ? GROUP BY k"},
		{read, &s.claims, "SELECT k, count(*) FROM lists WHERE sid = ? AND k IN (" + many("?") + ") GROUP BY k"},
		{read, &s.list, "SELECT idx, sid FROM lists WHERE k = ? AND idx >= ? AND idx < ? ORDER BY idx LIMIT ?"},
		{write, &s.addIDs, "INSERT OR IGNORE INTO ids VALUES" + many("(?,?)")},
		{write, &s.addLists, "INSERT INTO lists VALUES" + many("(?,?,?)")},
		{write, &s.addID, "INSERT OR IGNORE INTO ids VALUES(?,?)"},
		{write, &s.addList, "INSERT INTO lists VALUES(?,?,?)"},
		{write, &s.addSigner, "INSERT INTO signers VALUES(?,?)"},
		{write, &s.addPeople, "INSERT INTO people VALUES(?,?)"},
		{write, &s.meta, "UPDATE meta SET value = ? WHERE name = ?"},
		{write, &s.setUsage, "INSERT INTO usage VALUES(?1,?2,?3,?4) ON CONFLICT(day, name) DO UPDATE SET statements = ?3, bytes = ?4"},
	} {
		stmt, err := p.db.PrepareContext(ctx, p.sql)
		if err != nil {
			return err
		}
		*p.stmt = stmt
	}
	return nil
}

// Ingest adds the entries that follow those it has, all or none of them, and
// says that the tree of next.Size entries has next.Root. usage replaces the
// counters it names.
func (db *DB) Ingest(ctx context.Context, rows []Row, next State, usage []Usage) error {
	from := db.State().Size
	if next.Size != from+uint64(len(rows)) {
		return fmt.Errorf("ingesting %d entries after %d, want size %d", len(rows), from, next.Size)
	}
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	defer tx.Rollback()
	added, n, err := db.writeRows(ctx, tx, from, rows)
	n += db.rows
	if err == nil {
		err = db.writeState(ctx, tx, next, n, usage)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for key, sid := range added {
		db.sids[key], db.signers[sid] = sid, key
	}
	db.state, db.rows = next, n
	return nil
}

func (db *DB) writeRows(ctx context.Context, tx *sql.Tx, from uint64, rows []Row) (added map[statement.KeyID]int64, n uint64, err error) {
	var ids, lists [][]any
	added = make(map[statement.KeyID]int64)
	for i, r := range rows {
		index := int64(from) + int64(i)
		if !r.Signer.IsZero() {
			ids = append(ids, []any{r.ID[:], index})
			sid, err := db.sid(ctx, tx, added, r.Signer)
			if err != nil {
				return nil, 0, err
			}
			for _, k := range r.Keys {
				h := sha256.Sum256([]byte(k))
				lists = append(lists, []any{h[:], index, sid})
			}
		}
		if r.Leaf != nil {
			if _, err := tx.StmtContext(ctx, db.stmts.addPeople).ExecContext(ctx, index, r.Leaf); err != nil {
				return nil, 0, err
			}
			n++
		}
	}
	for _, table := range []struct {
		many, one *sql.Stmt
		rows      [][]any
	}{{db.stmts.addIDs, db.stmts.addID, ids}, {db.stmts.addLists, db.stmts.addList, lists}} {
		inserted, err := insert(ctx, tx, table.many, table.one, table.rows)
		if err != nil {
			return nil, 0, err
		}
		n += inserted
	}
	return added, n, nil
}

// insert writes rows sorted by their first column, so that neighbours in the
// table are written together. It returns how many were not there yet.
func insert(ctx context.Context, tx *sql.Tx, many, one *sql.Stmt, rows [][]any) (n uint64, err error) {
	slices.SortStableFunc(rows, func(a, b []any) int { return bytes.Compare(a[0].([]byte), b[0].([]byte)) })
	many, one = tx.StmtContext(ctx, many), tx.StmtContext(ctx, one)
	add := func(stmt *sql.Stmt, args []any) error {
		res, err := stmt.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		affected, err := res.RowsAffected()
		n += uint64(affected)
		return err
	}
	for len(rows) >= chunk {
		if err := add(many, slices.Concat(rows[:chunk]...)); err != nil {
			return n, err
		}
		rows = rows[chunk:]
	}
	for _, r := range rows {
		if err := add(one, r); err != nil {
			return n, err
		}
	}
	return n, nil
}

// sid returns the number of a signer, a new one if it is new.
func (db *DB) sid(ctx context.Context, tx *sql.Tx, added map[statement.KeyID]int64, key statement.KeyID) (int64, error) {
	db.mu.RLock()
	sid, ok := db.sids[key]
	next := int64(len(db.sids) + len(added) + 1)
	db.mu.RUnlock()
	if ok {
		return sid, nil
	}
	if sid, ok := added[key]; ok {
		return sid, nil
	}
	if _, err := tx.StmtContext(ctx, db.stmts.addSigner).ExecContext(ctx, next, key[:]); err != nil {
		return 0, err
	}
	added[key] = next
	return next, nil
}

func (db *DB) writeState(ctx context.Context, tx *sql.Tx, next State, rows uint64, usage []Usage) error {
	for name, value := range map[string][]byte{
		"size": []byte(strconv.FormatUint(next.Size, 10)), "root": next.Root[:],
		"rows": []byte(strconv.FormatUint(rows, 10)),
	} {
		if _, err := tx.StmtContext(ctx, db.stmts.meta).ExecContext(ctx, value, name); err != nil {
			return err
		}
	}
	for _, u := range usage {
		if _, err := tx.StmtContext(ctx, db.stmts.setUsage).ExecContext(ctx, u.Day, u.Name, int64(u.Statements), int64(u.Bytes)); err != nil {
			return err
		}
	}
	return nil
}

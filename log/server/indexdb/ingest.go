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
	ID       statement.ID
	Signer   statement.KeyID // zero: a leaf that could not be read
	Subjects []string        // what it is a claim about, each once
	Leaf     []byte          // of statements about people and the log; nil for others
	Revision uint64          // the size that it is a revision of; 0 for others
	Accused  string          // index key of the key that it is evidence against; "" for others
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
	id, claim           *sql.Stmt // reading one
	ids, claims         *sql.Stmt // reading chunk at once
	addIDs, addClaims   *sql.Stmt // writing chunk rows at once
	addID, addClaim     *sql.Stmt // writing one row
	addPeople, meta     *sql.Stmt
	addRevision, accuse *sql.Stmt
	setUsage            *sql.Stmt
}

// chunk is how many rows one INSERT takes; most of its cost is per statement.
const chunk = 64

func (s *statements) prepare(ctx context.Context, write, read *sql.DB) error {
	const count = " ON CONFLICT(k) DO UPDATE SET n = n + excluded.n"
	many := func(row string) string { return strings.Repeat(row+",", chunk-1) + row }
	for _, p := range []struct {
		db   *sql.DB
		stmt **sql.Stmt
		sql  string
	}{
		{read, &s.id, "SELECT id, idx FROM ids WHERE id = ?"},
		{read, &s.ids, "SELECT id, idx FROM ids WHERE id IN (" + many("?") + ")"},
		{read, &s.claim, "SELECT k, n FROM claims WHERE k = ?"},
		{read, &s.claims, "SELECT k, n FROM claims WHERE k IN (" + many("?") + ")"},
		{write, &s.addIDs, "INSERT OR IGNORE INTO ids VALUES" + many("(?,?)")},
		{write, &s.addID, "INSERT OR IGNORE INTO ids VALUES(?,?)"},
		{write, &s.addClaims, "INSERT INTO claims VALUES" + many("(?,?)") + count},
		{write, &s.addClaim, "INSERT INTO claims VALUES(?,?)" + count},
		{write, &s.addRevision, "INSERT OR IGNORE INTO revisions VALUES(?,?)"},
		{write, &s.accuse, "INSERT INTO accused VALUES(?,?)"},
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
	n, err := db.writeRows(ctx, tx, from, rows)
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
	db.state, db.rows = next, n
	return nil
}

// writeRows returns by how much the number of rows has grown.
func (db *DB) writeRows(ctx context.Context, tx *sql.Tx, from uint64, rows []Row) (n uint64, err error) {
	var ids [][]any
	claims := make(map[claimHash]int64)
	for i, r := range rows {
		index := int64(from) + int64(i)
		if !r.Signer.IsZero() {
			ids = append(ids, []any{r.ID[:], index})
		}
		for _, subject := range r.Subjects {
			claims[hashClaim(r.Signer, subject)]++
			n++
		}
		few, err := db.writeFew(ctx, tx, index, r)
		if err != nil {
			return 0, err
		}
		n += few
	}
	added, err := insert(ctx, tx, db.stmts.addIDs, db.stmts.addID, ids)
	if err != nil {
		return 0, err
	}
	counts := make([][]any, 0, len(claims))
	for k, count := range claims {
		counts = append(counts, []any{k[:], count})
	}
	_, err = insert(ctx, tx, db.stmts.addClaims, db.stmts.addClaim, counts)
	return n + added, err
}

// writeFew writes what few rows have.
func (db *DB) writeFew(ctx context.Context, tx *sql.Tx, index int64, r Row) (n uint64, err error) {
	for _, w := range []struct {
		stmt *sql.Stmt
		has  bool
		args [2]any
	}{
		{db.stmts.addPeople, r.Leaf != nil, [2]any{index, r.Leaf}},
		{db.stmts.addRevision, r.Revision > 0, [2]any{int64(r.Revision), index}},
		{db.stmts.accuse, r.Accused != "", [2]any{accusedHash(r.Accused), index}},
	} {
		if !w.has {
			continue
		}
		res, err := tx.StmtContext(ctx, w.stmt).ExecContext(ctx, w.args[:]...)
		if err != nil {
			return 0, err
		}
		affected, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		n += uint64(affected)
	}
	return n, nil
}

// A claimHash stands for a signer and a subject.
type claimHash [16]byte

func hashClaim(signer statement.KeyID, subject string) claimHash {
	h := sha256.Sum256(append(signer[:], subject...))
	return claimHash(h[:16])
}

func accusedHash(key string) []byte {
	h := sha256.Sum256([]byte(key))
	return h[:]
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

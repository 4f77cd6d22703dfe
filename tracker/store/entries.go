package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/firn-log/firn/log/statement"
)

// An Entry is one entry of a log whose inclusion is verified.
type Entry struct {
	Index     uint64
	Leaf      []byte
	Statement *statement.Statement // nil if Leaf does not parse
	// Verified says that the signature was verified. If not, the database verifies it as soon
	// as it knows the key, which may come later.
	Verified bool
	// List is the blob of the list that a closure names by its digest; nil for anything else, and
	// if the log does not have it. What is not that list is ignored.
	List []byte
}

// openLog returns the row of a log, which it makes if need be.
func (tx *Tx) openLog(ctx context.Context, origin string) (*logState, error) {
	if l := tx.logs[origin]; l != nil {
		return l, nil
	}
	l := &logState{id: tx.id("log")}
	view, err := json.Marshal(LogView{Origin: origin})
	if err != nil {
		return nil, err
	}
	if err := tx.exec(ctx, "INSERT INTO log (id, origin, next, size, root, view) VALUES ($1, $2, 0, 0, $3, $4)", l.id, origin, []byte{}, string(view)); err != nil {
		return nil, err
	}
	tx.logs[origin], tx.origins[l.id] = l, origin
	return l, nil
}

// SetCheckpoint replaces what is known of the health of a log. root is that of
// the newest verified checkpoint.
func (tx *Tx) SetCheckpoint(ctx context.Context, v LogView, root [32]byte) error {
	l, err := tx.openLog(ctx, v.Origin)
	if err != nil {
		return err
	}
	view, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.exec(ctx, "UPDATE log SET size = $1, root = $2, view = $3 WHERE id = $4", int64(v.Size), root[:], string(view), l.id)
}

// AddEntries adds entries of a log, which follow what is there without a gap:
// anything else is an error. Leaves are kept; do not change them. What people say is taken into
// account for older entries too.
func (tx *Tx) AddEntries(ctx context.Context, origin string, entries []Entry) error {
	l, err := tx.openLog(ctx, origin)
	if err != nil {
		return fmt.Errorf("adding entries of %s: %w", origin, err)
	}
	for i, e := range entries {
		if e.Index != l.next+uint64(i) {
			return fmt.Errorf("adding entries of %s: entry %d where %d is next", origin, e.Index, l.next+uint64(i))
		}
	}
	if err := tx.addEntries(ctx, origin, l, entries); err != nil {
		return fmt.Errorf("adding entries of %s: %w", origin, err)
	}
	l.next += uint64(len(entries))
	if err := tx.exec(ctx, "UPDATE log SET next = $1 WHERE id = $2", int64(l.next), l.id); err != nil {
		return fmt.Errorf("adding entries of %s: %w", origin, err)
	}
	return nil
}

// newStatement is a statement of the entries that are being added.
type newStatement struct {
	*statement.Statement
	id    int64 // 0 if it was there before
	row   int64
	list  []byte
	sid   statement.ID
	leaf  []byte
	index uint64
	sig   int64
	op    int64
}

func (tx *Tx) addEntries(ctx context.Context, origin string, l *logState, entries []Entry) error {
	// What was added before in this transaction may be recounted.
	if err := tx.flush(ctx); err != nil {
		return err
	}
	if err := tx.addPeople(ctx, origin, entries); err != nil {
		return err
	}
	all := make([]newStatement, 0, len(entries))
	for _, e := range entries {
		if e.Statement != nil {
			n := newStatement{Statement: e.Statement, sid: e.Statement.ID(), leaf: e.Leaf, index: e.Index, list: e.List}
			n.sig = tx.checkSignature(e.Statement, e.Verified)
			all = append(all, n)
		}
	}
	again, err := tx.insertStatements(ctx, origin, l, all)
	if err != nil {
		return err
	}
	if err := tx.addLists(ctx, all); err != nil {
		return err
	}
	fresh := slices.DeleteFunc(all, func(n newStatement) bool { return n.id == 0 })
	if err := tx.addClaims(ctx, fresh); err != nil {
		return err
	}
	if len(again) == 0 {
		return nil
	}
	if err := tx.flush(ctx); err != nil {
		return err
	}
	for _, id := range again {
		if err := tx.recount(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

var (
	stmtTable  = newTable("stmt", "id h sid kind signer time op leaf", "")
	placeTable = newTable("place", "stmt log idx sig", "")
	copyTable  = newTable("copy", "stmt log idx leaf", "")
)

// insertStatements inserts statements that are not there yet, and the places of all. It sets
// id of those that are new, and returns those that were there before.
func (tx *Tx) insertStatements(ctx context.Context, origin string, l *logState, all []newStatement) (again []int64, err error) {
	known, err := tx.knownStatements(ctx, all)
	if err != nil {
		return nil, err
	}
	stmts, places, copies := stmtTable.rows(), placeTable.rows(), copyTable.rows()
	leaves := make(map[int64][]byte)
	for i := range all {
		n := &all[i]
		id, old := known[n.sid]
		if !old {
			n.id = tx.id("stmt")
			id = n.id
			known[n.sid], leaves[id] = id, n.leaf
			signer, err := tx.signer(ctx, n.Signer, true)
			if err != nil {
				return nil, err
			}
			if n.sig == sigGood {
				n.op = tx.voters[tx.reg.Live(n.Signer, n.sid, origin, n.index)]
			}
			stmts.add(id, first60(n.sid[:]), n.sid[:], string(n.Kind), signer, timeOf(n.Body), n.op, n.leaf)
		} else if !slices.Contains(again, id) {
			again = append(again, id)
		}
		n.row = id
		places.add(id, l.id, int64(n.index), n.sig)
		if old && n.sig == sigUnknown {
			if leaf := leaves[id]; leaf == nil || !bytes.Equal(leaf, n.leaf) {
				copies.add(id, l.id, int64(n.index), n.leaf)
			}
		} else if old && n.Kind.Class() == statement.People {
			copies.add(id, l.id, int64(n.index), n.leaf)
		}
	}
	tx.stats["statements"] += int64(len(stmts.args) / len(stmtTable.columns))
	for _, r := range []*rows{&stmts, &places, &copies} {
		if err := r.write(ctx, tx); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// knownStatements returns the rows of those that the database holds.
func (tx *Tx) knownStatements(ctx context.Context, all []newStatement) (map[statement.ID]int64, error) {
	hs := make([]int64, len(all))
	for i := range all {
		hs[i] = first60(all[i].sid[:])
	}
	slices.Sort(hs)
	known := make(map[statement.ID]int64, len(all))
	err := eachIn(ctx, tx, "SELECT id, sid FROM stmt WHERE h IN ?", nil, slices.Compact(hs), func(r *sql.Rows) error {
		var id int64
		var sid []byte
		if err := r.Scan(&id, &sid); err != nil {
			return err
		}
		known[statement.ID(sid)] = id
		return nil
	})
	return known, err
}

var (
	claimTable   = newTable("claim", "out op k stmt n class time nar rest impl path", "")
	furtherTable = newTable("further", "out op what time stmt n", "")
	diffTable    = newTable("diff", "out stmt op a b", "")
)

// addClaims adds what new statements say about outputs.
func (tx *Tx) addClaims(ctx context.Context, all []newStatement) error {
	claims := make([][]said, len(all))
	var keys []outKey
	for i := range all {
		claims[i] = claimsOf(all[i].Statement)
		for j := range claims[i] {
			keys = append(keys, claims[i][j].about)
		}
		keys = append(keys, othersOf(all[i].Body)...)
	}
	outs, err := tx.outputs(ctx, keys)
	if err != nil {
		return err
	}
	for i := range all {
		for j := range claims[i] {
			c := &claims[i][j]
			c.stmt, c.op = all[i].id, all[i].op
			tx.addClaim(outs[c.about], c.claim)
		}
		if err := tx.addOther(ctx, all[i].id, all[i].op, all[i].Body, outs); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) addClaim(out int64, c claim) {
	tx.stats["claims"]++
	if c.op == 0 {
		tx.further.add(c.furtherRow(out)...)
		return
	}
	ch := tx.touch(out)
	ch.add = append(ch.add, c)
}

// othersOf returns the outputs that a statement names without claiming anything of their content.
func othersOf(b statement.Body) (keys []outKey) {
	switch b := b.(type) {
	case *statement.Diff:
		keys = append(keys, outKey{path: b.Path.Base()})
	case *statement.Closure:
		for _, p := range b.Paths {
			keys = append(keys, outKey{path: p.Base()})
		}
	}
	return keys
}

// addOther adds diffs and, if they count, closures.
func (tx *Tx) addOther(ctx context.Context, id, op int64, b statement.Body, outs map[outKey]int64) error {
	switch b := b.(type) {
	case *statement.Diff:
		r := diffTable.rows()
		r.add(outs[outKey{path: b.Path.Base()}], id, op, b.A[:], b.B[:])
		return r.write(ctx, tx)
	case *statement.Closure:
		if op > 0 {
			return tx.addClosure(ctx, id, op, b)
		}
	}
	return nil
}

// recount finds out anew for whom a statement counts. Everything must be flushed.
func (tx *Tx) recount(ctx context.Context, id int64) error {
	var sid, kid, leaf []byte
	var was int64
	var kind string
	q := "SELECT s.sid, s.kind, g.kid, s.op, s.leaf FROM stmt s JOIN signer g ON g.id = s.signer WHERE s.id = $1"
	if ok, err := tx.one(ctx, q, []any{id}, &sid, &kind, &kid, &was, &leaf); err != nil || !ok {
		return err
	}
	op := int64(0)
	err := tx.each(ctx, "SELECT log, idx FROM place WHERE stmt = $1 AND sig = 1 ORDER BY log, idx", []any{id}, func(r *sql.Rows) error {
		var log int64
		var idx uint64
		if err := r.Scan(&log, &idx); err != nil {
			return err
		}
		if op == 0 {
			op = tx.voters[tx.reg.Live(statement.KeyID(kid), statement.ID(sid), tx.origins[log], idx)]
		}
		return nil
	})
	if err == nil && op == was && op > 0 && kind == string(statement.KindClosure) {
		var name string
		if _, err := tx.one(ctx, "SELECT name FROM closure WHERE id = $1", []any{id}, &name); err != nil {
			return err
		}
		return tx.placeClosure(ctx, id, op, name)
	}
	if err != nil || op == was {
		return err
	}
	if err := tx.exec(ctx, "UPDATE stmt SET op = $1 WHERE id = $2", op, id); err != nil {
		return err
	}
	s, err := statement.Parse(slices.Clone(leaf))
	if err != nil {
		return err
	}
	return tx.moveClaims(ctx, id, was, op, s)
}

// moveClaims gives what a statement says to another operator, or to nobody.
func (tx *Tx) moveClaims(ctx context.Context, id, was, op int64, s *statement.Statement) error {
	claims := claimsOf(s)
	if op > 0 {
		if err := tx.listed(ctx, id, s); err != nil {
			return err
		}
	}
	keys := othersOf(s.Body)
	for i := range claims {
		keys = append(keys, claims[i].about)
	}
	outs, err := tx.outputs(ctx, keys)
	if err != nil {
		return err
	}
	for i := range claims {
		c := &claims[i]
		out := outs[c.about]
		c.stmt, c.op = id, was
		if was == 0 {
			if err := tx.deleteFurther(ctx, c.furtherRow(out)); err != nil {
				return err
			}
		} else {
			ch := tx.touch(out)
			ch.del = append(ch.del, c.claim)
		}
		c.op = op
		tx.addClaim(out, c.claim)
		tx.stats["claims"]--
	}
	switch b := s.Body.(type) {
	case *statement.Diff:
		return tx.exec(ctx, "UPDATE diff SET op = $1 WHERE out = $2 AND stmt = $3", op, outs[outKey{path: b.Path.Base()}], id)
	case *statement.Closure:
		if was > 0 {
			if err := tx.dropClosure(ctx, id); err != nil {
				return err
			}
		}
		if op > 0 {
			return tx.addClosure(ctx, id, op, b)
		}
	}
	return nil
}

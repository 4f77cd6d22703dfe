package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

var (
	closureTable = newTable("closure", "id name op count known agree differ missing copying fod_agree fod_differ fod_missing", "")
	memberTable  = newTable("closure_output", "closure state out", "")
)

// addLists keeps the lists of closures that name them by a digest. A closure that is new
// gets its members from it; one that was added without them before, too.
func (tx *Tx) addLists(ctx context.Context, all []newStatement) error {
	fresh := make(map[int64]*newStatement)
	for i := range all {
		if all[i].id != 0 {
			fresh[all[i].id] = &all[i]
		}
	}
	for i := range all {
		n := &all[i]
		b, ok := n.Body.(*statement.Closure)
		if !ok || b.Paths != nil || n.list == nil {
			continue
		}
		paths := membersOf(b, n.list)
		var is int64
		there, err := tx.one(ctx, "SELECT stmt FROM list WHERE stmt = $1", []any{n.row}, &is)
		if err != nil {
			return err
		}
		if there || paths == nil {
			continue
		}
		if err := tx.exec(ctx, "INSERT INTO list (stmt, paths) VALUES ($1, $2)", n.row, n.list); err != nil {
			return err
		}
		if f := fresh[n.row]; f == nil {
			err = tx.addMembers(ctx, n.row, n.leaf)
		} else if f.op > 0 {
			body, s := *b, *f.Statement
			body.Paths, s.Body = paths, &body
			f.Statement = &s
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addMembers adds a closure anew whose list came later than it, if it counts.
func (tx *Tx) addMembers(ctx context.Context, id int64, leaf []byte) error {
	var op int64
	if _, err := tx.one(ctx, "SELECT op FROM stmt WHERE id = $1", []any{id}, &op); err != nil || op == 0 {
		return err
	}
	s, err := statement.Parse(slices.Clone(leaf))
	if err != nil {
		return err
	}
	return tx.moveClaims(ctx, id, op, op, s)
}

// membersOf reads the list of a closure, nil if it is another's.
func membersOf(b *statement.Closure, list []byte) []nix.StorePath {
	if sha256.Sum256(list) != b.Digest {
		return nil
	}
	paths, err := statement.ParsePathsBlob(b.StoreDir, list)
	if err != nil || uint64(len(paths)) != b.Count {
		return nil
	}
	return paths
}

// listed gives a closure that has only a digest the list that the database keeps.
func (tx *Tx) listed(ctx context.Context, id int64, s *statement.Statement) error {
	b, ok := s.Body.(*statement.Closure)
	if !ok || b.Paths != nil {
		return nil
	}
	var list []byte
	if ok, err := tx.one(ctx, "SELECT paths FROM list WHERE stmt = $1", []any{id}, &list); err != nil || !ok {
		return err
	}
	b.Paths = membersOf(b, list)
	return nil
}

// addClosure adds a closure that counts, and what its members come to.
func (tx *Tx) addClosure(ctx context.Context, id, op int64, b *statement.Closure, outs map[outKey]int64) error {
	if err := tx.flush(ctx); err != nil { // so that the members' states are those of all claims
		return err
	}
	members := make([]int64, 0, len(b.Paths))
	for _, p := range b.Paths {
		members = append(members, outs[outKey{path: p.Base()}])
	}
	loaded, err := tx.loadOutputs(ctx, members)
	if err != nil {
		return err
	}
	var c counts
	rows := memberTable.rows()
	for _, out := range members {
		o := loaded[out]
		c.output(o.state, o.fod, 1)
		rows.add(id, int64(o.state), out)
	}
	r := closureTable.rows()
	r.add(append([]any{id, b.Name, op, int64(b.Count), int64(len(b.Paths))}, c.values(7)...)...)
	if err := r.write(ctx, tx); err != nil {
		return err
	}
	if err := tx.closureWords(ctx, id, 1, b.Name); err != nil {
		return err
	}
	return rows.write(ctx, tx)
}

func (tx *Tx) dropClosure(ctx context.Context, id int64) error {
	if err := tx.flush(ctx); err != nil {
		return err
	}
	var name string
	if _, err := tx.one(ctx, "SELECT name FROM closure WHERE id = $1", []any{id}, &name); err != nil {
		return err
	}
	if err := tx.closureWords(ctx, id, -1, name); err != nil {
		return err
	}
	if err := tx.exec(ctx, "DELETE FROM closure_output WHERE closure = $1", id); err != nil {
		return err
	}
	return tx.exec(ctx, "DELETE FROM closure WHERE id = $1", id)
}

// moveMembers brings closures up to date whose members' states are others.
func (tx *Tx) moveMembers(ctx context.Context, moved []movedOutput) error {
	by := make(map[int64]*movedOutput, len(moved))
	ids := make([]int64, 0, len(moved))
	for i := range moved {
		by[moved[i].is.id] = &moved[i]
		ids = append(ids, moved[i].is.id)
	}
	type member struct{ closure, out int64 }
	var members []member
	err := eachIn(ctx, tx, "SELECT closure, out FROM closure_output WHERE out IN ?", nil, ids, func(r *sql.Rows) error {
		var m member
		err := r.Scan(&m.closure, &m.out)
		members = append(members, m)
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range members {
		o := by[m.out]
		d := tx.closures[m.closure]
		d.output(o.was.state, o.was.fod, -1)
		d.output(o.is.state, o.is.fod, 1)
		tx.closures[m.closure] = d
	}
	for _, id := range ids { // one statement for all closures that have it: there may be thousands
		if o := by[id]; o.was.state != o.is.state {
			if err := tx.exec(ctx, "UPDATE closure_output SET state = $1 WHERE out = $2", int64(o.is.state), id); err != nil {
				return err
			}
		}
	}
	return nil
}

// flushClosures writes by how much the sums of closures changed, together for those whose sums changed alike.
func (tx *Tx) flushClosures(ctx context.Context) error {
	alike := make(map[counts][]int64)
	for id, d := range tx.closures {
		if d != (counts{}) {
			alike[d] = append(alike[d], id)
		}
	}
	for d, ids := range alike {
		q := "UPDATE closure SET agree = agree + $1, differ = differ + $2, missing = missing + $3, copying = copying + $4, fod_agree = fod_agree + $5, fod_differ = fod_differ + $6, fod_missing = fod_missing + $7 WHERE id IN ?"
		for _, list := range lists(ids) {
			if err := tx.exec(ctx, strings.Replace(q, "IN ?", "IN "+inList(8, len(list)), 1), append(d.values(7), list...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

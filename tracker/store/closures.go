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
	closureTable      = newTable("closure", "id name op count kept known agree differ missing copying fod_agree fod_differ fod_missing", "")
	memberTable       = newTable("closure_output", "closure state out", "")
	closurePlaceTable = newTable("closure_place", "op log idx name closure", " ON CONFLICT (op, log, idx) DO NOTHING")
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
		} else {
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
	if _, err := tx.one(ctx, "SELECT op FROM stmt WHERE id = $1", []any{id}, &op); err != nil {
		return err
	}
	s, err := statement.Parse(slices.Clone(leaf))
	if err != nil {
		return err
	}
	if err := tx.listed(ctx, id, s); err != nil {
		return err
	}
	if op > 0 {
		return tx.moveClaims(ctx, id, op, op, s)
	}
	_, err = tx.outputs(ctx, othersOf(s.Body)) // as if it had been there at first
	return err
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

package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/firn-log/firn/log/statement"
)

const closureColumns = "c.id, s.sid, c.name, c.op, g.kid, c.count, c.known, c.agree, c.differ, c.missing, c.copying, c.fod_agree, c.fod_differ, c.fod_missing FROM closure c JOIN stmt s ON s.id = c.id JOIN signer g ON g.id = s.signer"

// closures reads closures and who stated them, and where; with in, those that the query
// has for these rows.
func (q *view) closures(query string, args []any, in []int64) (ids []int64, all []ClosureView, err error) {
	var ops []int64
	var kids []statement.KeyID
	read := func(r *sql.Rows) error {
		var v ClosureView
		var id, op int64
		var sid, kid []byte
		var n counts
		err := r.Scan(append([]any{&id, &sid, &v.Name, &op, &kid, &v.Count, &v.Known}, n.dest()[:7]...)...)
		if err != nil {
			return err
		}
		v.ID, v.Counts = hex.EncodeToString(sid), n.view()
		v.Statements = v.ID
		ids, all, ops, kids = append(ids, id), append(all, v), append(ops, op), append(kids, statement.KeyID(kid))
		return nil
	}
	if in != nil {
		err = q.eachIn(query, args, in, read)
	} else {
		err = q.each(query, args, read)
	}
	if err != nil {
		return nil, nil, err
	}
	places, err := q.places(unique(slices.Clone(ids)))
	if err != nil {
		return nil, nil, err
	}
	for i := range all {
		all[i].Places = plain(places[ids[i]])
		if all[i].By, err = q.operatorOf(ops[i], kids[i]); err != nil {
			return nil, nil, err
		}
	}
	return ids, all, nil
}

// Closures lists the newest closure of each name that an operator who counts stated, by
// name, each with the one before it.
func (db *DB) Closures(ctx context.Context, p Page) (l Listing[ClosureView], err error) {
	err = db.view(ctx, func(q *view) error {
		n, name := p.after(1)
		op := n[0]
		var ids, ops []int64
		before := make(map[int64]int64)
		for len(ids) <= p.limit() {
			// One name after the other: there may be thousands of statements of one.
			ok, err := q.one("SELECT name, op FROM closure WHERE (name, op) > ($1, $2) ORDER BY name, op LIMIT 1", []any{name, op}, &name, &op)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			newest, err := q.newestClosures(name, op, 2)
			if err != nil {
				return err
			}
			ids, ops = append(ids, newest[0]), append(ops, op)
			if len(newest) > 1 {
				before[newest[0]] = newest[1]
			}
		}
		all, err := q.closuresOf(append(slices.Collect(maps.Values(before)), ids...))
		if err != nil {
			return err
		}
		rows := make([]ClosureView, len(ids))
		for i, id := range ids {
			rows[i] = *all[id]
			if b := before[id]; b > 0 {
				s := all[b].stated()
				rows[i].Before = &s
			}
		}
		l = page(rows, p, func(c ClosureView) string { return cursor(c.Name, ops[p.limit()-1]) })
		return nil
	})
	return l, err
}

// newestClosures returns the rows of the closures that an operator stated last under a name, the
// newest first: those in the log with the least origin by their first places there, then what only others have.
func (q *view) newestClosures(name string, op int64, limit int) (ids []int64, err error) {
	logs, err := q.logsByOrigin()
	if err != nil {
		return nil, err
	}
	for _, log := range logs {
		var there []int64
		query := "SELECT closure FROM closure_place WHERE op = $1 AND name = $2 AND log = $3 ORDER BY idx DESC LIMIT CAST($4 AS BIGINT)"
		err := q.each(query, []any{op, name, log, limit + len(ids)}, func(r *sql.Rows) error {
			var id int64
			err := r.Scan(&id)
			there = append(there, id)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, id := range there {
			if len(ids) < limit && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if len(ids) == limit {
			break
		}
	}
	return ids, nil
}

// logsByOrigin returns the rows of all logs.
func (q *view) logsByOrigin() (logs []int64, err error) {
	err = q.each("SELECT id FROM log ORDER BY origin", nil, func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		logs = append(logs, id)
		return err
	})
	return logs, err
}

// closuresOf reads closures by their rows.
func (q *view) closuresOf(ids []int64) (map[int64]*ClosureView, error) {
	found := make(map[int64]*ClosureView, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	rows, all, err := q.closures("SELECT "+closureColumns+" WHERE c.id IN ?", nil, unique(slices.Clone(ids)))
	if err != nil {
		return nil, err
	}
	for i, id := range rows {
		found[id] = &all[i]
	}
	return found, nil
}

// closureHistory is how many closures of one name a page shows.
const closureHistory = 60

func (q *view) findClosure(id string) (int64, *ClosureView, error) {
	sid, err := statement.ParseID(id)
	if err != nil {
		return 0, nil, ErrNotFound
	}
	ids, all, err := q.closures("SELECT "+closureColumns+" WHERE s.h = $1 AND s.sid = $2", []any{first60(sid[:]), sid[:]}, nil)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return 0, nil, err
	}
	return ids[0], &all[0], nil
}

// Closure returns a closure by the id of its statement, with the newest of its name.
func (db *DB) Closure(ctx context.Context, id string) (c *ClosureView, err error) {
	err = db.view(ctx, func(q *view) error {
		row, found, err := q.findClosure(id)
		if err != nil {
			return err
		}
		var op int64
		if _, err := q.one("SELECT op FROM closure WHERE id = $1", []any{row}, &op); err != nil {
			return err
		}
		ids, err := q.newestClosures(found.Name, op, closureHistory)
		if err != nil {
			return err
		}
		all, err := q.closuresOf(ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			found.History = append(found.History, all[id].stated())
		}
		c = found
		return nil
	})
	return c, err
}

// ClosurePaths lists the members of a closure, worst first; with a state only those.
func (db *DB) ClosurePaths(ctx context.Context, id string, s State, p Page) (l Listing[PathRow], err error) {
	err = db.view(ctx, func(q *view) error {
		row, _, err := q.findClosure(id)
		if err != nil {
			return err
		}
		l, err = q.members("SELECT t.state, t.out FROM closure_output t WHERE t.closure = $1 AND ", row, s, p)
		return err
	})
	return l, err
}

package store

import (
	"context"
	"database/sql"

	"github.com/firn-log/firn/log/statement"
)

// maxClosures is of how many closures of an operator in a log, the newest there, the members are kept: a path may be
// in every one, and then a claim about it is told to each (spec/tracker.md#model).
const maxClosures = 64

// addClosure adds a closure that counts.
func (tx *Tx) addClosure(ctx context.Context, id, op int64, b *statement.Closure) error {
	r := closureTable.rows()
	r.add(id, b.Name, op, int64(b.Count), 0, 0, 0, 0, 0, 0, 0, 0, 0)
	if err := r.write(ctx, tx); err != nil {
		return err
	}
	if err := tx.closureWords(ctx, id, 1, b.Name); err != nil {
		return err
	}
	return tx.placeClosure(ctx, id, op, b.Name)
}

// placeClosure notes where logs hold a closure that counts, and finds out which ones are kept now.
func (tx *Tx) placeClosure(ctx context.Context, id, op int64, name string) error {
	at, err := tx.placesOf(ctx, id)
	if err != nil {
		return err
	}
	rows := closurePlaceTable.rows()
	for _, p := range at {
		rows.add(op, p.log, p.idx, name, id)
	}
	if err := rows.write(ctx, tx); err != nil {
		return err
	}
	if err := tx.keepClosure(ctx, id, op); err != nil {
		return err
	}
	return tx.keepAround(ctx, op, at)
}

func (tx *Tx) dropClosure(ctx context.Context, id int64) error {
	if err := tx.flush(ctx); err != nil {
		return err
	}
	var name string
	var op int64
	if _, err := tx.one(ctx, "SELECT name, op FROM closure WHERE id = $1", []any{id}, &name, &op); err != nil {
		return err
	}
	if err := tx.closureWords(ctx, id, -1, name); err != nil {
		return err
	}
	at, err := tx.placesOf(ctx, id)
	if err != nil {
		return err
	}
	for _, p := range at {
		if err := tx.exec(ctx, "DELETE FROM closure_place WHERE op = $1 AND log = $2 AND idx = $3", op, p.log, p.idx); err != nil {
			return err
		}
	}
	if err := tx.exec(ctx, "DELETE FROM closure_output WHERE closure = $1", id); err != nil {
		return err
	}
	if err := tx.exec(ctx, "DELETE FROM closure WHERE id = $1", id); err != nil {
		return err
	}
	return tx.keepAround(ctx, op, at)
}

// entryAt is an entry of a log.
type entryAt struct{ log, idx int64 }

// placesOf returns where logs hold a statement first: one that repeats it states nothing new.
func (tx *Tx) placesOf(ctx context.Context, stmt int64) (at []entryAt, err error) {
	err = tx.each(ctx, "SELECT log, MIN(idx) FROM place WHERE stmt = $1 GROUP BY log ORDER BY log", []any{stmt}, func(r *sql.Rows) error {
		var p entryAt
		err := r.Scan(&p.log, &p.idx)
		at = append(at, p)
		return err
	})
	return at, err
}

// keepAround finds out about the closures that came among the newest, or left them, as these places came or went, one in each log.
func (tx *Tx) keepAround(ctx context.Context, op int64, at []entryAt) error {
	for _, p := range at {
		var ids []int64
		err := tx.each(ctx, "SELECT closure FROM closure_place WHERE op = $1 AND log = $2 ORDER BY idx DESC LIMIT 2 OFFSET $3", []any{op, p.log, maxClosures - 1}, func(r *sql.Rows) error {
			var id int64
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := tx.keepClosure(ctx, id, op); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepClosure keeps the members of a closure, or no longer, as it is among the newest of its operator in a log or not.
func (tx *Tx) keepClosure(ctx context.Context, id, op int64) error {
	at, err := tx.placesOf(ctx, id)
	if err != nil {
		return err
	}
	keep := false
	for _, p := range at {
		last := int64(0) // the last that is kept, if there are so many
		if _, err := tx.one(ctx, "SELECT idx FROM closure_place WHERE op = $1 AND log = $2 ORDER BY idx DESC LIMIT 1 OFFSET $3", []any{op, p.log, maxClosures - 1}, &last); err != nil {
			return err
		}
		keep = keep || p.idx >= last
	}
	var kept int64
	if _, err := tx.one(ctx, "SELECT kept FROM closure WHERE id = $1", []any{id}, &kept); err != nil || keep == (kept == 1) {
		return err
	}
	if keep {
		return tx.keepMembers(ctx, id)
	}
	if err := tx.flush(ctx); err != nil { // what was still to be added to its sums
		return err
	}
	if err := tx.exec(ctx, "DELETE FROM closure_output WHERE closure = $1", id); err != nil {
		return err
	}
	return tx.exec(ctx, "UPDATE closure SET kept = 0, known = 0, agree = 0, differ = 0, missing = 0, copying = 0, fod_agree = 0, fod_differ = 0, fod_missing = 0 WHERE id = $1", id)
}

// keepMembers adds the listed members of a closure, and what they come to.
func (tx *Tx) keepMembers(ctx context.Context, id int64) error {
	var leaf []byte
	if _, err := tx.one(ctx, "SELECT leaf FROM stmt WHERE id = $1", []any{id}, &leaf); err != nil {
		return err
	}
	s, err := statement.Parse(leaf)
	if err != nil {
		return err
	}
	if err := tx.listed(ctx, id, s); err != nil {
		return err
	}
	keys := othersOf(s.Body)
	outs, err := tx.outputs(ctx, keys)
	if err != nil {
		return err
	}
	if err := tx.flush(ctx); err != nil { // so that the members' states are those of all claims
		return err
	}
	members := make([]int64, 0, len(keys))
	for _, k := range keys {
		members = append(members, outs[k])
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
	q := "UPDATE closure SET agree = $1, differ = $2, missing = $3, copying = $4, fod_agree = $5, fod_differ = $6, fod_missing = $7, kept = 1, known = $8 WHERE id = $9"
	if err := tx.exec(ctx, q, append(c.values(7), int64(len(members)), id)...); err != nil {
		return err
	}
	return rows.write(ctx, tx)
}

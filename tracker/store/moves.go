package store

import (
	"context"
	"database/sql"
	"slices"
)

// rowMove is what happens to a row: was is not in the database if it is not known, is
// will not be if it is not listed.
type rowMove struct{ was, is attrRow }

var (
	attrRowTable = newTable("attr_row", "channel name attr rank queue meta meta_seq drv drv_seq error",
		upsert("channel, name", "rank queue meta meta_seq drv drv_seq error"))
	personAttrTable = newTable("person_attr", "person rank name channel", "")
)

// moveRows writes rows and brings up to date what counts and lists them.
func (tx *Tx) moveRows(ctx context.Context, moves []rowMove) error {
	rows, listed := attrRowTable.rows(), personAttrTable.rows()
	for i := range moves {
		m := &moves[i]
		a, b := &m.was, &m.is
		ch := a.channel.id
		attrs := bit(b.listed()) - bit(a.listed())
		diff := b.outputs
		diff.add(&a.outputs, -1)
		tx.sum(scopeKey{0, ch}, attrs, &diff, 1)
		if err := tx.movePeople(ctx, m, &listed); err != nil {
			return err
		}
		tx.moveLabel(a, b)
		if !b.listed() {
			if err := tx.exec(ctx, "DELETE FROM attr_row WHERE channel = $1 AND name = $2", ch, a.name); err != nil {
				return err
			}
			continue
		}
		rows.add(ch, b.name, b.attr, b.rank, b.queue, b.meta, b.metaSeq, b.drv, b.drvSeq, b.error)
	}
	if err := rows.write(ctx, tx); err != nil {
		return err
	}
	return listed.write(ctx, tx)
}

// movePeople brings up to date what is said of those who maintain an attribute, or did.
func (tx *Tx) movePeople(ctx context.Context, m *rowMove, listed *rows) error {
	a, b := &m.was, &m.is
	ch := a.channel.id
	var left, came []int64
	for _, p := range a.people {
		if !slices.Contains(b.people, p) {
			left = append(left, p)
			tx.sum(scopeKey{p, ch}, -1, &a.outputs, -1)
			continue
		}
		diff := b.outputs
		diff.add(&a.outputs, -1)
		tx.sum(scopeKey{p, ch}, 0, &diff, 1)
		if a.rank == b.rank {
			continue
		}
		if err := tx.unlist(ctx, p, a); err != nil {
			return err
		}
		listed.add(p, b.rank, b.name, ch)
	}
	for _, p := range left {
		if err := tx.unlist(ctx, p, a); err != nil {
			return err
		}
	}
	for _, p := range b.people {
		if !slices.Contains(a.people, p) {
			came = append(came, p)
			tx.sum(scopeKey{p, ch}, 1, &b.outputs, 1)
			listed.add(p, b.rank, b.name, ch)
		}
	}
	if len(left) == 0 && len(came) == 0 {
		return nil
	}
	return tx.moveHistory(ctx, b, left, came)
}

func (tx *Tx) unlist(ctx context.Context, p int64, a *attrRow) error {
	return tx.exec(ctx, "DELETE FROM person_attr WHERE person = $1 AND rank = $2 AND name = $3 AND channel = $4", p, a.rank, a.name, a.channel.id)
}

// moveHistory takes the history of an attribute out of the trends of those who left, and
// puts it into those of who came: a trend is about what somebody maintains today.
func (tx *Tx) moveHistory(ctx context.Context, a *attrRow, left, came []int64) error {
	q := "SELECT f.from_seq, f.to_seq, f.error, COALESCE(d.fod, 0), COALESCE(d.agree, 0), COALESCE(d.differ, 0), COALESCE(d.missing, 0), COALESCE(d.copying, 0) FROM drv_fact f LEFT JOIN drv d ON d.id = f.drv WHERE f.attr = $1 AND f.channel = $2"
	return tx.each(ctx, q, []any{a.attr, a.channel.id}, func(r *sql.Rows) error {
		var from, to, fod int64
		var n [4]int64
		var failed string
		if err := r.Scan(&from, &to, &failed, &fod, &n[0], &n[1], &n[2], &n[3]); err != nil {
			return err
		}
		var c counts
		for i, s := range []State{Agree, Differ, Missing, Copying} {
			c.output(s, fod == 1, n[i])
		}
		if failed != "" {
			c[countErrors] = 1
		}
		for sign, people := range map[int64][]int64{-1: left, 1: came} {
			for _, p := range people {
				k := scopeKey{p, a.channel.id}
				tx.border(k, from, &c, sign)
				if to > 0 {
					tx.border(k, to, &c, -sign)
				}
			}
		}
		return nil
	})
}

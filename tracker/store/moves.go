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
	rows, p := attrRowTable.rows(), peopleMoves{listed: personAttrTable.rows()}
	var gone [][]any
	for i := range moves {
		m := &moves[i]
		a, b := &m.was, &m.is
		ch := a.channel.id
		attrs := bit(b.listed()) - bit(a.listed())
		diff := b.outputs
		diff.add(&a.outputs, -1)
		tx.sum(scopeKey{0, ch}, attrs, &diff, 1)
		tx.movePeople(m, &p)
		tx.moveLabel(a, b)
		if !b.listed() {
			gone = append(gone, []any{ch, a.name})
			continue
		}
		rows.add(ch, b.name, b.attr, b.rank, b.queue, b.meta, b.metaSeq, b.drv, b.drvSeq, b.error)
	}
	if err := tx.many(ctx, "DELETE FROM attr_row WHERE channel = $1 AND name = $2", gone, nil); err != nil {
		return err
	}
	if err := rows.write(ctx, tx); err != nil {
		return err
	}
	if err := tx.many(ctx, "DELETE FROM person_attr WHERE person = $1 AND rank = $2 AND name = $3 AND channel = $4", p.unlisted, nil); err != nil {
		return err
	}
	if err := p.listed.write(ctx, tx); err != nil {
		return err
	}
	return tx.moveHistories(ctx, p.moved)
}

// peopleMoves is what becomes of those who maintain attributes.
type peopleMoves struct {
	listed   rows
	unlisted [][]any
	moved    map[attrIn]*peopleMove
}

// peopleMove is who maintains an attribute no longer, or from now on.
type peopleMove struct{ left, came []int64 }

// movePeople brings up to date what is said of those who maintain an attribute, or did.
func (tx *Tx) movePeople(m *rowMove, to *peopleMoves) {
	a, b := &m.was, &m.is
	ch := a.channel.id
	var left, came []int64
	for _, p := range a.people {
		if !slices.Contains(b.people, p) {
			left = append(left, p)
			tx.sum(scopeKey{p, ch}, -1, &a.outputs, -1)
			to.unlist(p, a)
			continue
		}
		diff := b.outputs
		diff.add(&a.outputs, -1)
		tx.sum(scopeKey{p, ch}, 0, &diff, 1)
		if a.rank != b.rank {
			to.unlist(p, a)
			to.listed.add(p, b.rank, b.name, ch)
		}
	}
	for _, p := range b.people {
		if !slices.Contains(a.people, p) {
			came = append(came, p)
			tx.sum(scopeKey{p, ch}, 1, &b.outputs, 1)
			to.listed.add(p, b.rank, b.name, ch)
		}
	}
	if len(left) > 0 || len(came) > 0 {
		if to.moved == nil {
			to.moved = make(map[attrIn]*peopleMove)
		}
		to.moved[attrIn{b.attr, ch}] = &peopleMove{left, came}
	}
}

func (p *peopleMoves) unlist(person int64, a *attrRow) {
	p.unlisted = append(p.unlisted, []any{person, a.rank, a.name, a.channel.id})
}

// moveHistories takes the history of attributes out of the trends of those who left, and
// puts it into those of who came: a trend is about what somebody maintains today.
func (tx *Tx) moveHistories(ctx context.Context, moved map[attrIn]*peopleMove) error {
	byChannel := make(map[int64][]int64)
	for a := range moved {
		byChannel[a.channel] = append(byChannel[a.channel], a.attr)
	}
	q := "SELECT f.attr, f.from_seq, f.to_seq, f.error, COALESCE(d.fod, 0), COALESCE(d.agree, 0), COALESCE(d.differ, 0), COALESCE(d.missing, 0), COALESCE(d.copying, 0) FROM drv_fact f LEFT JOIN drv d ON d.id = f.drv WHERE f.channel = $1 AND f.attr IN ?"
	for ch, attrs := range byChannel {
		err := eachIn(ctx, tx, q, []any{ch}, unique(attrs), func(r *sql.Rows) error {
			var attr, from, to, fod int64
			var n [4]int64
			var failed string
			if err := r.Scan(&attr, &from, &to, &failed, &fod, &n[0], &n[1], &n[2], &n[3]); err != nil {
				return err
			}
			var c counts
			for i, s := range []State{Agree, Differ, Missing, Copying} {
				c.output(s, fod == 1, n[i])
			}
			if failed != "" {
				c[countErrors] = 1
			}
			tx.moveHistory(moved[attrIn{attr, ch}], ch, from, to, &c)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// moveHistory moves a fact that came to c.
func (tx *Tx) moveHistory(m *peopleMove, ch, from, to int64, c *counts) {
	for sign, people := range map[int64][]int64{-1: m.left, 1: m.came} {
		for _, p := range people {
			k := scopeKey{p, ch}
			tx.border(k, from, c, sign)
			if to > 0 {
				tx.border(k, to, c, -sign)
			}
		}
	}
}

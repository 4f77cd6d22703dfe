package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
)

var drvTable = newTable("drv", "id h base system fod outputs state agree differ missing copying builders since",
	upsert("id", "state agree differ missing copying builders since"))

// flushDrvs computes what derivations come to whose outputs changed.
func (tx *Tx) flushDrvs(ctx context.Context) error {
	ids := slices.Sorted(maps.Keys(tx.drvs))
	for chunk := range slices.Chunk(ids, flushChunk) {
		was, err := tx.loadDrvs(ctx, chunk)
		if err != nil {
			return err
		}
		is, err := tx.computeDrvs(ctx, was)
		if err != nil {
			return err
		}
		rows := drvTable.rows()
		var moved []int64
		for _, id := range chunk {
			a, b := was[id], is[id]
			if a.state == b.state && a.counts == b.counts && a.builders == b.builders && a.since == b.since {
				continue
			}
			n := b.byState()
			rows.add(id, b.h(), b.base, b.system, bit(b.fod), b.text, int64(b.state), n[0], n[1], n[2], n[3], b.builders, b.since)
			if a.state != b.state || a.counts != b.counts || a.queue() != b.queue() {
				moved = append(moved, id)
			}
		}
		if err := rows.write(ctx, tx); err != nil {
			return err
		}
		if err := tx.spread(ctx, moved, was, is); err != nil {
			return err
		}
	}
	return nil
}

// byState returns how many outputs agree, differ, are missing and are copied.
func (d *drv) byState() [4]int64 {
	c := d.counts
	return [4]int64{c[0] + c[4], c[1] + c[5], c[2] + c[6], c[3]}
}

// computeDrvs returns derivations as their outputs are now.
func (tx *Tx) computeDrvs(ctx context.Context, was map[int64]*drv) (map[int64]*drv, error) {
	is := make(map[int64]*drv, len(was))
	ids := slices.Sorted(maps.Keys(was))
	for id, d := range was {
		n := *d
		n.state, n.counts, n.builders, n.since = 0, counts{}, 0, 0
		is[id] = &n
	}
	q := "SELECT d.drv, o.state, o.since, o.builders FROM drv_output d JOIN output o ON o.id = d.out WHERE d.drv IN ?"
	err := eachIn(ctx, tx, q, nil, ids, func(r *sql.Rows) error {
		var id, since, builders int64
		var s State
		if err := r.Scan(&id, &s, &since, &builders); err != nil {
			return err
		}
		is[id].output(s, since)
		is[id].builders = max(is[id].builders, builders)
		return nil
	})
	return is, err
}

// output adds an output to what a derivation comes to. The worst state counts; it holds since one of
// its outputs has it, or, if all agree, since the last one does.
func (d *drv) output(s State, since int64) {
	d.counts.output(s, d.fod, 1)
	switch {
	case s > d.state:
		d.state, d.since = s, since
	case s < d.state:
	case s == Agree:
		d.since = max(d.since, since)
	default:
		d.since = min(d.since, since)
	}
}

// fact is a row of drv_fact.
type fact struct{ drv, attr, channel, from, to int64 }

// spread brings up to date everything that shows derivations.
func (tx *Tx) spread(ctx context.Context, moved []int64, was, is map[int64]*drv) error {
	if len(moved) == 0 {
		return nil
	}
	var facts []fact
	var attrs []int64
	err := eachIn(ctx, tx, "SELECT drv, attr, channel, from_seq, to_seq FROM drv_fact WHERE drv > 0 AND drv IN ?", nil, moved, func(r *sql.Rows) error {
		var f fact
		err := r.Scan(&f.drv, &f.attr, &f.channel, &f.from, &f.to)
		facts, attrs = append(facts, f), append(attrs, f.attr)
		return err
	})
	if err != nil || len(facts) == 0 {
		return err
	}
	people, err := tx.peopleOfAttrs(ctx, unique(attrs))
	if err != nil {
		return err
	}
	var restated []fact
	for _, f := range facts {
		diff := is[f.drv].counts
		diff.add(&was[f.drv].counts, -1)
		for _, scope := range append([]int64{0}, people[attrIn{f.attr, f.channel}]...) {
			k := scopeKey{scope, f.channel}
			tx.border(k, f.from, &diff, 1)
			if f.to > 0 {
				tx.border(k, f.to, &diff, -1)
			}
		}
		if was[f.drv].state != is[f.drv].state {
			restated = append(restated, f)
		}
	}
	if err := tx.restate(ctx, restated, is); err != nil {
		return err
	}
	return tx.respread(ctx, moved, was, is)
}

// respread moves the rows of attributes that have these derivations now.
func (tx *Tx) respread(ctx context.Context, moved []int64, was, is map[int64]*drv) error {
	byID := tx.channelsByID()
	var moves []rowMove
	var metas []int64
	q := "SELECT channel, name, attr, meta, meta_seq, drv, drv_seq, error FROM attr_row WHERE drv > 0 AND drv IN ?"
	err := eachIn(ctx, tx, q, nil, moved, func(r *sql.Rows) error {
		a := attrRow{known: true}
		var ch int64
		if err := r.Scan(&ch, &a.name, &a.attr, &a.meta, &a.metaSeq, &a.drv, &a.drvSeq, &a.error); err != nil {
			return err
		}
		a.channel = byID[ch]
		b := a
		a.rank, a.queue, a.outputs = rankOf(was[a.drv].state), was[a.drv].queue(), was[a.drv].counts
		b.rank, b.queue, b.outputs = rankOf(is[a.drv].state), is[a.drv].queue(), is[a.drv].counts
		moves, metas = append(moves, rowMove{a, b}), append(metas, a.meta)
		return nil
	})
	if err != nil {
		return err
	}
	people, err := tx.peopleOf(ctx, unique(metas))
	if err != nil {
		return err
	}
	for i := range moves {
		m := &moves[i]
		m.was.people, m.is.people = people[m.was.meta], people[m.is.meta]
	}
	return tx.moveRows(ctx, moves)
}

func (tx *Tx) channelsByID() map[int64]*channel {
	by := make(map[int64]*channel, len(tx.channels))
	for _, c := range tx.channels {
		by[c.id] = c
	}
	return by
}

// attrIn is an attribute in a channel.
type attrIn struct{ attr, channel int64 }

// peopleOfAttrs returns who maintains attributes now.
func (tx *Tx) peopleOfAttrs(ctx context.Context, attrs []int64) (map[attrIn][]int64, error) {
	type row struct {
		attrIn
		meta int64
	}
	var rows []row
	var metas []int64
	err := eachIn(ctx, tx, "SELECT attr, channel, meta FROM attr_row WHERE meta > 0 AND attr IN ?", nil, attrs, func(r *sql.Rows) error {
		var a row
		err := r.Scan(&a.attr, &a.channel, &a.meta)
		rows, metas = append(rows, a), append(metas, a.meta)
		return err
	})
	if err != nil {
		return nil, err
	}
	of, err := tx.peopleOf(ctx, unique(metas))
	people := make(map[attrIn][]int64, len(rows))
	for _, a := range rows {
		people[a.attrIn] = of[a.meta]
	}
	return people, err
}

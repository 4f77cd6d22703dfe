package store

import (
	"context"
	"database/sql"
)

// What can be seen of a change.
const (
	seenNothing = iota
	seenChange
	seenWorse
)

// seenOf says what there is to show: another version, existence, or state.
func seenOf(fromVersion, toVersion string, from, to State, existed, exists bool) int64 {
	switch {
	case from > 0 && to > from:
		return seenWorse
	case fromVersion != toVersion || from != to || existed != exists:
		return seenChange
	}
	return seenNothing
}

// seenSQL is seenOf in SQL, when the state of one side changes: $1 is the new one. Whether
// something existed is in moved: 1 the derivation is another, 2 so is existence.
const (
	restateTo   = "UPDATE change SET to_state = CAST($1 AS INTEGER), seen = CASE WHEN from_state > 0 AND CAST($1 AS INTEGER) > from_state THEN 2 WHEN from_version <> to_version OR from_state <> CAST($1 AS INTEGER) OR moved >= 2 THEN 1 ELSE 0 END WHERE channel = $2 AND seq = $3 AND name = $4 AND moved IN (1, 3)"
	restateFrom = "UPDATE change SET from_state = CAST($1 AS INTEGER), seen = CASE WHEN CAST($1 AS INTEGER) > 0 AND to_state > CAST($1 AS INTEGER) THEN 2 WHEN from_version <> to_version OR to_state <> CAST($1 AS INTEGER) OR moved >= 2 THEN 1 ELSE 0 END WHERE channel = $2 AND seq = $3 AND name = $4 AND moved IN (1, 3)"
)

// restate brings up to date the changes at both ends of facts whose derivations' states are others.
func (tx *Tx) restate(ctx context.Context, facts []fact, is map[int64]*drv) error {
	var attrs []int64
	for _, f := range facts {
		attrs = append(attrs, f.attr)
	}
	names := make(map[int64]string, len(facts))
	err := eachIn(ctx, tx, "SELECT id, name FROM attr WHERE id IN ?", nil, unique(attrs), func(r *sql.Rows) error {
		var id int64
		var name string
		err := r.Scan(&id, &name)
		names[id] = name
		return err
	})
	if err != nil {
		return err
	}
	var to, from [][]any
	for _, f := range facts {
		s, name := int64(is[f.drv].state), names[f.attr]
		to = append(to, []any{s, f.channel, f.from, name})
		if f.to > 0 {
			from = append(from, []any{s, f.channel, f.to, name})
		}
	}
	if err := tx.many(ctx, restateTo, to, nil); err != nil {
		return err
	}
	return tx.many(ctx, restateFrom, from, nil)
}

var changeTable = newTable("change", "channel seq name attr moved from_version to_version from_state to_state seen",
	upsert("channel, seq, name", "moved from_version to_version from_state to_state seen"))

// changes writes what the evaluation changed about attributes: a function of the facts of both tiers around
// it, so that it does not matter which tier came first. The first evaluation of a tier changes nothing.
func (e *evaluating) changes(ctx context.Context, moves []rowMove) error {
	c := e.ch
	if e.h.Seq <= c.first[e.tier] && (c.first[1-e.tier] == 0 || e.h.Seq <= c.first[1-e.tier]) {
		return nil
	}
	ids := make([]int64, len(moves))
	for i := range moves {
		ids[i] = moves[i].is.attr
	}
	metas, err := e.around(ctx, "SELECT f.from_seq, f.to_seq, m.version, 0 FROM meta_fact f JOIN meta m ON m.id = f.meta WHERE f.attr = $1 AND f.channel = $2 AND f.from_seq <= $3 ORDER BY f.from_seq DESC LIMIT 2", ids)
	if err != nil {
		return err
	}
	drvs, err := e.around(ctx, "SELECT f.from_seq, f.to_seq, '', COALESCE(d.state, 0) FROM drv_fact f LEFT JOIN drv d ON d.id = f.drv WHERE f.attr = $1 AND f.channel = $2 AND f.from_seq <= $3 ORDER BY f.from_seq DESC LIMIT 2", ids)
	if err != nil {
		return err
	}
	rows := changeTable.rows()
	for i := range moves {
		e.change(&moves[i].is, &metas[i], &drvs[i], &rows)
	}
	return rows.write(ctx, e.tx)
}

// sides are what an attribute was before an evaluation, and after it.
type sides struct {
	versions [2]string
	states   [2]State
	there    [2]bool
	moved    bool // a fact begins or ends there
}

// change adds the row of an attribute, if there is something to say.
func (e *evaluating) change(a *attrRow, metas, drvs *sides, rows *rows) {
	seq, c := e.h.Seq, e.ch
	// What a tier does not change is not stored: it may still be behind.
	if !metas.moved || seq <= c.first[meta] {
		*metas = sides{}
	}
	if !drvs.moved || seq <= c.first[1] {
		*drvs = sides{}
	}
	existence := metas.there[0] != metas.there[1] || drvs.there[0] != drvs.there[1]
	moved := bit(drvs.moved) + 2*bit(existence)
	if moved == 0 && metas.versions[0] == metas.versions[1] {
		return
	}
	seen := seenOf(metas.versions[0], metas.versions[1], drvs.states[0], drvs.states[1], false, existence)
	rows.add(c.id, seq, a.name, a.attr, moved, metas.versions[0], metas.versions[1], int64(drvs.states[0]), int64(drvs.states[1]), seen)
}

// around reads the facts of attributes before and after the evaluation.
func (e *evaluating) around(ctx context.Context, query string, attrs []int64) ([]sides, error) {
	seq, all, args := e.h.Seq, make([]sides, len(attrs)), make([][]any, len(attrs))
	for i, a := range attrs {
		args[i] = []any{a, e.ch.id, seq}
	}
	err := e.tx.many(ctx, query, args, func(n int, r scanner) error {
		var from, to int64
		var version string
		var state State
		if err := r.Scan(&from, &to, &version, &state); err != nil {
			return err
		}
		s := &all[n]
		s.moved = s.moved || from == seq || to == seq
		for i, in := range []bool{from < seq && (to == 0 || to >= seq), from <= seq && (to == 0 || to > seq)} {
			if in {
				s.versions[i], s.states[i], s.there[i] = version, state, true
			}
		}
		return nil
	})
	return all, err
}

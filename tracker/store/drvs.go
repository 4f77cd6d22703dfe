package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"maps"
	"slices"

	"github.com/firn-log/firn/tracker/eval"
	"github.com/firn-log/firn/verify"
)

// drv is a row of the table: a derivation and what its outputs come to.
type drv struct {
	id           int64
	base, system string
	fod          bool
	text         string // outputs, as JSON
	state        State
	counts       counts
	builders     int64
	since        int64
}

// key is what makes two derivations one.
func (d *drv) key() string {
	b, _ := json.Marshal([]any{d.base, d.system, d.fod, d.text})
	return string(b)
}

func (d *drv) h() int64 {
	sum := sha256.Sum256([]byte(d.key()))
	return first60(sum[:])
}

// queue is the urgency of another build: 1 what one more can settle, 2 what nobody built, 3 where
// builders differ, 4 fixed outputs; 0 if there is nothing to find out.
func (d *drv) queue() int64 {
	switch {
	case d == nil || d.state == Agree || d.state == Copying || d.state == 0:
		return 0
	case d.fod:
		return 4
	case d.state == Differ:
		return 3
	case d.builders > 0:
		return 1
	}
	return 2
}

func rankOf(s State) int64 { return 9 - int64(s) }

func drvOf(a eval.Attribute) *drv {
	outs := make(map[string]string, len(a.Outputs))
	maps.Copy(outs, a.Outputs)
	text, _ := json.Marshal(outs)
	return &drv{base: a.Drv, system: a.System, fod: a.FOD, text: string(text)}
}

// random reports whether what an attribute makes is random by construction.
func (tx *Tx) random(attr string) bool {
	return slices.ContainsFunc(tx.db.opts.Random, func(glob string) bool { return verify.MatchGlob(glob, attr) })
}

// drvNews is what the derivation tier says of an attribute.
type drvNews struct {
	*drv
	error  string
	gone   bool
	random bool
}

// drvs takes over attributes of the derivation tier.
func (e *evaluating) drvs(ctx context.Context, attrs []eval.Attribute, rows map[string]*attrRow) error {
	tx := e.tx
	var ids []int64
	for _, r := range rows {
		ids = append(ids, r.drv)
	}
	have, err := tx.loadDrvs(ctx, unique(ids))
	if err != nil {
		return err
	}
	news := make(map[string]drvNews)
	var names []string
	for _, a := range attrs {
		n, old := drvNews{error: a.Error, gone: a.Gone, random: tx.random(a.Attr)}, rows[a.Attr]
		if a.Error == "" && !a.Gone {
			n.drv = drvOf(a)
		}
		there := old != nil && old.drvSeq > 0
		switch {
		case n.gone && !there:
			continue
		case n.gone || !there:
		case n.error != "" && old.error == n.error:
			continue
		case n.drv != nil && have[old.drv] != nil && have[old.drv].key() == n.key():
			continue
		}
		news[a.Attr] = n
		names = append(names, a.Attr)
	}
	if err := tx.drvIDs(ctx, names, news); err != nil {
		return err
	}
	return e.drvFacts(ctx, names, news, rows)
}

// drvIDs gives derivations that are new a row, and computes what they come to.
func (tx *Tx) drvIDs(ctx context.Context, names []string, news map[string]drvNews) error {
	by := make(map[string]*drv)
	var hs []int64
	for _, n := range news {
		if n.drv != nil && by[n.key()] == nil {
			by[n.key()] = n.drv
			hs = append(hs, n.h())
		}
	}
	err := eachIn(ctx, tx, "SELECT id, base, system, fod, outputs FROM drv WHERE h IN ?", nil, unique(hs), func(r *sql.Rows) error {
		d, fod := &drv{}, int64(0)
		if err := r.Scan(&d.id, &d.base, &d.system, &fod, &d.text); err != nil {
			return err
		}
		d.fod = fod == 1
		if n := by[d.key()]; n != nil {
			n.id = d.id
		}
		return nil
	})
	if err != nil {
		return err
	}
	drvs := newTable("drv", "id h base system fod outputs state agree differ missing copying builders since", "").rows()
	var marked []markedDrv
	for _, name := range names {
		n := news[name]
		if n.drv == nil {
			continue
		}
		first := by[n.key()]
		fresh := first.id == 0
		if fresh {
			first.id = tx.id("drv")
			drvs.add(first.id, first.h(), first.base, first.system, bit(first.fod), first.text, 0, 0, 0, 0, 0, 0, 0)
			tx.drvs[first.id] = true
		}
		if n.drv.id = first.id; fresh || n.random {
			marked = append(marked, markedDrv{n, fresh})
		}
	}
	if err := drvs.write(ctx, tx); err != nil {
		return err
	}
	if err := tx.markOutputs(ctx, marked); err != nil {
		return err
	}
	return tx.flush(ctx)
}

// markedDrv is a derivation of whose outputs an evaluation says something new.
type markedDrv struct {
	drvNews
	fresh bool
}

// markOutputs notes what an evaluation says of the outputs of derivations.
func (tx *Tx) markOutputs(ctx context.Context, all []markedDrv) error {
	var keys []outKey
	names := make([][]string, len(all))
	for i, n := range all {
		var outputs map[string]string
		if err := json.Unmarshal([]byte(n.text), &outputs); err != nil {
			return err
		}
		names[i] = slices.Sorted(maps.Keys(outputs))
		for _, name := range names[i] {
			k := outKey{path: outputs[name]}
			if k.path == "" {
				k = outKey{n.base + "!" + name, true}
			}
			keys = append(keys, k)
		}
	}
	ids, err := tx.outputs(ctx, keys)
	if err != nil {
		return err
	}
	rows := newTable("drv_output", "drv name out", "").rows()
	for i, n := range all {
		for j, name := range names[i] {
			id := ids[keys[j]]
			tx.mark(id, flags{fod: n.fod, random: n.random, system: n.system})
			if n.fresh {
				rows.add(n.id, name, id)
			}
		}
		keys = keys[len(names[i]):]
	}
	return rows.write(ctx, tx)
}

// drvFacts writes from when on and until when derivations were those of attributes.
func (e *evaluating) drvFacts(ctx context.Context, names []string, news map[string]drvNews, rows map[string]*attrRow) error {
	tx := e.tx
	var drvIDs []int64
	for _, n := range news {
		if n.drv != nil {
			drvIDs = append(drvIDs, n.id)
		}
	}
	for _, r := range rows {
		drvIDs = append(drvIDs, r.drv)
	}
	drvs, err := tx.loadDrvs(ctx, unique(drvIDs))
	if err != nil {
		return err
	}
	ids, err := tx.attrIDs(ctx, names)
	if err != nil {
		return err
	}
	facts := newTable("drv_fact", "attr channel from_seq to_seq drv error", "").rows()
	var moves []rowMove
	var ended [][]any
	for _, name := range names {
		was := e.row(rows, name)
		if d := drvs[was.drv]; d != nil {
			was.outputs = d.counts // they may have changed when the outputs of this chunk were marked
			was.rank, was.queue = rankOf(d.state), d.queue()
		}
		is, n := was, news[name]
		is.attr, is.drv, is.drvSeq, is.error, is.outputs, is.rank, is.queue = ids[name], 0, 0, "", counts{}, rankOf(0), 0
		if was.drvSeq > 0 {
			ended = append(ended, []any{e.h.Seq, is.attr, e.ch.id, was.drvSeq})
		}
		if n.drv != nil {
			d := drvs[n.id]
			is.drv, is.outputs, is.rank, is.queue = d.id, d.counts, rankOf(d.state), d.queue()
		}
		if !n.gone {
			is.drvSeq, is.error = e.h.Seq, n.error
			if n.drv == nil {
				is.outputs[countErrors] = 1
			}
			facts.add(is.attr, e.ch.id, e.h.Seq, int64(0), is.drv, is.error)
		}
		moves = append(moves, rowMove{was, is})
	}
	if err := tx.many(ctx, "UPDATE drv_fact SET to_seq = $1 WHERE attr = $2 AND channel = $3 AND from_seq = $4", ended, nil); err != nil {
		return err
	}
	if err := facts.write(ctx, tx); err != nil {
		return err
	}
	for i := range moves {
		e.borders(&moves[i])
	}
	if err := tx.moveRows(ctx, moves); err != nil {
		return err
	}
	return e.changes(ctx, moves)
}

// borders notes in the trends of the channel and of people that a fact ends and another begins.
func (e *evaluating) borders(m *rowMove) {
	diff := m.is.outputs
	diff.add(&m.was.outputs, -1)
	e.tx.border(scopeKey{0, e.ch.id}, e.h.Seq, &diff, 1)
	for _, p := range m.was.people {
		e.tx.border(scopeKey{p, e.ch.id}, e.h.Seq, &diff, 1)
	}
}

func (tx *Tx) loadDrvs(ctx context.Context, ids []int64) (map[int64]*drv, error) {
	drvs := make(map[int64]*drv, len(ids))
	q := "SELECT id, base, system, fod, outputs, state, agree, differ, missing, copying, builders, since FROM drv WHERE id IN ?"
	err := eachIn(ctx, tx, q, nil, ids, func(r *sql.Rows) error {
		d := &drv{}
		var fod int64
		var n [4]int64
		if err := r.Scan(&d.id, &d.base, &d.system, &fod, &d.text, &d.state, &n[0], &n[1], &n[2], &n[3], &d.builders, &d.since); err != nil {
			return err
		}
		d.fod = fod == 1
		for i, s := range []State{Agree, Differ, Missing, Copying} {
			d.counts.output(s, d.fod, n[i])
		}
		drvs[d.id] = d
		return nil
	})
	return drvs, err
}

package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// output is a row of the table.
type output struct {
	id  int64
	key outKey
	flags
	summary
}

// outChange is what changes about the claims that count of an output.
type outChange struct {
	add, del []claim
}

// touch notes that an output is to be looked at again.
func (tx *Tx) touch(out int64) *outChange {
	ch := tx.dirty[out]
	if ch == nil {
		ch = &outChange{}
		tx.dirty[out] = ch
	}
	return ch
}

// outputs returns the rows of outputs, which it makes if need be.
func (tx *Tx) outputs(ctx context.Context, keys []outKey) (map[outKey]int64, error) {
	ids := make(map[outKey]int64, len(keys))
	missing := make(map[outKey]bool)
	var hs []int64
	for _, k := range keys {
		if _, ok := ids[k]; ok || missing[k] {
			continue
		}
		if id, ok := tx.outs.get(k); ok {
			ids[k] = id
			continue
		}
		missing[k] = true
		hs = append(hs, hashPart60(k.path))
	}
	slices.Sort(hs)
	err := eachIn(ctx, tx, "SELECT id, path, real FROM output WHERE h IN ?", nil, slices.Compact(hs), func(r *sql.Rows) error {
		var id, real int64
		var k outKey
		if err := r.Scan(&id, &k.path, &real); err != nil {
			return err
		}
		if k.real = real == 1; missing[k] {
			ids[k] = id
			tx.outs.put(k, id)
			delete(missing, k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, k := range keys { // in their order, so that ids do not depend on a map
		if missing[k] {
			delete(missing, k)
			id := tx.id("output")
			ids[k] = id
			tx.outs.put(k, id)
			tx.fresh[id] = &output{id: id, key: k, summary: summary{state: Missing}}
			tx.touch(id)
			if !k.real {
				tx.stats["outputs"]++
			}
		}
	}
	return ids, nil
}

// flushChunk is how many outputs are looked at together.
const flushChunk = 1000

func (tx *Tx) flushOutputs(ctx context.Context) error {
	ids := slices.Sorted(maps.Keys(tx.dirty))
	for chunk := range slices.Chunk(ids, flushChunk) {
		if err := tx.flushSome(ctx, chunk); err != nil {
			return err
		}
	}
	return tx.further.write(ctx, tx)
}

var (
	outputTable = newTable("output", "id h path real fod random system state agreeing against builders since",
		upsert("id", "fod random system state agreeing against builders since"))
	newOutputTable = newTable("output", "id h path real fod random system state agreeing against builders since", "")
	opOutputTable  = newTable("op_output", "op state out", "")
)

func (tx *Tx) flushSome(ctx context.Context, ids []int64) error {
	var old []int64
	for _, id := range ids {
		if tx.fresh[id] == nil {
			old = append(old, id)
		}
	}
	was, err := tx.loadOutputs(ctx, old)
	if err != nil {
		return err
	}
	claims, err := tx.loadClaims(ctx, old)
	if err != nil {
		return err
	}
	f := flushing{tx: tx, fresh: newOutputTable.rows(), changed: outputTable.rows(), claims: claimTable.rows(), further: furtherTable.rows(), stands: opOutputTable.rows(), was: was}
	for _, id := range ids {
		o := was[id]
		if o == nil {
			o = tx.fresh[id]
		}
		if err := f.output(ctx, o, claims[id], tx.dirty[id]); err != nil {
			return err
		}
	}
	if err := tx.many(ctx, "DELETE FROM op_output WHERE op = $1 AND state = $2 AND out = $3", f.stood, nil); err != nil {
		return err
	}
	for _, r := range []*rows{&f.fresh, &f.changed, &f.claims, &f.further, &f.stands} {
		if err := r.write(ctx, tx); err != nil {
			return err
		}
	}
	if err := tx.moveMembers(ctx, f.moved); err != nil {
		return err
	}
	return eachIn(ctx, tx, "SELECT drv FROM drv_output WHERE out IN ?", nil, f.heard, func(r *sql.Rows) error {
		var drv int64
		err := r.Scan(&drv)
		tx.drvs[drv] = true
		return err
	})
}

// flushing is the work on some outputs.
type flushing struct {
	tx              *Tx
	fresh, changed  rows
	claims, further rows
	stands          rows
	stood           [][]any // rows of op_output that are no longer
	was             map[int64]*output
	moved           []movedOutput // those whose state or sort is another
	heard           []int64       // those whose claims are others
}

type movedOutput struct{ was, is output }

// output computes what an output comes to, and notes what that changes.
func (f *flushing) output(ctx context.Context, o *output, has []*heard, ch *outChange) error {
	tx := f.tx
	before := *o
	before.summary = (&judge{tx: tx, out: o.key, flag: o.flags}).summarize(has)
	has, err := f.hear(ctx, o.id, has, ch)
	if err != nil {
		return err
	}
	now := *o
	now.flags = o.flags.with(tx.flags[o.id])
	now.summary = (&judge{tx: tx, out: o.key, flag: now.flags}).summarize(has)
	row := []any{o.id, hashPart60(o.key.path), o.key.path, bit(o.key.real), bit(now.fod), bit(now.random), now.system, int64(now.state), now.agreeing, now.against, now.builders, now.since}
	if tx.fresh[o.id] != nil {
		f.fresh.add(row...)
		before.state = 0
		delete(tx.fresh, o.id)
	} else {
		f.changed.add(row...)
		f.heard = append(f.heard, o.id)
		if before.state != now.state || before.fod != now.fod {
			f.moved = append(f.moved, movedOutput{before, now})
		}
	}
	if o.key.real {
		return nil
	}
	for i := range ch.del {
		tx.stand(ch.del[i].op, 0, -1)
	}
	for i := range ch.add {
		tx.stand(ch.add[i].op, 0, 1)
	}
	f.stand(&before, &now)
	return nil
}

// stand brings up to date what the operators of an output are told of it.
func (f *flushing) stand(was, is *output) {
	for op, stood := range was.stands {
		stands := is.stands[op]
		if stands != stood {
			f.tx.stand(op, stood, -1)
		}
		if stands == 0 || was.state != is.state {
			f.stood = append(f.stood, []any{op, int64(was.state), is.id})
		}
	}
	for op, stands := range is.stands {
		stood := was.stands[op]
		if stands != stood {
			f.tx.stand(op, stands, 1)
		}
		if stood == 0 || was.state != is.state {
			f.stands.add(op, int64(is.state), is.id)
		}
	}
}

// stand adds n to a counter of an operator: 0 its claims, or where it stands.
func (tx *Tx) stand(op int64, counter int, n int64) {
	d := tx.opDelta[op]
	if d == nil {
		d = new([5]int64)
		tx.opDelta[op] = d
	}
	d[counter] += n
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (tx *Tx) loadOutputs(ctx context.Context, ids []int64) (map[int64]*output, error) {
	outs := make(map[int64]*output, len(ids))
	q := "SELECT id, path, real, fod, random, system, state, agreeing, against, builders, since FROM output WHERE id IN ?"
	err := eachIn(ctx, tx, q, nil, ids, func(r *sql.Rows) error {
		o := &output{}
		var real, fod, random int64
		if err := r.Scan(&o.id, &o.key.path, &real, &fod, &random, &o.system, &o.state, &o.agreeing, &o.against, &o.builders, &o.since); err != nil {
			return err
		}
		o.key.real, o.fod, o.random = real == 1, fod == 1, random == 1
		outs[o.id] = o
		return nil
	})
	return outs, err
}

// loadClaims returns what operators that count say, as it is in the database.
func (tx *Tx) loadClaims(ctx context.Context, ids []int64) (map[int64][]*heard, error) {
	claims := make(map[int64][]*heard)
	q := "SELECT out, op, k, stmt, n, class, time, nar, rest, impl, path FROM claim WHERE out IN ?"
	err := eachIn(ctx, tx, q, nil, ids, func(r *sql.Rows) error {
		c := &heard{stored: true}
		var out int64
		var nar, rest sql.RawBytes
		var class int64
		if err := r.Scan(&out, &c.op, &c.k, &c.stmt, &c.n, &class, &c.time, &nar, &rest, &c.impl, &c.path); err != nil {
			return err
		}
		c.class = verify.Class(class)
		c.nar, c.rest = nix.Hash(nar), [16]byte(rest)
		claims[out] = append(claims[out], c)
		return nil
	})
	return claims, err
}

// mark notes what evaluations say of an output.
func (tx *Tx) mark(out int64, f flags) {
	tx.flags[out] = tx.flags[out].with(f)
	tx.touch(out)
}

package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
)

// counts are Counts in the order of the columns: agree, differ, missing, copying, and
// the first three of fixed-output derivations, then errors.
type counts [8]int64

const countErrors = 7

// output adds n outputs.
func (c *counts) output(s State, fod bool, n int64) {
	switch {
	case s == Copying:
		c[3] += n
	case s == Agree && fod:
		c[4] += n
	case s == Differ && fod:
		c[5] += n
	case s == Missing && fod:
		c[6] += n
	case s == Agree:
		c[0] += n
	case s == Differ:
		c[1] += n
	case s == Missing:
		c[2] += n
	}
}

func (c *counts) add(d *counts, sign int64) {
	for i := range c {
		c[i] += sign * d[i]
	}
}

// values returns the first n as arguments.
func (c *counts) values(n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = c[i]
	}
	return out
}

func (c *counts) dest() []any {
	out := make([]any, len(c))
	for i := range c {
		out[i] = &c[i]
	}
	return out
}

func (c *counts) view() Counts {
	return Counts{Agree: c[0], Differ: c[1], Missing: c[2], Copying: c[3], FODAgree: c[4], FODDiffer: c[5], FODMissing: c[6], Errors: c[countErrors]}
}

// countColumns are the columns of counts.
const countColumns = "agree differ missing copying fod_agree fod_differ fod_missing errors"

// A scope is a channel as a whole, 0, or a person in it.
type scopeKey struct{ scope, channel int64 }

type trendKey struct {
	scopeKey
	seq int64
}

type sums struct {
	attrs int64
	counts
}

// sum adds to what a scope comes to now.
func (tx *Tx) sum(k scopeKey, attrs int64, c *counts, sign int64) {
	s := tx.totals[k]
	if s == nil {
		s = &sums{}
		tx.totals[k] = s
	}
	s.attrs += attrs
	s.add(c, sign)
}

// border adds to by how much a scope differs from the evaluation before.
func (tx *Tx) border(k scopeKey, seq int64, c *counts, sign int64) {
	t := trendKey{k, seq}
	d := tx.trends[t]
	if d == nil {
		d = &counts{}
		tx.trends[t] = d
	}
	d.add(c, sign)
}

// increase is the conflict clause that adds to columns.
func increase(table, keys, columns string) string {
	var set []string
	for _, c := range strings.Fields(columns) {
		set = append(set, c+" = "+table+"."+c+" + excluded."+c)
	}
	return " ON CONFLICT (" + keys + ") DO UPDATE SET " + strings.Join(set, ", ")
}

var (
	totalTable = newTable("total", "scope channel attrs "+countColumns, increase("total", "scope, channel", "attrs "+countColumns))
	trendTable = newTable("trend", "scope channel seq "+countColumns, increase("trend", "scope, channel, seq", countColumns))
	statTable  = newTable("stat", "name n", increase("stat", "name", "n"))
)

// sumChunk is of how many scopes and evaluations a transaction collects by how much they change: each piece of an
// evaluation changes the sums of the same maintainers.
const sumChunk = 10_000

// flushSums writes by how much sums changed. Unless all is set it waits until there are many.
func (tx *Tx) flushSums(ctx context.Context, all bool) error {
	if !all && len(tx.totals)+len(tx.trends) < sumChunk {
		return nil
	}
	total, trend, stat := totalTable.rows(), trendTable.rows(), statTable.rows()
	for _, k := range slices.SortedFunc(maps.Keys(tx.totals), compareScopes) {
		if s := tx.totals[k]; *s != (sums{}) {
			total.add(append([]any{k.scope, k.channel, s.attrs}, s.values(len(s.counts))...)...)
		}
	}
	byTrend := func(a, b trendKey) int {
		return cmp.Or(compareScopes(a.scopeKey, b.scopeKey), cmp.Compare(a.seq, b.seq))
	}
	for _, k := range slices.SortedFunc(maps.Keys(tx.trends), byTrend) {
		if d := tx.trends[k]; *d != (counts{}) {
			trend.add(append([]any{k.scope, k.channel, k.seq}, d.values(len(d))...)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tx.stats)) {
		if n := tx.stats[name]; n != 0 {
			stat.add(name, n)
		}
	}
	for _, r := range []*rows{&total, &trend, &stat} {
		if err := r.write(ctx, tx); err != nil {
			return err
		}
	}
	clear(tx.totals)
	clear(tx.trends)
	clear(tx.stats)
	return nil
}

// flushOperators writes by how much the counters of operators changed.
func (tx *Tx) flushOperators(ctx context.Context) error {
	q := "UPDATE operator SET claims = claims + $1, agreed = agreed + $2, differed = differed + $3, alone = alone + $4, copied = copied + $5 WHERE id = $6"
	for _, op := range slices.Sorted(maps.Keys(tx.opDelta)) {
		if d := tx.opDelta[op]; *d != ([5]int64{}) {
			if err := tx.exec(ctx, q, d[0], d[1], d[2], d[3], d[4], op); err != nil {
				return err
			}
		}
	}
	return nil
}

func compareScopes(a, b scopeKey) int {
	return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.channel, b.channel))
}

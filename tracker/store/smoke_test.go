package store

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/pgtest"
	"github.com/firn-log/firn/tracker/eval"
)

// evaluation is a file in memory.
type evaluation struct {
	h     eval.Header
	attrs []eval.Attribute
}

func (e evaluation) seq() iter.Seq2[eval.Attribute, error] {
	return func(yield func(eval.Attribute, error) bool) {
		for _, a := range e.attrs {
			if !yield(a, nil) {
				return
			}
		}
	}
}

func header(channel string, seq int64, t eval.Tier, full bool) eval.Header {
	return eval.Header{Schema: 1, Channel: channel, Seq: seq, Tier: t, Revision: fmt.Sprint("rev", seq), Time: time.Unix(1_700_000_000+seq*86400, 0), System: "x86_64-linux", Full: full}
}

func evaluate(t testing.TB, db *DB, e evaluation) {
	t.Helper()
	write(t, db, func(tx *Tx) error { return tx.AddEvaluation(context.Background(), e.h, e.seq()) })
}

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestSmoke(t *testing.T) {
	pg := pgtest.Shared(t).Database(t)
	run := func(db *DB, evalFirst bool) string {
		a, b := newPerson(t, "alice"), newPerson(t, "bob")
		hello, zlib, ca := spec{name: "hello", what: "1", finished: 1700000001}, spec{name: "zlib", what: "1", outputs: []string{"out", "dev"}, finished: 1700000002}, spec{name: "caca", what: "1", ca: true}
		zlib2 := zlib
		zlib2.what = "2"
		es := entries(0, a.first, a.builds(hello), a.add, b.first, b.add, b.builds(hello), a.builds(zlib), b.builds(zlib2), a.builds(ca), b.builds(ca))
		drvs := evaluation{header("c", 1, eval.Drvs, true), []eval.Attribute{
			{Attr: "bad", Error: "boom"},
			{Attr: "caca", Drv: ca.drv(), Outputs: ca.paths(t)},
			{Attr: "hello", Drv: hello.drv(), Outputs: hello.paths(t)},
			{Attr: "zlib", Drv: zlib.drv(), Outputs: zlib.paths(t)},
		}}
		metas := evaluation{header("c", 1, eval.Meta, true), []eval.Attribute{
			{Attr: "hello", Pname: "hello", Version: "1", Maintainers: []eval.Maintainer{{Login: "eve"}}},
			{Attr: "zlib", Pname: "zlib", Version: "1", Maintainers: []eval.Maintainer{{Login: "eve"}, {Login: "bob"}}, Teams: []string{"core"}},
		}}
		if evalFirst {
			evaluate(t, db, metas)
			evaluate(t, db, drvs)
		}
		for _, e := range es {
			add(t, db, logA, []Entry{e})
		}
		if !evalFirst {
			evaluate(t, db, drvs)
			evaluate(t, db, metas)
		}
		return dump(t, db)
	}
	one := run(openSQLite(t, Options{}), true)
	two := run(openSQLite(t, Options{}), false)
	three := run(openAt(t, pg, Options{}), true)
	t.Log(one)
	for _, other := range []string{two, three} {
		if diff := firstDifference(one, other); diff != "" {
			t.Error(diff)
		}
	}
}

func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out []string
	in := make(map[string]bool)
	for _, l := range bs {
		in[l] = true
	}
	for _, l := range as {
		if !in[l] {
			out = append(out, "- "+l)
		}
	}
	in = make(map[string]bool)
	for _, l := range as {
		in[l] = true
	}
	for _, l := range bs {
		if !in[l] {
			out = append(out, "+ "+l)
		}
	}
	if len(out) > 20 {
		out = out[:20]
	}
	if len(out) == 0 && a != b {
		return "the order of lines differs"
	}
	return strings.Join(out, "\n")
}

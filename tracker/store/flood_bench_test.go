package store

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/firn-log/firn/internal/pgtest"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// flood is much that is said about one output: of n operators each one says it times times, with
// other contents if contents is set.
type flood struct {
	name         string
	people, each int
	contents     bool
}

// claims returns the claims of all operators, in turn, and so that the last ones are new; said is how many there were.
func (f *flood) claims(t testing.TB, fs []*factory, said, n int, index uint64) (es []Entry) {
	s := spec{name: "popular", what: "same"}
	for i := range n {
		b := s.body(t)
		binary.BigEndian.PutUint64(b.BuildID[:], uint64(said+i+1))
		b.Started, b.Finished = uint64(1_700_000_000+said+i), uint64(1_700_000_000+said+i)
		if f.contents {
			b.Outputs[0].NarHash = digest(fmt.Sprint("nar ", said+i))
		}
		st := fs[(said+i)%len(fs)].make(b)
		es = append(es, Entry{Index: index + uint64(i), Leaf: st.Leaf(), Statement: st, Verified: true})
	}
	return es
}

// make registers the operators and says everything but the last claims.
func (f *flood) make(t testing.TB, db *DB, last int) (rest []Entry) {
	var first []*statement.Statement
	var fs []*factory
	for i := range f.people {
		p := newPerson(t, fmt.Sprint("p", i))
		first = append(first, p.first, p.add)
		fs = append(fs, newFactory(t, p.build))
	}
	es := entries(0, first...)
	for i := range es {
		es[i].Verified = true
	}
	es = append(es, f.claims(t, fs, 0, f.people*f.each, uint64(len(es)))...)
	rest = es[len(es)-last:]
	for es = es[:len(es)-last]; len(es) > 0; {
		n := min(len(es), 1000)
		add(t, db, logA, es[:n])
		es = es[n:]
	}
	return rest
}

func popular(t testing.TB, db *DB) {
	s := spec{name: "popular"}
	evaluate(t, db, evaluation{header("c", 1, eval.Drvs, true), []eval.Attribute{{Attr: "popular", System: "x", Drv: s.drv(), Outputs: s.paths(t)}}})
}

// What one more claim costs, in a transaction of its own, on a path about which much is said already.
func BenchmarkAClaimOnAFloodedPath(b *testing.B) {
	for _, f := range []flood{
		{"4 operators once", 4, 1, false},
		{"one operator 20,000 times", 1, 20_000, false},
		{"one operator, 20,000 contents", 1, 20_000, true},
		{"2,000 operators", 2000, 1, false},
		{"2,000 operators, contents of their own", 2000, 1, true},
	} {
		b.Run(f.name, func(b *testing.B) {
			b.Run("SQLite", func(b *testing.B) { f.bench(b, openSQLite(b, Options{})) })
			b.Run("PostgreSQL", func(b *testing.B) { f.bench(b, openAt(b, pgtest.New(b).Database(b), Options{})) })
		})
	}
}

func (f *flood) bench(b *testing.B, db *DB) {
	last := min(10, f.people*f.each/2)
	if f.people > last { // who claims last comes last
		last = min(10, f.people)
	}
	popular(b, db)
	rest := f.make(b, db, last)
	cpu := cpuTime()
	b.ResetTimer()
	for _, e := range rest {
		add(b, db, logA, []Entry{e})
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(len(rest))/1000, "ms/claim")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(len(rest))/1000, "cpu-ms/claim") // of this process, without PostgreSQL's own
	b.ReportMetric(0, "ns/op")
}

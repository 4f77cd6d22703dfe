package store

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/firn-log/firn/log/statement"
)

// What AddEntries does with statements whose signatures are verified: builds by three operators
// of outputs that each of them has, of which some differ.
func BenchmarkAddEntries(b *testing.B) {
	const batch = 4000
	people := []*person{newPerson(b, "a"), newPerson(b, "b"), newPerson(b, "c")}
	db := openSQLite(b, Options{})
	var first []*statement.Statement
	for _, p := range people {
		first = append(first, p.first, p.add)
	}
	add(b, db, logA, entries(0, first...))
	next := uint64(len(first))
	build := 0
	b.ResetTimer()
	var spent time.Duration
	for done := 0; done < b.N; done += batch {
		b.StopTimer()
		var es []Entry
		for len(es) < batch {
			p := people[build%3]
			what := fmt.Sprint("pkg", build/3)
			if build%30 == 0 {
				what += "other"
			}
			s := p.builds(spec{name: fmt.Sprint("package-", build/3), what: what, finished: uint64(1_700_000_000 + build)})
			es = append(es, Entry{Index: next, Leaf: s.Leaf(), Statement: s, Verified: true})
			next, build = next+1, build+1
		}
		b.StartTimer()
		start := time.Now()
		write(b, db, func(tx *Tx) error { return tx.AddEntries(b.Context(), logA, es) })
		spent += time.Since(start)
		if os.Getenv("VERBOSE") != "" {
			b.Logf("%d: %d/s", next, int(float64(batch)/time.Since(start).Seconds()))
		}
	}
	b.ReportMetric(float64(build)/spent.Seconds(), "statements/s")
}

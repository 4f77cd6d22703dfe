package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/pgtest"
	"github.com/firn-log/firn/log/statement"
)

// manyPaths are n store paths, of which the first is that of spec popular.
func manyPaths(t testing.TB, n int) []nix.StorePath {
	paths := pathsOf(t, []spec{{name: "popular"}})
	for i := 1; i < n; i++ {
		d := digest(fmt.Sprint("member ", i))
		p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(d[:20]) + fmt.Sprint("-member-", i))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

// closureEntry states a closure of paths, with its list beside it if it is long.
func closureEntry(f *factory, name string, paths []nix.StorePath, index uint64) Entry {
	paths = slices.SortedFunc(slices.Values(paths), nix.StorePath.Compare)
	b := &statement.Closure{Name: name, StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(paths), Count: uint64(len(paths))}
	e := Entry{Index: index, Verified: true}
	if len(paths) <= 1000 {
		b.Paths = paths
		e.Statement = f.make(b)
	} else { // its payload is too short for the factory
		e.List = statement.PathsBlob(paths)
		var err error
		if e.Statement, err = statement.Sign(context.Background(), f.signer, b, "", nil); err != nil {
			f.t.Fatal(err)
		}
	}
	e.Leaf = e.Statement.Leaf()
	return e
}

// What closures cost that operators state again and again, and claims about a path that is in all of them.
func BenchmarkClosuresThatShareAPath(b *testing.B) {
	for _, n := range []struct{ people, closures, members int }{{1, 100, 1000}, {1, 10_000, 100}, {1, 4, 32_768}, {1, 68, 32_768}, {10, 640, 300}} {
		b.Run(fmt.Sprintf("%d of %d by %d", n.closures, n.members, n.people), func(b *testing.B) {
			b.Run("SQLite", func(b *testing.B) {
				path := filepath.Join(b.TempDir(), "t.db")
				benchmarkClosures(b, openAt(b, path, Options{}), n.people, n.closures, n.members)
				if st, err := os.Stat(path); err == nil {
					b.ReportMetric(float64(st.Size())/float64(n.closures*n.members), "B/member")
				}
			})
			b.Run("PostgreSQL", func(b *testing.B) {
				benchmarkClosures(b, openAt(b, pgtest.New(b).Database(b), Options{}), n.people, n.closures, n.members)
			})
		})
	}
}

func benchmarkClosures(b *testing.B, db *DB, people, closures, members int) {
	var first []*statement.Statement
	var fs []*factory
	for i := range max(people, 2) {
		p := newPerson(b, fmt.Sprint("p", i))
		first = append(first, p.first, p.add)
		fs = append(fs, newFactory(b, p.build))
	}
	add(b, db, logA, entries(0, first...))
	paths := manyPaths(b, members+closures)
	had := uint64(len(first))
	var id string
	var cpu time.Duration
	b.ResetTimer()
	b.StopTimer()
	for from := 0; from < closures; from += 64 {
		var es []Entry
		for i := from; i < min(from+64, closures); i++ { // each has one path of its own
			own := append(slices.Clone(paths[:members-1]), paths[members+i-1])
			es = append(es, closureEntry(fs[i%people], "system", own, had+uint64(i)))
		}
		id = es[len(es)-1].Statement.ID().String()
		before := cpuTime()
		b.StartTimer()
		add(b, db, logA, es)
		b.StopTimer()
		cpu += cpuTime() - before
	}
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(closures), "ms/closure")
	b.ReportMetric(cpu.Seconds()*1000/float64(closures), "cpu-ms/closure")
	claims := (&flood{"", 2, 1, false}).claims(b, fs, 0, 2, had+uint64(closures))
	add(b, db, logA, claims[:1])
	before := b.Elapsed()
	cpu = cpuTime()
	b.StartTimer()
	add(b, db, logA, claims[1:]) // now they agree
	b.ReportMetric((b.Elapsed()-before).Seconds()*1000, "ms/claim")
	b.ReportMetric((cpuTime()-cpu).Seconds()*1000, "cpu-ms/claim")
	before = b.Elapsed()
	if c, err := db.Closure(b.Context(), id); err != nil || c.Counts.Agree != 1 || c.Known != int64(members) {
		b.Fatal(c, err)
	}
	b.ReportMetric((b.Elapsed()-before).Seconds()*1000, "ms/page")
	before = b.Elapsed()
	if l, err := db.ClosurePaths(b.Context(), id, 0, Page{Limit: 100}); err != nil || len(l.Rows) != 100 && len(l.Rows) != members {
		b.Fatal(l, err)
	}
	b.ReportMetric((b.Elapsed()-before).Seconds()*1000, "ms/members")
	b.ReportMetric(0, "ns/op")
}

package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// The members of the 64 closures that an operator stated last in a log are kept, in whatever order and pieces
// the logs come, also when some are taken back and when another log has them in another order.
func TestTheNewestClosuresAreKept(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		a, b := newPerson(t, "a"), newPerson(t, "b")
		hello := spec{name: "hello", what: "same", finished: 1}
		r := rand.New(rand.NewPCG(1, 2))
		w := &world{logs: map[string][]Entry{logB: {{Leaf: []byte("no statement")}}}}
		put := func(origin string, s *statement.Statement) {
			w.logs[origin] = append(w.logs[origin], entries(uint64(len(w.logs[origin])), s)...)
		}
		for _, s := range []*statement.Statement{a.first, a.add, b.first, b.add, a.builds(hello)} {
			put(logA, s)
		}
		common := hello.body(t).Outputs[0].Path
		var all []*statement.Statement
		for i := range 150 {
			own := nix.EncodeBase32(make([]byte, 20)) + fmt.Sprintf("-own%03d", i)
			p, err := nix.DefaultStoreDir.FromBase(own)
			if err != nil {
				t.Fatal(err)
			}
			paths := []nix.StorePath{p, common}
			s := a.sign(a.build, &statement.Closure{Name: "s", StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(paths), Count: 2, Paths: paths}, nil)
			all = append(all, s)
			put(logA, s)
		}
		for _, i := range r.Perm(150)[:70] { // the others are known from one log alone
			put(logB, all[i])
		}
		for _, i := range r.Perm(150)[:20] {
			put(logA, a.next(&statement.Retract{OperatorID: a.id, Statement: all[i].ID(), Reason: "wrong"}))
			all[i] = nil
		}
		for range 100 { // a log may hold a statement more than once
			put(logA, all[slices.IndexFunc(all, func(s *statement.Statement) bool { return s != nil })])
		}
		put(logA, b.builds(hello))
		want := ""
		for try := range uint64(3) {
			db := fresh(Options{})
			if try == 0 {
				w.replay(t, db)
			} else {
				w.shuffled(t, db, try)
			}
			if got := dump(t, db); want == "" {
				want = got
			} else if diff := firstDifference(want, got); diff != "" {
				t.Fatalf("order %d: %s", try, diff)
			}
			newest := newestOf(w, all)
			kept := 0
			for _, s := range all {
				if s == nil {
					continue
				}
				c, err := db.Closure(t.Context(), s.ID().String())
				if err != nil {
					t.Fatal(err)
				}
				if n := newest[s.ID()]; n && (c.Known != 2 || c.Counts != (Counts{Agree: 1, Missing: 1})) || !n && (c.Known != 0 || c.Counts != (Counts{})) {
					t.Errorf("kept %t: %d members, %+v", n, c.Known, c.Counts)
				}
				kept += int(c.Known / 2)
			}
			if kept < maxClosures || kept >= len(all)-20 {
				t.Errorf("%d of %d closures are kept", kept, len(all)-20)
			}
			db.Close()
		}
	})
}

// newestOf are the closures that are among the last 64 of those that are left in a log, which counts the first time that it has them.
func newestOf(w *world, all []*statement.Statement) map[statement.ID]bool {
	newest, left := make(map[statement.ID]bool), make(map[statement.ID]bool)
	for _, s := range all {
		if s != nil {
			left[s.ID()] = true
		}
	}
	for _, es := range w.logs {
		var first []statement.ID
		for _, e := range es {
			if s := e.Statement; s != nil && left[s.ID()] && !slices.Contains(first, s.ID()) {
				first = append(first, s.ID())
			}
		}
		for _, id := range first[max(0, len(first)-64):] {
			newest[id] = true
		}
	}
	return newest
}

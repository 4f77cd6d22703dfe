package store

import (
	"testing"

	"github.com/firn-log/firn/internal/pgtest"
)

// backends runs a test on both databases. fresh returns an empty one each time.
func backends(t *testing.T, f func(t *testing.T, fresh func(Options) *DB)) {
	t.Run("SQLite", func(t *testing.T) {
		f(t, func(o Options) *DB { return openSQLite(t, o) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		s := pgtest.Shared(t)
		f(t, func(o Options) *DB { return openAt(t, s.Database(t), o) })
	})
}

// Whatever the order and the pieces in which logs and evaluations come, the database is
// the same, and so it is on both databases.
func TestTheDatabaseIsAFunctionOfWhatItIsGiven(t *testing.T) {
	want := make(map[uint64]string)
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		seeds := uint64(12)
		if t.Name() != "TestTheDatabaseIsAFunctionOfWhatItIsGiven/SQLite" {
			seeds = 3
		}
		for seed := range seeds {
			w := makeWorld(t, seed)
			o := Options{Random: []string{"attr7"}}
			if seed%2 == 1 {
				o.Policy, o.PolicyName = testPolicy(t), "test"
			}
			once := fresh(o)
			w.replay(t, once)
			first := dump(t, once)
			if want[seed] == "" {
				want[seed] = first
			}
			if diff := firstDifference(want[seed], first); diff != "" {
				t.Fatalf("world %d: the other database holds something else:\n%s", seed, diff)
			}
			db := fresh(o)
			w.shuffled(t, db, seed)
			if diff := firstDifference(first, dump(t, db)); diff != "" {
				t.Fatalf("world %d: in another order:\n%s", seed, diff)
			}
			if err := db.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.shuffled(t, db, seed+100)
			if diff := firstDifference(first, dump(t, db)); diff != "" {
				t.Fatalf("world %d: after a reset:\n%s", seed, diff)
			}
		}
	})
}

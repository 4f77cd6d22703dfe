package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// muchSaid is a log in which three operators say up to 24 things about two outputs, again and again, and
// take most of it back, and what evaluations say of these.
func muchSaid(t *testing.T, seed uint64) (*world, []spec) {
	r := rand.New(rand.NewPCG(seed, 3))
	specs := []spec{{name: "plain"}, {name: "ca", ca: true}}
	w := &world{logs: map[string][]Entry{logB: {{Leaf: []byte("no statement")}}}}
	put := func(s *statement.Statement) {
		w.logs[logA] = append(w.logs[logA], entries(uint64(len(w.logs[logA])), s)...)
	}
	type saidBy struct {
		p *person
		s *statement.Statement
	}
	var people []*person
	var said []saidBy
	for _, name := range []string{"a", "b", "c"} {
		p := newPerson(t, name)
		put(p.first)
		put(p.add)
		people = append(people, p)
	}
	contents := []int{1, 2, 24}[r.IntN(3)]
	for i := range 200 {
		if len(said) > 0 && (i > 150 || r.IntN(6) == 0) {
			n := r.IntN(len(said))
			s := said[n]
			said[n], said = said[len(said)-1], said[:len(said)-1]
			put(s.p.next(&statement.Retract{OperatorID: s.p.id, Statement: s.s.ID(), Reason: "wrong"}))
			continue
		}
		p := people[min(r.IntN(6), 2)]
		if p == people[2] && contents == 24 && r.IntN(3) > 0 {
			p = people[0] // one says nearly everything
		}
		s := specs[r.IntN(2)]
		s.what, s.finished = fmt.Sprint(r.IntN(contents)), uint64(1000+r.IntN(40))
		b := s.body(t)
		binary.BigEndian.PutUint64(b.BuildID[:], uint64(i))
		if s.ca {
			b.Builder.Implementation = []string{"nix", "lix", "tvix"}[r.IntN(3)]
		}
		st := p.sign(p.build, b, nil)
		put(st)
		said = append(said, saidBy{p, st})
	}
	list := evaluation{h: header("c", 1, eval.Drvs, true)}
	for _, s := range []spec{specs[1], specs[0]} {
		list.attrs = append(list.attrs, eval.Attribute{Attr: s.name, System: "x86_64-linux", Drv: s.drv(), Outputs: s.paths(t)})
	}
	w.evals = append(w.evals, []evaluation{list})
	return w, specs
}

// However much is said, again, and taken back, in whatever order and pieces: outputs come to what the slow
// computation says, and databases hold the same.
func TestMuchThatIsSaidAndTakenBack(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		over := 0
		seeds := []uint64{0, 1, 2, 3, 4, 5, 6, 7}
		if t.Name() != "TestMuchThatIsSaidAndTakenBack/SQLite" {
			seeds = []uint64{7}
		}
		for _, seed := range seeds {
			w, specs := muchSaid(t, seed)
			for _, o := range []Options{{}, {Random: []string{"*"}}} {
				want := ""
				for try := range 3 {
					db := fresh(o)
					if try == 0 {
						w.replay(t, db)
					} else {
						w.shuffled(t, db, seed+uint64(try))
					}
					got := dump(t, db)
					if want == "" {
						want = got
					} else if diff := firstDifference(want, got); diff != "" {
						t.Fatalf("world %d, order %d: %s", seed, try, diff)
					}
					or := newOracle(w, o)
					for _, s := range specs {
						path := s.paths(t)["out"]
						claims := or.claims(path, s.drv(), "out")
						v := stateOf(t, db, s)
						if state := or.state(claims, o.Random != nil, false, path, "x86_64-linux", s.ca); v.State != state {
							t.Fatalf("world %d: %s is %d, want %d by %d claims", seed, s.name, v.State, state, len(claims))
						}
						if len(sayTooMuch(claims)) > 0 {
							over++
						}
					}
					db.Close()
				}
			}
		}
		if over == 0 {
			t.Error("nobody says too much")
		}
	})
}

// Who says too much contradicts itself, of an output whose paths may differ too, and hides nobody's copying.
func TestWhoSaysTooMuchContradictsItself(t *testing.T) {
	a, b, c := newPerson(t, "a"), newPerson(t, "b"), newPerson(t, "c")
	ca := spec{name: "ca", ca: true, what: "same", finished: 7}
	all := []*statement.Statement{a.first, a.add, b.first, b.add, c.first, c.add, a.builds(ca), b.builds(ca)}
	db := openSQLite(t, Options{})
	for i := range maxSaid + 1 {
		s := ca
		s.what = fmt.Sprint(i)
		body := s.body(t)
		body.Builder.Implementation = fmt.Sprint("nix", i) // so that no two contradict each other
		all = append(all, c.sign(c.build, body, nil))
	}
	add(t, db, logA, entries(0, all[:len(all)-1]...))
	if o := stateOf(t, db, ca); o.State != Agree || o.Agreeing != 2 || o.Against != 1 {
		t.Errorf("%d, %d agree, %d do not", o.State, o.Agreeing, o.Against)
	}
	add(t, db, logA, entries(uint64(len(all)-1), all[len(all)-1]))
	if o := stateOf(t, db, ca); o.State != Differ || o.Agreeing != 2 || o.Against != 1 || !o.Since.IsZero() {
		t.Errorf("%d, %d agree, %d do not, since %v", o.State, o.Agreeing, o.Against, o.Since)
	}
}

// One more claim has no more rows read than the one before, however often it was said.
func TestAClaimReadsABoundedNumberOfRows(t *testing.T) {
	for _, contents := range []bool{false, true} {
		db := openSQLite(t, Options{})
		f := &flood{"", 1, 3000, contents}
		popular(t, db)
		f.make(t, db, 0)
		var n int
		if err := db.conn.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM claim").Scan(&n); err != nil || n > maxSaid+1 {
			t.Errorf("%d rows are read for each claim, %v", n, err)
		}
	}
}

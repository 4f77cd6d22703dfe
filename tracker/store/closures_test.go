package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/firn-log/firn/log/statement"
)

// A closure too large for its statement counts by the list that the log has beside it: with it
// at once, from another log later, and only when its operator is known.
func TestAClosureIsReadFromTheListBesideIt(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		a, b := newPerson(t, "alice"), newPerson(t, "bob")
		hello, other := spec{name: "hello", what: "1", finished: 1700000001}, spec{name: "other", what: "1", finished: 1700000001}
		s, list := a.closureBeside([]spec{hello, other})
		people := []*statement.Statement{a.first, a.add, b.first, b.add, a.builds(hello), b.builds(hello)}
		with := func(index uint64) []Entry {
			e := entries(index, s)
			e[0].List = list
			return e
		}
		want := ""
		for name, fill := range map[string]func(db *DB){
			"after its operator": func(db *DB) {
				add(t, db, logA, entries(0, people...))
				add(t, db, logA, with(6))
				add(t, db, logB, entries(0, s))
			},
			"before its operator": func(db *DB) {
				add(t, db, logB, entries(0, s))
				add(t, db, logA, append(entries(0, people...), with(6)...))
			},
			"without it at first": func(db *DB) {
				add(t, db, logA, entries(0, people...))
				add(t, db, logB, entries(0, s))
				add(t, db, logA, with(6))
			},
			"with wrong ones": func(db *DB) {
				e := entries(0, s)
				e[0].List = slices.Concat(list, list)
				add(t, db, logB, e)
				add(t, db, logA, append(entries(0, people...), with(6)...))
			},
		} {
			db := fresh(Options{})
			fill(db)
			c, err := db.Closure(t.Context(), s.ID().String())
			if err != nil || c.Count != 2 || c.Known != 2 || c.Counts.Agree != 1 || c.Counts.Missing != 1 {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
			if got := dump(t, db); want == "" {
				want = got
			} else if diff := firstDifference(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		db := fresh(Options{})
		add(t, db, logA, append(entries(0, people...), entries(6, s)...))
		if c, err := db.Closure(t.Context(), s.ID().String()); err != nil || c.Known != 0 || c.Count != 2 || c.Counts != (Counts{}) {
			t.Errorf("without its list: %+v, %v", c, err)
		}
		add(t, db, logA, entries(7, a.next(&statement.Retract{OperatorID: a.id, Statement: s.ID(), Reason: "wrong"})))
		if _, err := db.Closure(t.Context(), s.ID().String()); err != ErrNotFound {
			t.Errorf("retracted: %v", err)
		}
	})
}

// A system is stated again and again under one name: the list has it once, as it was stated
// last, and its page the earlier ones.
func TestTheNewestClosureOfANameComesFirst(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		db := fresh(Options{})
		a, b := newPerson(t, "alice"), newPerson(t, "bob")
		named := func(p *person, name string, n int) *statement.Statement {
			paths := pathsOf(t, []spec{{name: fmt.Sprint("gen", n), what: "1"}})
			return p.sign(p.build, &statement.Closure{Name: name, StoreDir: paths[0].Dir(), Digest: statement.PathsDigest(paths), Count: 1, Paths: paths}, nil)
		}
		all := []*statement.Statement{a.first, a.add, b.first, b.add}
		var laptops []string
		for n := range 70 {
			s := named(a, "laptop", n)
			all, laptops = append(all, s), append(laptops, s.ID().String())
		}
		all = append(all, named(b, "laptop", 1), named(a, "iso", 0), named(b, "zz", 0))
		add(t, db, logA, entries(0, all...))
		for _, limit := range []int{1, 3, 10} {
			var got []string
			for p := (Page{Limit: limit}); ; {
				l, err := db.Closures(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range l.Rows {
					text := c.By.Name + " " + c.Name
					if c.Name == "laptop" && c.By.Name == "alice" && (c.ID != laptops[69] || c.Before == nil || c.Before.ID != laptops[68]) {
						t.Errorf("%+v before %+v", c, c.Before)
					} else if c.By.Name == "bob" && c.Before != nil {
						t.Errorf("%s: before it is another's", text)
					}
					got = append(got, text)
				}
				if p.After = l.Next; l.Next == "" {
					break
				}
			}
			if want := []string{"alice iso", "alice laptop", "bob laptop", "bob zz"}; !slices.Equal(got, want) {
				t.Errorf("by %d: %q", limit, got)
			}
		}
		hits, err := db.Search(t.Context(), "laptop", 10)
		if err != nil || len(hits) != 2 || hits[0].Kind != "closure" || !slices.ContainsFunc(hits, func(h SearchHit) bool { return h.Key == laptops[69] && h.Text == "laptop" }) {
			t.Errorf("a search finds %+v, %v", hits, err)
		}
		c, err := db.Closure(t.Context(), laptops[0])
		if err != nil || c.ID != laptops[0] || len(c.History) != closureHistory || c.History[0].ID != laptops[69] || c.History[59].ID != laptops[10] || c.Counts != (Counts{}) || c.History[59].Counts.Missing != 1 {
			t.Errorf("the history of %d is not the newest, the newest first: %v", len(c.History), err)
		}
	})
}

// Which closure of a name is the newest does not depend on which log came first.
func TestTheNewestClosureIsThatOfTheLogNotOfTheArrival(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		a := newPerson(t, "alice")
		var c []*statement.Statement
		for n := range 4 {
			paths := pathsOf(t, []spec{{name: fmt.Sprint("gen", n), what: "1"}})
			c = append(c, a.sign(a.build, &statement.Closure{Name: "laptop", StoreDir: paths[0].Dir(), Digest: statement.PathsDigest(paths), Count: 1, Paths: paths}, nil))
		}
		inA := entries(0, a.first, a.add, c[0], c[1], c[0])
		inB := entries(0, a.first, a.add, c[1], c[0], c[2], c[3])
		want := []string{c[1].ID().String(), c[0].ID().String(), c[3].ID().String(), c[2].ID().String()}
		for name, fill := range map[string]func(db *DB){
			"A first": func(db *DB) { add(t, db, logA, inA); add(t, db, logB, inB) },
			"B first": func(db *DB) { add(t, db, logB, inB); add(t, db, logA, inA) },
		} {
			db := fresh(Options{})
			fill(db)
			v, err := db.Closure(t.Context(), want[2])
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range v.History {
				got = append(got, h.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
}

// Of a closure whose members are not known no list is believed that is not of its digest and as long as it says.
func TestAListOfAnotherClosureIsIgnored(t *testing.T) {
	a := newPerson(t, "alice")
	hello, other := spec{name: "hello", what: "1", finished: 1}, spec{name: "other", what: "1", finished: 1}
	s, list := a.closureBeside([]spec{hello})
	_, another := a.closureBeside([]spec{other})
	longer := *s.Body.(*statement.Closure)
	longer.Count++
	for name, tt := range map[string]struct {
		s     *statement.Statement
		list  []byte
		known int64
	}{
		"its own":             {s, list, 1},
		"another's":           {s, another, 0},
		"shorter than stated": {a.sign(a.build, &longer, nil), list, 0},
	} {
		db := openSQLite(t, Options{})
		e := entries(2, tt.s)
		e[0].List = tt.list
		add(t, db, logA, append(entries(0, a.first, a.add), e...))
		if c, err := db.Closure(t.Context(), tt.s.ID().String()); err != nil || c.Known != tt.known {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

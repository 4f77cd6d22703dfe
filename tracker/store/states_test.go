package store

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// state returns the state of the first output of a build.
func stateOf(t *testing.T, db *DB, s spec) *OutputView {
	t.Helper()
	name := s.names()[0]
	path := s.body(t).Outputs[0].Path.Base()
	if s.ca {
		path = s.drv() + "!" + name
	}
	o, _, err := db.Output(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestStates(t *testing.T) {
	a, b, c := newPerson(t, "a"), newPerson(t, "b"), newPerson(t, "c")
	stranger := newPerson(t, "stranger")
	hello := spec{name: "hello", what: "same"}
	other := spec{name: "hello", what: "other"}
	random := spec{name: "random", what: "same"}
	randomOther := spec{name: "random", what: "other"}
	ca, caOther := spec{name: "ca", what: "same", ca: true}, spec{name: "ca", what: "other", ca: true}
	otherNix := func(p *person, s spec) *statement.Statement {
		body := s.body(t)
		body.Builder.Implementation = "lix"
		return p.sign(p.build, body, nil)
	}
	sizes := hello.body(t)
	sizes.Outputs[0].NarSize++
	tests := []struct {
		name string
		of   spec
		said []*statement.Statement
		want State
	}{
		{"nobody", hello, nil, Missing},
		{"one builder", hello, []*statement.Statement{a.builds(hello)}, Missing},
		{"one builder twice", hello, []*statement.Statement{a.builds(hello), a.sign(a.build, hello.body(t), nil)}, Missing},
		{"two builders", hello, []*statement.Statement{a.builds(hello), b.builds(hello)}, Agree},
		{"a builder and a cache that nobody registered", hello, []*statement.Statement{a.builds(hello), cacheSig(t, "c", hello)}, Missing},
		{"a builder and a stranger", hello, []*statement.Statement{a.builds(hello), stranger.builds(hello)}, Missing},
		{"two differ", hello, []*statement.Statement{a.builds(hello), b.builds(other)}, Differ},
		{"two against one", hello, []*statement.Statement{a.builds(hello), b.builds(hello), c.builds(other)}, Differ},
		{"one differs with itself", hello, []*statement.Statement{a.builds(hello), a.builds(other)}, Differ},
		{"another size is another content", hello, []*statement.Statement{a.builds(hello), b.sign(b.build, sizes, nil)}, Differ},
		{"a stranger differs", hello, []*statement.Statement{a.builds(hello), b.builds(hello), stranger.builds(other)}, Agree},
		{"a forged claim differs", hello, []*statement.Statement{a.builds(hello), b.builds(hello), forged(t, c.builds(other))}, Agree},
		{"random and different", random, []*statement.Statement{a.builds(random), b.builds(randomOther)}, Differ},
		{"random and one builder", random, []*statement.Statement{a.builds(random)}, Missing},
		{"random and the same", random, []*statement.Statement{a.builds(random), b.builds(random)}, Copying},
		{"random, and two of three the same", random, []*statement.Statement{a.builds(random), b.builds(random), c.builds(randomOther)}, Copying},
		{"content-addressed, the same path", ca, []*statement.Statement{a.builds(ca), b.builds(ca)}, Agree},
		{"content-addressed, other paths by one Nix", ca, []*statement.Statement{a.builds(ca), b.builds(caOther)}, Differ},
		{"content-addressed, other paths by two Nixes", ca, []*statement.Statement{a.builds(ca), otherNix(b, caOther)}, Missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := openSQLite(t, Options{Random: []string{"rand*"}})
			people := []*statement.Statement{a.first, a.add, b.first, b.add, c.first, c.add}
			add(t, db, logA, entries(0, append(people, tt.said...)...))
			evaluate(t, db, evaluation{header("c", 1, eval.Drvs, true), []eval.Attribute{
				{Attr: "ca", Drv: ca.drv(), Outputs: ca.paths(t)},
				{Attr: "hello", Drv: hello.drv(), Outputs: hello.paths(t)},
				{Attr: "random", Drv: random.drv(), Outputs: random.paths(t)},
			}})
			o := stateOf(t, db, tt.of)
			if o.State != tt.want || o.Reason == "" || len(o.Claims) != len(tt.said) {
				t.Errorf("%d %q with %d claims, want %d", o.State, o.Reason, len(o.Claims), tt.want)
			}
			l, err := db.Attributes(t.Context(), Filter{Channel: "c"}, Page{Limit: 10})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range l.Rows {
				if r.Attr == tt.of.name && r.State != tt.want {
					t.Errorf("the attribute's state is %d", r.State)
				}
			}
		})
	}
}

// Whatever a key's people statements say counts for claims before and after them.
func TestWhatPeopleSayCountsForClaimsBeforeAndAfter(t *testing.T) {
	hello := spec{name: "hello", what: "same"}
	late := spec{name: "late", what: "same"}
	tests := []struct {
		name string
		said func(a, b *person) []*statement.Statement
		want State
		why  string
	}{
		{"the key is added after the claims", func(a, b *person) []*statement.Statement {
			return []*statement.Statement{a.builds(hello), b.builds(hello), a.first, b.first, a.add, b.add}
		}, Agree, ""},
		{"a claim is retracted before it comes", func(a, b *person) []*statement.Statement {
			s := a.builds(hello)
			return []*statement.Statement{a.first, a.add, b.first, b.add, b.builds(hello), a.next(&statement.Retract{OperatorID: a.id, Statement: s.ID(), Reason: "oops"}), s}
		}, Missing, "its operator retracted it"},
		{"a claim is retracted after it came", func(a, b *person) []*statement.Statement {
			s := a.builds(hello)
			return []*statement.Statement{a.first, a.add, b.first, b.add, b.builds(hello), s, a.next(&statement.Retract{OperatorID: a.id, Statement: s.ID(), Reason: "oops"})}
		}, Missing, "its operator retracted it"},
		{"a key is revoked from before the claim", func(a, b *person) []*statement.Statement {
			r := &statement.KeyRevoke{OperatorID: a.id, KeyID: a.build.PublicKey().ID(), Reason: statement.Compromised, Cuts: map[string]uint64{logA: 4}, Elsewhere: statement.Drop}
			return []*statement.Statement{a.first, a.add, b.first, b.add, a.builds(hello), b.builds(hello), a.next(r)}
		}, Missing, "its key is revoked"},
		{"a key is revoked from after the claim", func(a, b *person) []*statement.Statement {
			r := &statement.KeyRevoke{OperatorID: a.id, KeyID: a.build.PublicKey().ID(), Reason: statement.Rotated, Cuts: map[string]uint64{logA: 5}, Elsewhere: statement.Drop}
			return []*statement.Statement{a.first, a.add, b.first, b.add, a.builds(hello), b.builds(hello), a.next(r)}
		}, Agree, ""},
		{"an operator forks before the claim", func(a, b *person) []*statement.Statement {
			prev := a.last
			one := a.next(&statement.Retract{OperatorID: a.id, Statement: statement.ID{1}, Reason: "one"})
			two := a.sign(a.identity, &statement.Retract{OperatorID: a.id, Statement: statement.ID{2}, Reason: "two"}, &prev)
			return []*statement.Statement{a.first, a.add, b.first, b.add, one, a.builds(hello), b.builds(hello), two}
		}, Missing, "its operator's statements fork"},
		{"a key of two operators", func(a, b *person) []*statement.Statement {
			return []*statement.Statement{a.first, a.add, b.first, b.add, a.builds(hello), b.builds(hello), b.addKey(a.build)}
		}, Missing, "its key belongs to two operators"},
		{"a key that nobody registered", func(a, b *person) []*statement.Statement {
			return []*statement.Statement{b.first, b.add, a.builds(hello), b.builds(hello)}
		}, Missing, "its signature cannot be checked: no followed log shows its key, or what it signed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := newPerson(t, "a"), newPerson(t, "b")
			said := append(tt.said(a, b), b.builds(late))
			db := openSQLite(t, Options{})
			for _, e := range entries(0, said...) {
				add(t, db, logA, []Entry{e})
			}
			o := stateOf(t, db, hello)
			if o.State != tt.want {
				t.Errorf("state %d, want %d", o.State, tt.want)
			}
			why := ""
			for _, c := range o.Claims {
				why += c.Why
			}
			if why != tt.why {
				t.Errorf("why %q, want %q", why, tt.why)
			}
		})
	}
}

// The same statement in two logs is one claim with two places, and counts if it does in one.
func TestAStatementInTwoLogsIsOneClaim(t *testing.T) {
	a, b := newPerson(t, "a"), newPerson(t, "b")
	hello := spec{name: "hello", what: "same"}
	s := a.builds(hello)
	db := openSQLite(t, Options{})
	add(t, db, logA, entries(0, a.first, a.add, b.first, b.add, b.builds(hello)))
	add(t, db, logB, entries(0, forged(t, s), s))
	add(t, db, logA, entries(5, s))
	o := stateOf(t, db, hello)
	if o.State != Agree || len(o.Claims) != 2 || len(o.Claims[0].Places) != 3 {
		t.Errorf("%+v", o)
	}
	if v, err := db.Overview(t.Context()); err != nil || v.Statements != 6 || v.Operators != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

// A log may repeat one statement without an end: pages show the first places of it in each log.
func TestPagesShowTheFirstPlacesOfAStatement(t *testing.T) {
	a := newPerson(t, "a")
	hello := spec{name: "hello", what: "same"}
	s := a.builds(hello)
	places(t, func(t *testing.T, dsn string) {
		db := openAt(t, dsn, Options{})
		add(t, db, logB, entries(0, forged(t, s), s))
		add(t, db, logA, entries(0, a.first, a.add))
		add(t, db, logA, entries(2, slices.Repeat([]*statement.Statement{s}, 3*maxPlaces)...))
		v, err := db.Statement(t.Context(), s.ID().String())
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range [][]Place{v.Places, stateOf(t, db, hello).Claims[0].Places} {
			if len(got) != maxPlaces+2 || got[0] != (Place{logA, 2}) || got[maxPlaces-1] != (Place{logA, maxPlaces + 1}) || got[maxPlaces] != (Place{logB, 0}) {
				t.Errorf("%d places: %v", len(got), got)
			}
		}
	})
}

// Fixed outputs agree by construction, so they are not counted among the others.
func TestFixedOutputsAreCountedApart(t *testing.T) {
	a, b := newPerson(t, "a"), newPerson(t, "b")
	src, hello := spec{name: "src", what: "1"}, spec{name: "hello", what: "1"}
	db := openSQLite(t, Options{})
	add(t, db, logA, entries(0, a.first, a.add, b.first, b.add, a.builds(src), b.builds(src), a.builds(hello)))
	evaluate(t, db, evaluation{header("c", 1, eval.Drvs, true), []eval.Attribute{
		{Attr: "hello", Drv: hello.drv(), Outputs: hello.paths(t)},
		{Attr: "hello.src", Drv: src.drv(), Outputs: src.paths(t), FOD: true},
	}})
	c, err := db.Channel(t.Context(), "c")
	if want := (Counts{FODAgree: 1, Missing: 1}); err != nil || c.Counts != want {
		t.Errorf("%+v, %v", c, err)
	}
}

// Names are text from strangers. Nothing of what they hold breaks a query or is changed, but for
// what no database holds.
func TestHostileNames(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		db := fresh(Options{})
		names := []string{"' OR 1=1 --", "<script>alert(1)</script>", "a\x00b", "a\u202eb", "\xff\xfe", "%_%", "'; DROP TABLE stmt; --", "{blob}", "1.2.3", strings.Repeat("x", 256)}
		var attrs []eval.Attribute
		for _, n := range names {
			attrs = append(attrs, eval.Attribute{Attr: clean(n), Pname: n, Version: n, Description: n, Maintainers: []eval.Maintainer{{Login: n, Name: n}}, Teams: []string{n}})
		}
		sortAttrs(attrs)
		evaluate(t, db, evaluation{header("c", 1, eval.Meta, true), attrs})
		drvs := []eval.Attribute{{Attr: "x", Drv: names[0], Outputs: map[string]string{names[1]: names[2], "out": "../../etc/passwd"}}, {Attr: "y", Error: names[2]}}
		evaluate(t, db, evaluation{header("c", 1, eval.Drvs, true), drvs})
		for _, a := range attrs {
			v, err := db.Attribute(t.Context(), a.Attr)
			if err != nil || len(v.Channels) != 1 || v.Channels[0].Meta.Pname != clean(a.Pname) {
				t.Errorf("%q: %+v, %v", a.Attr, v, err)
			}
			if _, err := db.Maintainer(t.Context(), clean(a.Pname)); err != nil {
				t.Errorf("%q: %v", a.Attr, err)
			}
			if _, err := db.Search(t.Context(), a.Pname, 10); err != nil {
				t.Errorf("search %q: %v", a.Pname, err)
			}
		}
		for _, after := range []string{"x", "1", "1.", "-9.", "99999999999999999999.x", "1.\x00"} {
			if _, err := db.Attributes(t.Context(), Filter{Channel: "c"}, Page{After: after, Limit: 1 << 30}); err != nil {
				t.Errorf("after %q: %v", after, err)
			}
		}
		if _, _, err := db.Output(t.Context(), "../../etc/passwd"); err != nil {
			t.Error(err)
		}
	})
}

func sortAttrs(attrs []eval.Attribute) {
	for i := range attrs {
		for j := i; j > 0 && attrs[j].Attr < attrs[j-1].Attr; j-- {
			attrs[j], attrs[j-1] = attrs[j-1], attrs[j]
		}
	}
}

// What other implementations come to is among the hashes of a version, though nobody differs.
func TestHashesByOtherImplementationsAreListed(t *testing.T) {
	a, b := newPerson(t, "a"), newPerson(t, "b")
	ca, other := spec{name: "ca", what: "same", ca: true}, spec{name: "ca", what: "other", ca: true}
	body := other.body(t)
	body.Builder.Implementation = "lix"
	db := openSQLite(t, Options{})
	add(t, db, logA, entries(0, a.first, a.add, b.first, b.add, a.realises(other, "lix"), a.builds(ca), b.sign(b.build, body, nil)))
	evaluate(t, db, evaluation{header("c", 1, eval.Drvs, true), []eval.Attribute{{Attr: "ca", Drv: ca.drv(), Outputs: ca.paths(t)}}})
	v, err := db.Attribute(t.Context(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	if h := v.History[0].NarHashByOutput["out"]; len(h) != 2 {
		t.Errorf("the hashes are %q, want those of both", h)
	}
}

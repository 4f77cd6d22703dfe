package store

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// realises says which path a derivation gave.
func (p *person) realises(s spec, implementation string) *statement.Statement {
	b := s.body(p.t)
	return p.sign(p.build, &statement.Realisation{StoreDir: b.StoreDir, Drv: &b.DrvPath, Output: b.Outputs[0].Name, Path: b.Outputs[0].Path, Builder: statement.Builder{Implementation: implementation, Version: "2"}}, nil)
}

// floods returns n builds of one operator that differ in their build ids alone.
func floods(f *factory, s spec, n int, index uint64) (es []Entry) {
	for i := range n {
		b := s.body(f.t)
		binary.BigEndian.PutUint64(b.BuildID[:], uint64(i+1))
		st := f.make(b)
		es = append(es, Entry{Index: index + uint64(i), Leaf: st.Leaf(), Statement: st, Verified: true})
	}
	return es
}

// Who realised what it built says one thing and not two.
func TestWhoRealisedWhatItBuiltDoesNotContradictItself(t *testing.T) {
	a, b, c := newPerson(t, "a"), newPerson(t, "b"), newPerson(t, "c")
	ca, other := spec{name: "ca", what: "same", ca: true, finished: 1000}, spec{name: "ca", what: "other", ca: true}
	db := openSQLite(t, Options{})
	add(t, db, logA, entries(0, a.first, a.add, b.first, b.add, c.first, c.add, a.realises(ca, "nix"), a.builds(ca), b.builds(ca), c.realises(ca, "nix")))
	if o := stateOf(t, db, ca); o.State != Agree || o.Agreeing != 2 || o.Against != 0 {
		t.Errorf("%d, %d agree, %d do not", o.State, o.Agreeing, o.Against)
	}
	add(t, db, logA, entries(10, c.realises(other, "nix")))
	if o := stateOf(t, db, ca); o.State != Differ || o.Agreeing != 2 || o.Against != 1 {
		t.Errorf("%d, %d agree, %d do not", o.State, o.Agreeing, o.Against)
	}
}

// What is random by construction and signed by a cache that has it was copied by nobody, nor was what is fixed.
func TestNobodyIsWronglySaidToCopy(t *testing.T) {
	p := testPolicy(t)
	a, b := newPerson(t, "op0"), newPerson(t, "op1")
	random, fixed := spec{name: "random", what: "same"}, spec{name: "fixed", what: "same"}
	db := openSQLite(t, Options{Random: []string{"*"}, Policy: p, PolicyName: "test"})
	evaluate(t, db, evaluation{header("c", 1, eval.Drvs, true), []eval.Attribute{
		{Attr: "fixed", System: "x", Drv: fixed.drv(), Outputs: fixed.paths(t), FOD: true},
		{Attr: "random", System: "x", Drv: random.drv(), Outputs: random.paths(t)},
	}})
	add(t, db, logA, entries(0, a.first, a.add, b.first, b.add, a.builds(random), cacheSig(t, "cache0", random), a.builds(fixed), b.builds(fixed)))
	if o := stateOf(t, db, fixed); o.State != Agree {
		t.Errorf("fixed: %d, %s", o.State, o.Reason)
	}
	if o := stateOf(t, db, random); o.State != Missing {
		t.Errorf("random: %d, %s", o.State, o.Reason)
	}
	copied := func(p *person) int64 {
		v, err := db.Operator(t.Context(), p.id.String())
		if err != nil {
			t.Fatal(err)
		}
		return v.Copied
	}
	if copied(a) != 0 {
		t.Error("a builder copies what a cache took from it")
	}
	add(t, db, logA, entries(8, b.builds(random)))
	if o := stateOf(t, db, random); o.State != Copying || copied(a) != 1 || copied(b) != 1 {
		t.Errorf("random, built twice: %d, %s", o.State, o.Reason)
	}
}

// A signature of Nix that does not verify takes its realisation with it.
func TestARealisationWithAForgedSignatureCountsForNothing(t *testing.T) {
	a := newPerson(t, "a")
	s := spec{name: "ca", what: "same", ca: true}
	b := s.body(t)
	r := &statement.Realisation{
		StoreDir: nix.DefaultStoreDir, Drv: &b.DrvPath, Output: "out", Path: b.Outputs[0].Path, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0"},
		NixSigs: []statement.NixSig{{KeyName: "k-1", Key: [32]byte(signer(t, "nix").PublicKey().Ed25519()), Sig: [64]byte{1}, Form: statement.SigByDrvPath}},
	}
	db := openSQLite(t, Options{})
	add(t, db, logA, entries(0, a.first, a.add, a.sign(a.build, r, nil)))
	if o := stateOf(t, db, s); len(o.Claims) != 1 || o.Claims[0].Counts || o.Claims[0].Why != "its signature does not verify" {
		t.Errorf("%+v", o.Claims)
	}
}

// An operator that says much about one output keeps no other one from being seen.
func TestWhoSaysMuchHidesNobody(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		a, b, z := newPerson(t, "a"), newPerson(t, "b"), newPerson(t, "z")
		stranger := newPerson(t, "stranger")
		hello, other := spec{name: "hello", what: "same"}, spec{name: "hello", what: "other"}
		db := fresh(Options{})
		es := entries(0, a.first, a.add, b.first, b.add, a.builds(hello), b.builds(other), z.first, z.add)
		add(t, db, logA, es)
		add(t, db, logA, floods(newFactory(t, z.build), hello, 400, 8))
		add(t, db, logA, floods(newFactory(t, stranger.build), other, 400, 408))
		o := stateOf(t, db, hello)
		who := make(map[string]bool)
		for _, c := range o.Claims {
			who[c.By.Name] = true
		}
		if len(who) != 4 || len(o.Claims) > maxClaims+2*4 || !o.More {
			t.Errorf("%d claims by %v, more %t", len(o.Claims), who, o.More)
		}
		if !strings.Contains(o.Reason, "b") {
			t.Error(o.Reason)
		}
	})
}

// A page of many outputs about which much is said lists a bounded number of claims, and reads each statement once.
func TestAPageOfManyOutputsIsBounded(t *testing.T) {
	p := newPerson(t, "p")
	s := spec{name: "many", what: "x"}
	for i := range 64 {
		s.outputs = append(s.outputs, fmt.Sprintf("o%02d", i))
	}
	db := openSQLite(t, Options{})
	add(t, db, logA, entries(0, p.first, p.add))
	evaluate(t, db, evaluation{header("c", 1, eval.Drvs, true), []eval.Attribute{{Attr: "many", System: "x", Drv: s.drv(), Outputs: s.paths(t)}}})
	add(t, db, logA, floods(newFactory(t, p.build), s, 40, 2))
	v, err := db.Attribute(t.Context(), "many")
	if err != nil {
		t.Fatal(err)
	}
	claims := 0
	for _, o := range v.Channels[0].Outputs {
		claims += len(o.Claims)
	}
	if claims < 64 || claims > 64*(minClaims+2) {
		t.Errorf("%d claims", claims)
	}
	if h := v.History[0].NarHashByOutput["o00"]; len(h) != 1 {
		t.Errorf("hashes %v", h)
	}
}

// Names that strangers give themselves hide no package from a search.
func TestNamesOfStrangersHideNoPackage(t *testing.T) {
	db := openSQLite(t, Options{})
	evaluate(t, db, evaluation{header("c", 1, eval.Meta, true), []eval.Attribute{{Attr: "hello", Name: "hello", Pname: "hello"}}})
	var all []*statement.Statement
	for i := range 700 {
		k := signer(t, fmt.Sprint("id", i))
		s, err := statement.Sign(t.Context(), k, &statement.Operator{Name: fmt.Sprintf("helia-%04d", i), Contact: "x", HomeLog: logA, Identity: k.PublicKey()}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	add(t, db, logA, entries(0, all...))
	hits, err := db.Search(t.Context(), "hel", 20)
	if err != nil || len(hits) != 20 || hits[0].Key != "hello" {
		t.Errorf("%d hits, %v, the first %+v", len(hits), err, hits[0])
	}
}

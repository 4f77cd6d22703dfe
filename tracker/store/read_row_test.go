package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// An operator with many keys fills no page: the live ones come first, and it is said how many are not listed.
func TestAnOperatorWithManyKeys(t *testing.T) {
	db := openSQLite(t, Options{})
	p := newPerson(t, "alice")
	all := []*statement.Statement{p.first, p.add}
	for i := range 120 {
		k := signer(t, fmt.Sprint("key", i))
		all = append(all, p.addKey(k), p.next(&statement.KeyRevoke{OperatorID: p.id, KeyID: k.PublicKey().ID(), Reason: statement.Retired, Elsewhere: statement.Drop}))
	}
	add(t, db, logA, entries(0, all...))
	v, err := db.Operator(t.Context(), p.id.String())
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Keys) != maxKeys || len(v.Keys)+int(v.MoreKeys) != 122 || v.Keys[0].State != "live" || v.Keys[1].State != "live" || v.Keys[2].State == "live" {
		t.Errorf("%d keys and %d more, the first %+v", len(v.Keys), v.MoreKeys, v.Keys[:3])
	}
}

// A tracker that holds nothing has pages, too.
func TestPagesOfAnEmptyDatabase(t *testing.T) {
	db := openSQLite(t, Options{})
	p := Page{Limit: 40}
	for name, f := range map[string]func() (int, error){
		"overview":  func() (int, error) { o, err := db.Overview(t.Context()); return len(o.Channels) + len(o.Logs), err },
		"logs":      func() (int, error) { l, err := db.Logs(t.Context()); return len(l), err },
		"operators": func() (int, error) { l, err := db.Operators(t.Context(), p); return len(l.Rows), err },
		"closures":  func() (int, error) { l, err := db.Closures(t.Context(), p); return len(l.Rows), err },
		"search":    func() (int, error) { l, err := db.Search(t.Context(), "json parser", 30); return len(l), err },
	} {
		if n, err := f(); n != 0 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestRow(t *testing.T) {
	db := openSQLite(t, Options{})
	evaluate(t, db, evaluation{header("c", 1, eval.Meta, true), []eval.Attribute{{Attr: "hello", Pname: "hello", Version: "2"}}})
	if r, err := db.Row(t.Context(), "c", "hello"); err != nil || r.Version != "2" || r.Channel != "c" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, of := range [][2]string{{"c", "hell"}, {"d", "hello"}} {
		if _, err := db.Row(t.Context(), of[0], of[1]); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v: %v", of, err)
		}
	}
}

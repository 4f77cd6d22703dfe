package verify

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/firn-log/firn/log/statement"
)

// registering returns an operator's first statement, and add, which makes its next one.
func registering(t *testing.T, name string) (first *statement.Statement, add func(role statement.Role, key statement.Signer) *statement.Statement) {
	t.Helper()
	identity := signer(t, name)
	sign := func(b statement.Body, prev *statement.ID) *statement.Statement {
		s, err := statement.Sign(t.Context(), identity, b, "", prev)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first = sign(&statement.Operator{Name: name, Contact: "x", HomeLog: "a.example/00000000", Identity: identity.PublicKey()}, nil)
	last := first.ID()
	return first, func(role statement.Role, key statement.Signer) *statement.Statement {
		b, err := statement.ProveKey(t.Context(), key, first.ID(), role)
		if err != nil {
			t.Fatal(err)
		}
		s := sign(b, &last)
		last = s.ID()
		return s
	}
}

// What an operator with many keys takes grows with their number and not with its square.
func TestManyKeysOfOneOperatorTakeLittle(t *testing.T) {
	for _, role := range []statement.Role{statement.RoleIdentity, statement.RoleBuild} {
		r := NewRegister(nil)
		r.AddLog("a.example/00000000")
		first, add := registering(t, "many")
		r.Add(first, "a.example/00000000", 0)
		const n = 1500
		for i := range uint64(n) {
			r.Add(add(role, signer(t, fmt.Sprint(role, i))), "a.example/00000000", i+1)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r.Update()
		runtime.ReadMemStats(&after)
		if got := len(r.Registered(first.ID()).Keys); got != n+1 {
			t.Errorf("%d keys", got)
		}
		if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 20_000 {
			t.Errorf("%s: %d bytes for each of %d keys", role, each, n)
		}
	}
}

// Who shares a key with an operator hears of it with that operator's statements.
func TestWhoSharesAKeyIsNews(t *testing.T) {
	r := NewRegister(nil)
	r.AddLog("a.example/00000000")
	shared := signer(t, "shared")
	one, addOne := registering(t, "one")
	two, addTwo := registering(t, "two")
	r.Add(one, "a.example/00000000", 0)
	r.Add(addOne(statement.RoleBuild, shared), "a.example/00000000", 1)
	r.Update()
	r.Add(two, "a.example/00000000", 2)
	r.Add(addTwo(statement.RoleBuild, shared), "a.example/00000000", 3)
	if n := r.Update(); len(n.Operators) != 2 || len(r.Owners(shared.PublicKey().ID())) != 2 {
		t.Errorf("%+v, %d owners", n, len(r.Owners(shared.PublicKey().ID())))
	}
	if r.Live(shared.PublicKey().ID(), statement.ID{}, "a.example/00000000", 9) != "" {
		t.Error("a key of two operators counts")
	}
}

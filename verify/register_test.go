package verify

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
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

// Statements are linked as if all were gone through again and again until none finds its place.
func TestStatementsAreLinkedInRounds(t *testing.T) {
	identity, second := signer(t, "linked"), signer(t, "linked second")
	sign := func(by statement.Signer, b statement.Body, prev *statement.ID) *statement.Statement {
		s, err := statement.Sign(t.Context(), by, b, "", prev)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := sign(identity, &statement.Operator{Name: "x", Contact: "x", HomeLog: "a.example/00000000", Identity: identity.PublicKey()}, nil)
	grant, err := statement.ProveKey(t.Context(), second, first.ID(), statement.RoleIdentity)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := []*statement.Statement{first}
		for i := range 30 {
			prev := all[max(0, len(all)-1-r.IntN(3))].ID()
			by := []statement.Signer{identity, second}[r.IntN(2)]
			var body statement.Body = &statement.Retract{OperatorID: first.ID(), Statement: statement.ID{byte(i)}, Reason: "x"}
			switch r.IntN(8) {
			case 0, 1:
				by, body = identity, grant
			case 2:
				body = &statement.KeyRevoke{OperatorID: first.ID(), KeyID: map[bool]statement.Signer{true: second, false: identity}[by == identity].PublicKey().ID(), Reason: statement.Rotated, Elsewhere: statement.Keep}
			}
			if s := sign(by, body, &prev); !slices.ContainsFunc(all, func(o *statement.Statement) bool { return o.ID() == s.ID() }) {
				all = append(all, s)
			}
		}
		var fs []found
		for i, at := range r.Perm(len(all)) {
			fs = append(fs, found{Statement: all[at], id: all[at].ID(), places: []Place{{"a", uint64(i)}}})
		}
		rank := func(_ string, p Place) (int, uint64) { return 0, p.Index }
		got := buildChain(first.ID(), slices.Clone(fs), rank)
		want := &chain{
			id: first.ID(), nodes: make(map[statement.ID]*node), keys: make(map[statement.KeyID]statement.PublicKey),
			revoked: make(map[statement.KeyID]bool), retract: make(map[statement.ID]bool), ahead: make(map[statement.ID]bool), refused: make(map[statement.ID]string),
		}
		var rest []found
		for _, f := range fs {
			if f.id == first.ID() {
				want.plant(f)
			} else {
				rest = append(rest, f)
			}
		}
		for again := true; again; {
			again = false
			rest = slices.DeleteFunc(rest, func(f found) bool {
				parent := want.nodes[*f.Prev]
				if parent != nil {
					again = true
					want.grow(parent, f)
				}
				return parent != nil
			})
		}
		for _, f := range rest {
			want.revokeAhead(f)
		}
		if len(got.nodes) != len(want.nodes) || !maps.Equal(got.revoked, want.revoked) || !maps.Equal(got.retract, want.retract) || !maps.Equal(got.refused, want.refused) || !maps.Equal(got.ahead, want.ahead) {
			t.Fatalf("seed %d: %d nodes instead of %d", seed, len(got.nodes), len(want.nodes))
		}
	}
}

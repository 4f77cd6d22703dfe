package store

import (
	"runtime"
	"testing"

	"github.com/firn-log/firn/log/statement"
)

// A key that was another operator's too, until a statement of another log came before the one that
// brought it, is said to be shared no longer.
func TestAKeyThatIsSharedNoLonger(t *testing.T) {
	p, q := newPerson(t, "p"), newPerson(t, "q")
	second := signer(t, "p's second identity")
	body, err := statement.ProveKey(t.Context(), second, p.id, statement.RoleIdentity)
	if err != nil {
		t.Fatal(err)
	}
	grant := p.next(body)
	prev := grant.ID()
	shared, err := statement.ProveKey(t.Context(), q.build, p.id, statement.RoleBuild)
	if err != nil {
		t.Fatal(err)
	}
	stolen := p.sign(second, shared, &prev)
	revoke := p.sign(p.identity, &statement.KeyRevoke{OperatorID: p.id, KeyID: second.PublicKey().ID(), Reason: statement.Compromised, Elsewhere: statement.Drop}, &prev)
	a, b := entries(0, p.first, p.add, grant, q.first, q.add, revoke), entries(0, stolen)
	first := openSQLite(t, Options{})
	add(t, first, logA, a)
	add(t, first, logB, b)
	shuffled := openSQLite(t, Options{})
	add(t, shuffled, logA, a[:5])
	add(t, shuffled, logB, b)
	add(t, shuffled, logA, a[5:])
	if diff := firstDifference(dump(t, first), dump(t, shuffled)); diff != "" {
		t.Error(diff)
	}
}

// What many retractions take does not grow with what there is about the output that they are about.
func TestManyRetractionsTakeLittle(t *testing.T) {
	z := newPerson(t, "z")
	db := openSQLite(t, Options{})
	es := floods(newFactory(t, z.build), spec{name: "hello", what: "same"}, 2000, 2)
	add(t, db, logA, entries(0, z.first, z.add))
	add(t, db, logA, es)
	const n = 200
	var all []*statement.Statement
	for i := range n {
		all = append(all, z.next(&statement.Retract{OperatorID: z.id, Statement: es[i].Statement.ID(), Reason: "x"}))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	add(t, db, logA, entries(2002, all...))
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 150_000 {
		t.Errorf("%d bytes for each retraction", each)
	}
	v, err := db.Operator(t.Context(), z.id.String())
	if err != nil || v.Claims != 2000-n {
		t.Errorf("%+v, %v", v, err)
	}
}

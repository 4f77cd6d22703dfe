package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

var helloSubject = func(t testing.TB) Subject { return subject(t, "hello", "hello") }

func TestIdentityKeysMakeNoClaims(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	w.put(0, w.sign(ps["a"].identity, buildOf(t, "hello", "hello"), nil))
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Untrusted, "0 found")

	// Also not by being added as a build key.
	both := signer(t, "both")
	ps["a"].addKey(both, statement.RoleIdentity)
	ps["a"].addKey(both, statement.RoleBuild)
	w.put(0, w.sign(both, buildOf(t, "hello", "hello"), nil))
	w.expect(pol, helloSubject(t), Untrusted, "0 found")

	// Nor by being named in the policy.
	byKey := w.parse("operator a key " + ps["a"].identity.PublicKey().ID().String() + "\ngroup g 1 a\n")
	r := w.verify(byKey, helloSubject(t))
	if r.Paths[0].Verdict != Untrusted || len(r.Operators[0].Notes) != 1 || !strings.Contains(r.Operators[0].Notes[0], "identity key") {
		t.Errorf("%v %v", r.Paths[0].Verdict, r.Operators[0].Notes)
	}
}

func TestBuildKeysSignNoPeopleStatements(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	thief := signer(t, "thief")
	a := ps["a"]
	last := a.last
	w.put(0, w.sign(a.build, a.proven(thief, statement.RoleBuild), &last))
	w.put(0, w.sign(thief, buildOf(t, "hello", "hello"), nil))
	r := w.verify(w.policy(ps, "group g 1 a"), helloSubject(t))
	if r.Paths[0].Verdict != Untrusted || r.Operators[0].Fork != nil {
		t.Errorf("a stolen build key added a key: %v, fork %v", r.Paths[0].Verdict, r.Operators[0].Fork)
	}
	a.addKey(signer(t, "second"), statement.RoleBuild) // not a fork either
	if r := w.verify(w.policy(ps, "group g 1 a"), helloSubject(t)); r.Operators[0].Fork != nil {
		t.Errorf("a build key made a fork: %v", r.Operators[0].Fork)
	}
}

func TestKeyAddCarriesTheNewKeysOwnProof(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	// b claims a's build key as its own, with the proof that a's key gave to a.
	stolen := ps["a"].proven(ps["a"].build, statement.RoleBuild)
	stolen.OperatorID = ps["b"].id
	ps["b"].say(stolen)
	ps["a"].builds("hello", "hello")
	w.expect(w.policy(map[string]*person{"a": ps["a"]}, "group g 1 a"), helloSubject(t), Trusted, "1 found")
	w.expect(w.policy(map[string]*person{"b": ps["b"]}, "group g 1 b"), helloSubject(t), Untrusted, "0 found")
	w.expect(w.policy(ps, "group g all a b"), helloSubject(t), Untrusted, "1 found")
}

func TestAKeySeenUnderTwoOperatorsCountsForNeither(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	ps["b"].addKey(ps["a"].build, statement.RoleBuild)
	ps["a"].builds("hello", "hello")
	r := w.verify(w.policy(ps, "group g 1 a b"), helloSubject(t))
	if r.Paths[0].Verdict != Untrusted || !strings.Contains(r.Operators[0].Words(), "belongs to two operators and counts for neither") {
		t.Errorf("%v %s", r.Paths[0].Verdict, r.Operators[0].Words())
	}
	// b names the key by itself in the policy: the same.
	key := ps["a"].build.PublicKey().ID().String()
	only := map[string]*person{"a": ps["a"]}
	r = w.verify(w.policy(only, "operator c key "+key, "group g 1 a c"), helloSubject(t))
	if r.Paths[0].Verdict != Untrusted {
		t.Errorf("named by key and by id: %v", r.Paths[0].Verdict)
	}
	r = w.verify(w.parse("operator c key "+key+"\ngroup g 1 c\n"), helloSubject(t))
	if r.Paths[0].Verdict != Untrusted || !strings.Contains(r.Operators[0].Words(), "belongs to two operators") {
		t.Errorf("by key: %v %s", r.Paths[0].Verdict, r.Operators[0].Words())
	}
}

func TestTwoKeysOfOneOperatorInThePolicyAreOneVote(t *testing.T) {
	w := newWorld(t)
	a := w.person("a")
	second := signer(t, "second")
	a.addKey(second, statement.RoleBuild)
	a.builds("hello", "hello")
	w.put(0, w.sign(second, buildOf(t, "hello", "hello"), nil))
	one, two := a.build.PublicKey().ID(), second.PublicKey().ID()
	w.expect(w.parse(fmt.Sprintf("operator x key %s\noperator y key %s\ngroup g 2 x y\n", one, two)), helloSubject(t), Untrusted, "1 found")
	w.expect(w.parse(fmt.Sprintf("operator x key %s %s\ngroup g 1 x\n", one, two)), helloSubject(t), Trusted, "1 found")
	w.expect(w.policy(map[string]*person{"a": a}, "group g 1 a"), helloSubject(t), Trusted, "1 found")
}

func TestClaimsAtOrAfterACutDoNotCount(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	a := ps["a"]
	at := w.put(0, w.sign(a.build, buildOf(t, "hello", "hello"), nil))
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "1 found")
	cut := func(n uint64) map[string]uint64 { return map[string]uint64{w.logs[0].Origin(): n} }
	a.say(a.revoke(a.build.PublicKey().ID(), cut(at+1), statement.Drop))
	w.expect(pol, helloSubject(t), Trusted, "1 found") // the claim is before the cut
	a.builds("other", "other")
	w.expect(pol, subject(t, "other", "other"), Untrusted, "0 found") // this one is after it
	a.say(a.revoke(a.build.PublicKey().ID(), cut(at), statement.Keep))
	w.expect(pol, helloSubject(t), Untrusted, "0 found") // at the cut
}

func TestElsewhereDecidesForUnnamedLogs(t *testing.T) {
	for _, c := range []struct {
		elsewhere statement.Elsewhere
		want      Verdict
	}{{statement.Keep, Trusted}, {statement.Drop, Untrusted}} {
		w := newWorld(t, logtest.New(t), logtest.New(t, logtest.Origin("second.example/00000001")))
		ps := w.people("a")
		ps["a"].buildsIn(1, "hello", "hello")
		ps["a"].say(ps["a"].revoke(ps["a"].build.PublicKey().ID(), map[string]uint64{w.logs[0].Origin(): 0}, c.elsewhere))
		w.expect(w.policy(ps, "group g 1 a"), helloSubject(t), c.want, "")
	}
}

func TestARevocationSeenInAnyListedLogActsAtOnce(t *testing.T) {
	w := newWorld(t, logtest.New(t), logtest.New(t, logtest.Origin("second.example/00000001")))
	ps := w.people("a")
	a := ps["a"]
	a.builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	w.put(1, a.next(a.revoke(a.build.PublicKey().ID(), map[string]uint64{w.logs[0].Origin(): 0}, statement.Drop)))
	w.expect(pol, helloSubject(t), Untrusted, "0 found")
}

func TestStrangersRevokeAndRetractNothing(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	claim := ps["a"].builds("hello", "hello")
	pol := w.policy(map[string]*person{"a": ps["a"]}, "group g 1 a")
	// In b's own chain, and in a's with b's signature.
	ps["b"].say(&statement.KeyRevoke{
		OperatorID: ps["b"].id, KeyID: ps["a"].build.PublicKey().ID(), Reason: statement.Compromised,
		Cuts: map[string]uint64{w.logs[0].Origin(): 0}, Elsewhere: statement.Drop,
	})
	ps["b"].say(&statement.Retract{OperatorID: ps["b"].id, Statement: claim.ID(), Reason: "no"})
	last := ps["a"].last
	w.put(0, w.sign(ps["b"].identity, &statement.Retract{OperatorID: ps["a"].id, Statement: claim.ID(), Reason: "no"}, &last))
	w.put(0, w.sign(ps["b"].identity, ps["a"].revoke(ps["a"].build.PublicKey().ID(), nil, statement.Drop), &last))
	r := w.verify(pol, helloSubject(t))
	if r.Paths[0].Verdict != Trusted || r.Operators[0].Fork != nil {
		t.Errorf("%v, fork %v", r.Paths[0].Verdict, r.Operators[0].Fork)
	}
}

func TestRetractedClaimsAreNotLive(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	wrong := ps["a"].builds("hello", "wrong")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Contradicted, "a contradicts itself")
	ps["a"].say(&statement.Retract{OperatorID: ps["a"].id, Statement: wrong.ID(), Reason: "bad memory"})
	w.expect(pol, helloSubject(t), Trusted, "1 found")
}

func TestTwoSuccessorsOfOnePrevStopItsVotesFromThereAndAreShown(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	a := ps["a"]
	a.builds("hello", "hello")
	before := a.last
	second := signer(t, "second")
	a.addKey(second, statement.RoleBuild)
	w.put(0, w.sign(second, buildOf(t, "second", "second"), nil))
	a.builds("later", "later")
	pol := w.policy(ps, "group g 1 a")
	for _, name := range []string{"hello", "second", "later"} {
		w.expect(pol, subject(t, name, name), Trusted, "1 found")
	}
	// Whoever has the identity key now signs another successor of an old statement.
	w.put(0, w.sign(a.identity, a.proven(signer(t, "thief"), statement.RoleBuild), &before))
	w.put(0, w.sign(signer(t, "thief"), buildOf(t, "thief", "thief"), nil))
	w.expect(pol, helloSubject(t), Trusted, "1 found") // made before the fork
	for _, name := range []string{"second", "later", "thief"} {
		w.expect(pol, subject(t, name, name), Untrusted, "0 found")
	}
	r := w.verify(pol, helloSubject(t))
	if f := r.Operators[0].Fork; f == nil || f.Prev != before || len(f.Successors) != 2 {
		t.Errorf("the fork is not shown: %+v", f)
	}
	var b strings.Builder
	if err := r.WriteTable(&b, false); err != nil || !strings.Contains(b.String(), "operator a: its people statements fork") {
		t.Errorf("the table does not show the fork:\n%s", b.String())
	}
}

func TestAForkAcrossLogsIsSeen(t *testing.T) {
	w := newWorld(t, logtest.New(t), logtest.New(t, logtest.Origin("second.example/00000001")))
	ps := w.people("a")
	a := ps["a"]
	hidden := w.sign(a.identity, a.proven(signer(t, "thief"), statement.RoleBuild), &a.last)
	a.addKey(signer(t, "second"), statement.RoleBuild)
	a.builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	w.put(1, hidden)
	w.expect(pol, helloSubject(t), Untrusted, "0 found")
}

func TestARevokedIdentityKeyCannotFork(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	a := ps["a"]
	old, before := a.identity, a.last
	fresh := signer(t, "fresh identity")
	a.addKey(fresh, statement.RoleIdentity)
	a.identity = fresh
	a.say(a.revoke(old.PublicKey().ID(), map[string]uint64{w.logs[0].Origin(): 0}, statement.Drop))
	a.builds("hello", "hello")
	w.put(0, w.sign(old, a.proven(signer(t, "thief"), statement.RoleBuild), &before))
	r := w.verify(w.policy(ps, "group g 1 a"), helloSubject(t))
	if r.Paths[0].Verdict != Trusted || r.Operators[0].Fork != nil {
		t.Errorf("%v, fork %v", r.Paths[0].Verdict, r.Operators[0].Fork)
	}
	third := signer(t, "third")
	a.addKey(third, statement.RoleBuild) // the new identity key can go on
	w.put(0, w.sign(third, buildOf(t, "third", "third"), nil))
	w.expect(w.policy(ps, "group g 1 a"), subject(t, "third", "third"), Trusted, "")
}

func TestTheOrderOfPeopleStatementsInALogIsTheirChain(t *testing.T) {
	w := newWorld(t)
	a := w.stranger("a")
	first := w.sign(a.identity, &statement.Operator{Name: "a", Contact: "a", HomeLog: w.logs[0].Origin(), Identity: a.identity.PublicKey()}, nil)
	a.id, a.last = first.ID(), first.ID()
	second := a.next(a.proven(a.build, statement.RoleBuild))
	a.last = second.ID()
	third := signer(t, "third")
	added := a.next(a.proven(third, statement.RoleBuild))
	for _, s := range []*statement.Statement{added, second, first} { // backwards
		w.put(0, s)
	}
	w.put(0, w.sign(third, buildOf(t, "hello", "hello"), nil))
	w.expect(w.policy(map[string]*person{"a": a}, "group g 1 a"), helloSubject(t), Trusted, "1 found")
}

func TestOperatorsByKey(t *testing.T) {
	w := newWorld(t)
	a := w.person("a")
	a.builds("hello", "hello")
	key := a.build.PublicKey().ID()
	pol := w.parse("operator x key " + key.String() + "\ngroup g 1 x\n")
	w.expect(pol, helloSubject(t), Trusted, "1 found")
	a.say(a.revoke(key, map[string]uint64{w.logs[0].Origin(): 0}, statement.Drop))
	w.expect(pol, helloSubject(t), Untrusted, "0 found") // its owner's word counts
}

func TestAKeyThatNoLogPublishesIsInconclusive(t *testing.T) {
	w := newWorld(t)
	lone := signer(t, "lone")
	pol := w.parse("operator x key " + lone.PublicKey().ID().String() + "\ngroup g 1 x\n")
	w.expect(pol, helloSubject(t), Untrusted, "0 found") // says nothing at all
	w.put(0, w.sign(lone, buildOf(t, "hello", "hello"), nil))
	w.expect(pol, helloSubject(t), Inconclusive, "is published in no log of the policy, so its signatures cannot be checked")
	a := w.person("a") // then somebody publishes it
	a.addKey(lone, statement.RoleBuild)
	w.expect(pol, helloSubject(t), Trusted, "1 found")
}

func TestAnOperatorThatIsRegisteredNowhereIsInconclusive(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("a"), w.stranger("b")
	b.id[0] = 7
	a.builds("hello", "hello")
	ps := map[string]*person{"a": a, "b": b}
	w.expect(w.policy(ps, "group g all a b"), helloSubject(t), Inconclusive, "operator b is registered in no log of the policy")
	w.expect(w.policy(ps, "group g any a b"), helloSubject(t), Trusted, "1 found")
}

func TestStatementsWithAWrongSignatureAreNotCounted(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	s := w.sign(ps["a"].build, buildOf(t, "hello", "hello"), nil)
	w.logs[0].Add(spoiled(t, s))
	w.logs[0].Publish()
	pol := w.policy(ps, "group g 1 a")
	r := w.verify(pol, helloSubject(t))
	if r.Paths[0].Verdict != Untrusted || r.Logs[0].Ignored != 1 || !strings.Contains(r.Logs[0].State(), "1 statement with a wrong signature not counted") {
		t.Errorf("%v, %d ignored: %s", r.Paths[0].Verdict, r.Logs[0].Ignored, r.Logs[0].State())
	}
	w.put(0, s)
	w.expect(pol, helloSubject(t), Trusted, "1 found")
}

// One log's spoiled copy of a people statement does not hide the good one.
func TestASpoiledCopyInAnotherLogSpoilsNothing(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		logs := []*logtest.Log{logtest.New(t), logtest.New(t, logtest.Origin("second.example/00000001"))}
		w := newWorld(t, logs[order[0]], logs[order[1]])
		a := w.stranger("a")
		s := w.sign(a.identity, &statement.Operator{Name: "a", Contact: "a", HomeLog: w.logs[1].Origin(), Identity: a.identity.PublicKey()}, nil)
		a.id, a.last = s.ID(), s.ID()
		w.logs[0].Add(spoiled(t, s))
		w.logs[0].Publish()
		w.put(1, s)
		w.put(1, a.next(a.proven(a.build, statement.RoleBuild)))
		a.buildsIn(1, "hello", "hello")
		w.expect(w.policy(map[string]*person{"a": a}, "group g 1 a"), helloSubject(t), Trusted, "1 found")
	}
}

// The order in which logs return people statements does not matter.
func TestChainsDoNotDependOnTheOrderOfStatements(t *testing.T) {
	w := newWorld(t)
	a := w.person("a")
	mid := a.last
	a.addKey(signer(t, "second"), statement.RoleBuild)
	w.put(0, w.sign(a.identity, a.proven(signer(t, "third"), statement.RoleBuild), &mid))
	var fs []found
	for i := range w.logs[0].Size() {
		e, err := w.logs[0].Client("").Entry(t.Context(), mustCheckpoint(t, w), i)
		if err != nil {
			t.Fatal(err)
		}
		s, err := statement.Parse(e.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, found{Statement: s, id: s.ID(), places: []Place{{"log0", i}}})
	}
	rank := func(_ string, p Place) (int, uint64) { return 0, p.Index }
	want := fmt.Sprint(buildChain(a.id, slices.Clone(fs), rank).fork())
	for range 4 {
		fs = append(fs[1:], fs[0])
		if got := fmt.Sprint(buildChain(a.id, slices.Clone(fs), rank).fork()); got != want {
			t.Errorf("%s, then %s", want, got)
		}
	}
}

func TestAKeyNamedByKeyAndByIDCountsForNeither(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	key := ps["a"].build.PublicKey().ID().String()
	r := w.verify(w.policy(ps, "operator c key "+key, "group g any a c"), helloSubject(t))
	if r.Paths[0].Verdict != Untrusted || !strings.Contains(r.Operators[0].Words(), "is also named by operator c") || !strings.Contains(r.Operators[1].Words(), "also belongs to operator a") {
		t.Errorf("%v, %s, %s", r.Paths[0].Verdict, r.Operators[0].Words(), r.Operators[1].Words())
	}
}

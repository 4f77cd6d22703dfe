package verify

import (
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// These are the three stories of docs/operators.md, with real leaves.

// byThief is a claim as a thief makes it who wants it to look old: its times are from
// long before the theft, but a log gives it the next index.
func byThief(w *world, p *person, name, what string) *statement.Statement {
	b := buildOf(w.t, name, what)
	b.Started, b.Finished = 1, 2
	return w.sign(p.build, b, nil)
}

func TestACutEndsWhatAThiefDatedBack(t *testing.T) {
	w := newWorld(t, logtest.New(t), logtest.New(t, logtest.Origin("second.example/00000001")), logtest.New(t, logtest.Origin("third.example/00000001")))
	w.lines = []string{"required", "optional", "optional"}
	ps := w.people("a b")
	a := ps["a"]
	home, second := w.logs[0].Origin(), w.logs[1].Origin()
	a.builds("hello", "hello")
	a.buildsIn(1, "second", "second")
	a.buildsIn(2, "third", "third")
	// From here on the key is somebody else's too, in all three logs.
	stolen := map[string]uint64{home: w.put(0, byThief(w, a, "evil", "evil")), second: w.put(1, byThief(w, a, "evil2", "evil"))}
	w.put(2, byThief(w, a, "evil3", "evil"))
	w.put(0, byThief(w, a, "hello", "evil")) // against the owner's own
	ps["b"].builds("hello", "hello")
	a.builds("later", "later") // the owner, who knows nothing yet
	pol := w.policy(ps, "group g any a b")
	for _, name := range []string{"evil", "evil2", "evil3"} {
		w.expect(pol, subject(t, name, "evil"), Trusted, "1 found") // nobody can tell yet
	}
	only := w.policy(map[string]*person{"a": a}, "group g 1 a")
	w.expect(only, helloSubject(t), Contradicted, "a contradicts itself")

	a.say(&statement.KeyRevoke{OperatorID: a.id, KeyID: a.build.PublicKey().ID(), Reason: statement.Compromised, Cuts: stolen, Elsewhere: statement.Drop})
	for _, name := range []string{"evil", "evil2", "evil3"} {
		w.expect(pol, subject(t, name, "evil"), Untrusted, "0 found")
	}
	w.expect(only, helloSubject(t), Trusted, "1 found")                // from before the cut
	w.expect(only, subject(t, "second", "second"), Trusted, "1 found") // from before the cut of that log
	w.expect(only, subject(t, "third", "third"), Untrusted, "0 found") // in a log without a cut
	w.expect(only, subject(t, "later", "later"), Untrusted, "0 found") // the owner's own, lost with it …
	fresh := signer(t, "fresh")
	a.addKey(fresh, statement.RoleBuild)
	w.put(0, w.sign(fresh, buildOf(t, "later", "later"), nil))
	w.expect(only, subject(t, "later", "later"), Trusted, "1 found") // … until it is said again by another key

	// What the thief still sends, dated back, is behind every cut.
	w.put(0, byThief(w, a, "evil4", "evil"))
	w.put(1, byThief(w, a, "evil4", "evil"))
	w.expect(only, subject(t, "evil4", "evil"), Untrusted, "0 found")
}

// The month is longer than was thought: another revocation cuts earlier, none later.
func TestALaterRevocationCanOnlyEndMore(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	a := ps["a"]
	cut := func(at uint64) {
		a.say(a.revoke(a.build.PublicKey().ID(), map[string]uint64{w.logs[0].Origin(): at}, statement.Drop))
	}
	first := w.put(0, w.sign(a.build, buildOf(t, "first", "first"), nil))
	a.builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	cut(w.logs[0].Size())
	w.expect(pol, helloSubject(t), Trusted, "")
	cut(first + 1)
	w.expect(pol, helloSubject(t), Untrusted, "")
	w.expect(pol, subject(t, "first", "first"), Trusted, "")
	cut(w.logs[0].Size())
	w.expect(pol, helloSubject(t), Untrusted, "")
}

func TestALostBuildKeyIsRotated(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	a := ps["a"]
	a.builds("hello", "hello")
	fresh := signer(t, "fresh")
	a.addKey(fresh, statement.RoleBuild)
	a.say(&statement.KeyRevoke{OperatorID: a.id, KeyID: a.build.PublicKey().ID(), Reason: statement.Rotated, Cuts: map[string]uint64{w.logs[0].Origin(): w.logs[0].Size()}, Elsewhere: statement.Keep})
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "1 found") // what the lost key said goes on counting
	w.put(0, w.sign(fresh, buildOf(t, "new", "new"), nil))
	w.expect(pol, subject(t, "new", "new"), Trusted, "1 found")
	a.builds("found", "found") // whoever finds the lost key
	w.expect(pol, subject(t, "found", "found"), Untrusted, "0 found")
}

func TestAStolenIdentityKeyIsRevokedByTheOther(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	a := ps["a"]
	stolen, spare, thief := a.identity, signer(t, "spare"), signer(t, "thief")
	a.addKey(spare, statement.RoleIdentity)
	a.builds("hello", "hello")
	a.addKey(thief, statement.RoleBuild) // the thief, with the stolen key
	evil := w.sign(thief, buildOf(t, "evil", "evil"), nil)
	w.put(0, evil)
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, subject(t, "evil", "evil"), Trusted, "")
	a.identity = spare
	a.say(a.revoke(stolen.PublicKey().ID(), nil, statement.Keep))
	a.say(a.revoke(thief.PublicKey().ID(), nil, statement.Drop))
	w.expect(pol, subject(t, "evil", "evil"), Untrusted, "0 found")
	w.expect(pol, helloSubject(t), Trusted, "1 found")
	// The stolen key can say nothing more, wherever in the chain it tries.
	w.put(0, w.sign(stolen, a.revoke(a.build.PublicKey().ID(), nil, statement.Drop), &a.last))
	w.put(0, w.sign(stolen, a.revoke(spare.PublicKey().ID(), nil, statement.Drop), &a.id))
	w.expect(pol, helloSubject(t), Trusted, "1 found")
}

// If the thief revokes the other identity key first, the operator is the thief's.
func TestOfTwoIdentityKeysTheFirstThatRevokesStays(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	a := ps["a"]
	stolen, spare := a.identity, signer(t, "spare")
	a.addKey(spare, statement.RoleIdentity)
	a.builds("hello", "hello")
	before := a.last
	a.say(a.revoke(spare.PublicKey().ID(), nil, statement.Keep)) // the thief
	w.put(0, w.sign(spare, a.revoke(stolen.PublicKey().ID(), nil, statement.Keep), &before))
	r := w.verify(w.policy(ps, "group g 1 a"), helloSubject(t))
	if r.Paths[0].Verdict != Trusted || r.Operators[0].Fork != nil {
		t.Errorf("%v, fork %v", r.Paths[0].Verdict, r.Operators[0].Fork)
	}
	thief := signer(t, "thief")
	a.addKey(thief, statement.RoleBuild)
	w.put(0, w.sign(thief, buildOf(t, "evil", "evil"), nil))
	w.expect(w.policy(ps, "group g 1 a"), subject(t, "evil", "evil"), Trusted, "")
}

// Without another identity key there is a new operator, and readers who count both
// in a group of their own give them one vote.
func TestALostIdentityKeyIsReplacedByANewOperator(t *testing.T) {
	w := newWorld(t)
	ps := w.people("old new b")
	ps["old"].builds("hello", "hello") // build keys go on
	ps["old"].builds("both", "both")
	ps["new"].builds("both", "both")
	ps["new"].builds("later", "later")
	ps["b"].builds("both", "both")
	pol := w.policy(ps, "group alice any old new", "group g all alice b")
	w.expect(pol, subject(t, "both", "both"), Trusted, "2 found")
	w.expect(pol, helloSubject(t), Untrusted, "1 found")
	w.expect(pol, subject(t, "later", "later"), Untrusted, "1 found")
	alone := w.policy(ps, "group alice any old new", "group g 1 alice")
	w.expect(alone, helloSubject(t), Trusted, "1 found")
	w.expect(alone, subject(t, "later", "later"), Trusted, "1 found")
}

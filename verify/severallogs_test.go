package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

func TestAVerdictNeedsFreshAnswersFromRequiredAndHomeLogs(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1)), logtest.New(t, logtest.Witnesses(1, 1), logtest.Origin("second.example/00000001")))
	w.now = func() time.Time { return start.Add(2 * time.Hour) }
	for _, l := range w.logs {
		l.SetTime(start)
	}
	a := w.person("a")
	w.logs[0], w.logs[1] = w.logs[1], w.logs[0]
	b := w.person("b") // at home in log1
	w.logs[0], w.logs[1] = w.logs[1], w.logs[0]
	copyLog(t, w.logs[1], w.logs[0])
	a.builds("hello", "hello")
	b.builds("hello", "hello")
	ps := map[string]*person{"a": a, "b": b}

	w.lines = []string{"required max-age 1h", "optional"}
	w.expect(w.policy(ps, "group g any a b"), helloSubject(t), Inconclusive, "the newest checkpoint of log log0 is 2h old; the policy allows 1h")
	w.lines = []string{"required max-age 3h", "optional max-age 1h"}
	w.expect(w.policy(ps, "group g any a b"), helloSubject(t), Trusted, "")
	w.expect(w.policy(ps, "group g all a b"), helloSubject(t), Inconclusive, "the newest checkpoint of log log1 is 2h old; the policy allows 1h, and it is the home log of operator b")
	w.logs[1].SetTime(start.Add(2 * time.Hour))
	w.logs[1].Publish()
	w.expect(w.policy(ps, "group g all a b"), helloSubject(t), Trusted, "2 found")
}

// Where the answers come from does not matter, only what they prove.
func TestAMirrorMayAnswerWithAnythingThatVerifies(t *testing.T) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1)))
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g any a b")
	mirror := logtest.New(t, logtest.Witnesses(1, 1))
	copyLog(t, w.logs[0], mirror)
	ps["b"].builds("hello", "hello") // which the mirror does not have yet
	down(w.logs[0], true)
	for _, url := range []string{mirror.URL(), mirror.FileURL()} {
		pol.Logs[0].URL = url
		w.full = strings.HasPrefix(url, "file:")
		w.expect(pol, helloSubject(t), Trusted, "1 found")
	}
	w.full, pol.Logs[0].URL = false, mirror.URL()
	mirror.Lie(func(l *logtest.Lies) { l.WrongInclusion = true })
	_, err := Verify(context.Background(), pol, []Subject{helloSubject(t)}, Options{})
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("a mirror whose answers do not verify: %v", err)
	}
}

func TestAKeySeenUnderTwoOperatorsInTwoLogsCountsForNeither(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	w.lines = []string{"required", "optional"}
	ps := w.people("a b")
	b := ps["b"]
	w.put(1, b.next(b.proven(ps["a"].build, statement.RoleBuild))) // log0 does not hold it
	ps["a"].builds("hello", "hello")
	r := w.verify(w.policy(ps, "group g any a b"), helloSubject(t))
	if r.Paths[0].Verdict != Untrusted || !strings.Contains(r.Operators[0].Words(), "belongs to two operators and counts for neither") {
		t.Errorf("%v %s", r.Paths[0].Verdict, r.Operators[0].Words())
	}
}

// Whoever keeps a log away from a reader does not undo what it has shown.
func TestARevocationOnceSeenActsWhileItsLogIsAway(t *testing.T) {
	for _, full := range []bool{false, true} {
		w := newWorld(t, logtest.New(t), second(t))
		w.lines = []string{"required", "optional"}
		ps := w.people("a")
		a := ps["a"]
		a.builds("hello", "hello")
		pol := w.policy(ps, "group g 1 a")
		w.expect(pol, helloSubject(t), Trusted, "")
		w.put(1, a.next(a.revoke(a.build.PublicKey().ID(), nil, statement.Drop)))
		w.expect(pol, helloSubject(t), Untrusted, "0 found")
		down(w.logs[1], true)
		w.full = full
		w.expect(pol, helloSubject(t), Untrusted, "0 found")
	}
}

// A revocation follows a statement that no log shows.
func TestARevocationActsAlthoughItsPredecessorIsKeptBack(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	ps := w.people("a b")
	a := ps["a"]
	pol := w.policy(ps, "group g 1 a")
	a.builds("hello", "hello")
	key := a.build.PublicKey().ID()
	hidden := statement.ID{7}
	// Nobody else can say it, nor can an identity key that is revoked.
	w.put(1, w.sign(ps["b"].identity, a.revoke(key, nil, statement.Drop), &hidden))
	w.put(1, w.sign(a.build, a.revoke(key, nil, statement.Drop), &hidden))
	old, fresh := a.identity, signer(t, "fresh identity")
	a.addKey(fresh, statement.RoleIdentity)
	a.identity = fresh
	a.say(a.revoke(old.PublicKey().ID(), nil, statement.Drop))
	w.put(1, w.sign(old, a.revoke(key, nil, statement.Drop), &hidden))
	w.expect(pol, helloSubject(t), Trusted, "")

	w.put(1, w.sign(fresh, a.revoke(key, nil, statement.Drop), &hidden))
	w.expect(pol, helloSubject(t), Untrusted, "0 found")
	if r := w.verify(pol, helloSubject(t)); r.Operators[0].Fork != nil || !strings.Contains(r.Operators[0].Words(), "is revoked (") {
		t.Errorf("%+v", r.Operators[0])
	}
}

// A fork in one log stops the votes in others: there nothing counts from the
// statement on that is followed twice, and nothing at all where that is not held.
func TestAForkStopsTheVotesInEveryLog(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t), logtest.New(t, logtest.Origin("third.example/00000002")))
	ps := w.people("a")
	a := ps["a"]
	for i, names := range []string{"", "before", "elsewhere"} {
		if names != "" {
			a.buildsIn(i, names, names)
		}
	}
	copyPeople := func(to int) { copyLog(t, w.logs[0], w.logs[to]) }
	copyPeople(1)
	a.buildsIn(1, "after", "after")
	pol := w.policy(ps, "group g 1 a")
	for _, name := range []string{"before", "after", "elsewhere"} {
		w.expect(pol, subject(t, name, name), Trusted, "")
	}
	prev := a.last
	a.addKey(signer(t, "second"), statement.RoleBuild)
	w.put(0, w.sign(a.identity, a.proven(signer(t, "thief"), statement.RoleBuild), &prev))
	w.expect(pol, subject(t, "before", "before"), Trusted, "")
	for _, name := range []string{"after", "elsewhere"} {
		w.expect(pol, subject(t, name, name), Untrusted, "0 found")
	}
}

func TestOnlyTheRequiredLogsAndHomeLogsDecide(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	w.lines = []string{"required", "optional"}
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	for _, lie := range []logtest.Lies{{Down: true}, {WrongInclusion: true}, {Checkpoint: []byte("nonsense\n")}} {
		w.put(1, w.sign(ps["a"].build, buildOf(t, "hello", "hello"), nil))
		w.logs[1].Lie(func(l *logtest.Lies) { *l = lie })
		w.state = t.TempDir()
		r := w.verify(pol, helloSubject(t), subject(t, "none", "none"))
		if r.Paths[0].Verdict != Trusted || r.Paths[1].Verdict != Untrusted || !strings.Contains(r.Logs[1].State(), "second.example") {
			t.Errorf("%+v: %v, %v, %s", lie, r.Paths[0].Verdict, r.Paths[1].Verdict, r.Logs[1].State())
		}
	}
}

// meddling is a log in which something happens between two questions.
type meddling struct {
	Log
	happens *func()
}

func (m meddling) Lookup(ctx context.Context, q log.Query) (*log.Answers, error) {
	a, err := m.Log.Lookup(ctx, q)
	if f := *m.happens; f != nil && q.Signers != nil && len(q.Signers) == 0 {
		*m.happens = nil
		f()
	}
	return a, err
}

// What comes between the list of a key and the bodies is asked for the next time.
func TestStatementsBetweenTwoAnswersAreNotLost(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	pol := w.parse(fmt.Sprintf("operator x key %s\ngroup g 1 x\n", ps["a"].build.PublicKey().ID()))
	happens := func() { ps["b"].addKey(ps["a"].build, statement.RoleBuild) }
	w.wrap = func(l Log) Log { return meddling{l, &happens} }
	for _, want := range []Verdict{Trusted, Untrusted} {
		w.expect(pol, helloSubject(t), want, "")
	}
}

// A list that gives an entry to a key that did not sign it would hide whose
// identity key that is. Who keeps evidence has it then.
func TestAnEntryListedUnderAKeyThatDidNotSignItIsRefused(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	key := ps["a"].build.PublicKey().ID()
	ps["a"].builds("hello", "hello")
	w.logs[0].Lie(func(l *logtest.Lies) {
		l.Index = func(under string, it index.Item) (index.Item, bool) {
			if under == index.Key(key) {
				it.Signer = key
			}
			return it, true
		}
	})
	pol := w.parse("operator x key " + key.String() + "\ngroup g 1 x\n")
	_, err := Verify(t.Context(), pol, []Subject{helloSubject(t)}, Options{})
	var proof *log.ProofError
	if !errors.As(err, &proof) || proof.Reason != "it is listed as signed by this key and is not" {
		t.Errorf("%v", err)
	}
	if r := w.verify(pol, helloSubject(t)); r.ExitStatus() != 5 {
		t.Errorf("exit %d", r.ExitStatus())
	}
}

// Who asks for everything to be read does not get what was remembered instead.
func TestFullReadingUsesNoRememberedAnswers(t *testing.T) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1)))
	w.lines = []string{"max-age 1h"}
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	down(w.logs[0], true)
	w.expect(pol, helloSubject(t), Trusted, "") // remembered
	w.full = true
	w.expect(pol, helloSubject(t), Inconclusive, "log log0 did not answer and nothing is remembered")
}

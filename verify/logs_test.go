package verify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
)

func second(t testing.TB) *logtest.Log {
	return logtest.New(t, logtest.Origin("second.example/00000001"))
}

func down(l *logtest.Log, yes bool) { l.Lie(func(lies *logtest.Lies) { lies.Down = yes }) }

func TestAClaimCountsIfProvenInAnyLogOfThePolicy(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	ps := w.people("a b")
	ps["a"].buildsIn(0, "hello", "hello")
	ps["b"].buildsIn(1, "hello", "hello")
	w.expect(w.policy(ps, "group g all a b"), helloSubject(t), Trusted, "2 found")
}

func TestTheSameIDTwiceIsOneClaim(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	ps := w.people("a")
	s := ps["a"].buildsIn(0, "hello", "hello")
	w.put(1, s)
	p := w.expect(w.policy(ps, "group g 1 a"), helloSubject(t), Trusted, "1 found")
	if len(p.Claims) != 1 || len(p.Claims[0].Places) != 2 {
		t.Errorf("claims %+v", p.Claims)
	}
}

func TestAClaimIsLiveIfItIsLiveInAnyLog(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	ps := w.people("a")
	s := ps["a"].buildsIn(0, "hello", "hello")
	w.put(1, s)
	ps["a"].say(ps["a"].revoke(ps["a"].build.PublicKey().ID(), map[string]uint64{w.logs[0].Origin(): 0}, "keep"))
	p := w.expect(w.policy(ps, "group g 1 a"), helloSubject(t), Trusted, "1 found")
	if len(p.Claims) != 1 || len(p.Claims[0].Places) != 1 || p.Claims[0].Places[0].Log != "log1" {
		t.Errorf("claims %+v", p.Claims)
	}
}

func TestDissentInAnyLogCounts(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	w.lines = []string{"required", "optional"}
	ps := w.people("a b")
	ps["a"].buildsIn(0, "hello", "hello")
	ps["b"].buildsIn(1, "hello", "evil")
	w.expect(w.policy(ps, "group g all a b"), helloSubject(t), Contradicted, "b claims another hash")
	ps["a"].buildsIn(1, "hello", "evil")
	w.expect(w.policy(ps, "group g any a b"), helloSubject(t), Contradicted, "a contradicts itself")
}

func TestAVerdictNeedsAnswersFromEveryRequiredLog(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	ps := w.people("a b c")
	for _, p := range ps {
		p.builds("hello", "hello")
	}
	pol := w.policy(ps, "group g 2 a b c")
	down(w.logs[1], true)
	r := w.verify(pol, helloSubject(t))
	if r.Paths[0].Verdict != Inconclusive || !strings.Contains(r.Paths[0].Reason, "log log1 did not answer and nothing is remembered") || r.ExitStatus() != 4 {
		t.Errorf("%v %s, exit %d", r.Paths[0].Verdict, r.Paths[0].Reason, r.ExitStatus())
	}
	down(w.logs[0], true)
	w.state = t.TempDir()
	if r := w.verify(pol, helloSubject(t)); r.ExitStatus() != 4 || r.Logs[0].Answered != NotAtAll {
		t.Errorf("with every log stopped: exit %d, %+v", r.ExitStatus(), r.Logs[0])
	}
}

func TestAnUnreachableOptionalLogIsNamedAndNeverDecides(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	w.lines = []string{"required", "optional"}
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	ps["a"].builds("trusted", "trusted")
	ps["b"].builds("trusted", "trusted")
	pol := w.policy(ps, "group g all a b")
	down(w.logs[1], true)
	r := w.verify(pol, helloSubject(t), subject(t, "trusted", "trusted"))
	if r.Paths[0].Verdict != Untrusted || r.Paths[1].Verdict != Trusted {
		t.Errorf("%v, %v", r.Paths[0].Verdict, r.Paths[1].Verdict)
	}
	if !strings.Contains(r.Logs[1].State(), "log log1 did not answer") {
		t.Errorf("the log is not named: %s", r.Logs[1].State())
	}
}

func TestAVerdictNeedsTheHomeLogsOfTheOperatorsItCounts(t *testing.T) {
	// b's home is log1, which is optional, and then not in the policy at all.
	w := newWorld(t, logtest.New(t), second(t))
	w.lines = []string{"required", "optional"}
	a := w.person("a")
	w.logs[0], w.logs[1] = w.logs[1], w.logs[0]
	b := w.person("b")
	w.logs[0], w.logs[1] = w.logs[1], w.logs[0]
	for _, p := range []*person{a, b} { // everything of b is in log0 too
		p.builds("hello", "hello")
	}
	copyLog(t, w.logs[1], w.logs[0])
	ps := map[string]*person{"a": a, "b": b}
	all, one := w.policy(ps, "group g all a b"), w.policy(ps, "group g any a b")
	w.expect(all, helloSubject(t), Trusted, "2 found")
	down(w.logs[1], true)
	w.state = t.TempDir()
	w.expect(all, helloSubject(t), Inconclusive, "it is the home log of operator b")
	w.expect(one, helloSubject(t), Trusted, "") // a is enough

	w.logs, w.lines, w.state = w.logs[:1], nil, t.TempDir()
	w.expect(w.policy(ps, "group g all a b"), helloSubject(t), Inconclusive, "the home log of operator b, second.example/00000001, is not in the policy")
}

func copyLog(t testing.TB, from, to *logtest.Log) {
	t.Helper()
	c := from.Client("")
	cp, err := c.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range c.Entries(context.Background(), cp, 0, cp.Size) {
		if err != nil {
			t.Fatal(err)
		}
		to.Add(e.Leaf)
	}
	to.Publish()
}

func TestReadingTheWholeLogFindsWhatLookupsLeaveOut(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	ps["a"].builds("hello", "evil")
	s := helloSubject(t)
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, s, Contradicted, "a contradicts itself")
	w.logs[0].Lie(func(l *logtest.Lies) { l.Hide = map[string]bool{s.keys()[0]: true} })
	w.state = t.TempDir()
	w.expect(pol, s, Untrusted, "0 found") // only the log itself vouches for its index
	w.full = true
	w.expect(pol, s, Contradicted, "a contradicts itself")
}

func TestLookupsAndReadingAgree(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	ps := w.people("a b c d")
	ps["a"].builds("hello", "hello")
	ps["b"].buildsIn(1, "hello", "hello")
	ps["c"].builds("hello", "evil")
	ps["b"].addKey(ps["d"].build, "build") // under two operators
	ps["d"].builds("hello", "hello")
	pol := w.policy(ps, "group g 3 a b c d")
	lookups := w.verify(pol, helloSubject(t))
	w.full = true
	whole := w.verify(pol, helloSubject(t))
	if a, b := lookups.Paths[0], whole.Paths[0]; a.Reason != b.Reason || a.Verdict != b.Verdict || a.Verdict != Contradicted {
		t.Errorf("lookups: %v %s; whole log: %v %s", a.Verdict, a.Reason, b.Verdict, b.Reason)
	}
	for i, o := range lookups.Operators {
		if o.Words() != whole.Operators[i].Words() {
			t.Errorf("%s, %s", o.Words(), whole.Operators[i].Words())
		}
	}
}

func TestAnswersThatDoNotHoldTogetherAreRefused(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	w.lines = []string{"required", "optional"}
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.put(1, w.sign(ps["a"].build, buildOf(t, "hello", "hello"), nil))
	w.logs[1].Lie(func(l *logtest.Lies) { l.WrongInclusion = true })
	r := w.verify(pol, helloSubject(t))
	if r.Paths[0].Verdict != Trusted || !strings.Contains(r.Logs[1].Problem, "second.example/00000001: entry ") {
		t.Errorf("an optional log that lies: %v, %q", r.Paths[0].Verdict, r.Logs[1].Problem)
	}
	w.logs[0].Lie(func(l *logtest.Lies) { l.WrongInclusion = true })
	_, err := Verify(context.Background(), pol, []Subject{helloSubject(t)}, Options{StateDir: t.TempDir()})
	var refused *RefusedError
	var proof *log.ProofError
	if !errors.As(err, &refused) || !errors.As(err, &proof) || refused.Log != "log0" {
		t.Errorf("a required log that lies: %v", err)
	}
}

func TestATamperedTileIsFoundWhenTheLogIsReadWhole(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	for _, kind := range []string{"entries", "0"} {
		t.Run(kind, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(w.logs[0].Dir(), "tile", kind, "*.p", "*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no tiles: %v", err)
			}
			for _, f := range files {
				good, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				bad := append([]byte(nil), good...)
				bad[len(bad)-1] ^= 1
				if err := os.WriteFile(f, bad, 0o644); err != nil {
					t.Fatal(err)
				}
				defer os.WriteFile(f, good, 0o644)
			}
			_, err = Verify(context.Background(), pol, []Subject{helloSubject(t)}, Options{Full: true})
			var refused *RefusedError
			if !errors.As(err, &refused) {
				t.Errorf("a tampered log was read: %v", err)
			}
		})
	}
}

func TestALogThatShowsTwoHistoriesIsConvictedOnDisk(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")

	other := newWorld(t, logtest.New(t)) // the same log with another history
	os2 := other.people("x a")
	os2["a"].builds("hello", "hello")
	os2["x"].builds("hello", "hello")
	w.logs[0] = other.logs[0]
	forked := w.policy(ps, "group g 1 a")
	r := w.verify(forked, helloSubject(t))
	if r.ExitStatus() != 5 || r.Paths[0].Verdict != Inconclusive {
		t.Fatalf("exit %d, %v, %+v", r.ExitStatus(), r.Paths[0].Verdict, r.Logs[0])
	}
	b, err := os.ReadFile(r.Evidence()[0])
	if err != nil {
		t.Fatal(err)
	}
	e, err := evidence.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Verify(w.logs[0].Policy()); err != nil {
		t.Errorf("the evidence does not convict: %v", err)
	}
	// Evidence that is held keeps convicting, also when the log is honest again.
	if r := w.verify(pol, helloSubject(t)); r.ExitStatus() != 5 {
		t.Errorf("with evidence held: exit %d", r.ExitStatus())
	}
	// Nor does it help the log to be silent, or that nothing is remembered.
	if err := ForgetAnswers(w.state, w.logs[0].Origin()); err != nil || len(stateFiles(t, w.state)) != 0 {
		t.Errorf("%v, %v", stateFiles(t, w.state), err)
	}
	os.RemoveAll(filepath.Join(w.state, "checkpoints"))
	down(w.logs[0], true)
	if r := w.verify(forked, helloSubject(t)); r.ExitStatus() != 5 || r.Logs[0].Evidence == "" {
		t.Errorf("with evidence held, and the log silent: exit %d", r.ExitStatus())
	}
	down(w.logs[0], false)

	// The way out: the history that it shows now is believed, and the answers of
	// the other one are not.
	if _, err := log.NewMemory(w.state).Forget(w.logs[0].Policy(), w.logs[0].Origin(), e); err != nil {
		t.Fatal(err)
	}
	if r := w.verify(forked, helloSubject(t)); r.ExitStatus() == 5 {
		t.Errorf("after it was forgotten: exit %d, %+v", r.ExitStatus(), r.Logs[0])
	}
}

// Answers of other logs, and of this one under another policy, stay or go as the
// origin says.
func TestForgetAnswersIsAboutOneLog(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	w.verify(w.policy(ps, "group g 1 a"), helloSubject(t))
	if n := len(stateFiles(t, w.state)); n != 2 {
		t.Fatal(n)
	}
	if err := ForgetAnswers(w.state, "other.example/00000000"); err != nil || len(stateFiles(t, w.state)) != 2 {
		t.Errorf("%v, %v", stateFiles(t, w.state), err)
	}
	if err := ForgetAnswers(w.state, w.logs[0].Origin()); err != nil || len(stateFiles(t, w.state)) != 1 {
		t.Errorf("%v, %v", stateFiles(t, w.state), err)
	}
	if err := ForgetAnswers(t.TempDir(), w.logs[0].Origin()); err != nil {
		t.Error(err)
	}
}

// A witness that evidence is held against is named and does not count: without it
// a quorum that needs it is not there, whether the log answers or not.
func TestConvictedWitnessesAreNamedAndDoNotCount(t *testing.T) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(3, 2)))
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	w.lines = []string{"required max-age 24h"}
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	other := logtest.New(t, logtest.Witnesses(3, 2))
	for range w.logs[0].Size() {
		other.Add([]byte("another history"))
	}
	all, err := evidence.FromNotes(w.logs[0].Policy(), w.logs[0].Publish(), other.Publish(), [32]byte{}, nil)
	if err != nil || len(all) != 4 {
		t.Fatal(len(all), err)
	}
	store := log.NewMemory(w.state).Evidence()
	for i, want := range []Verdict{Trusted, Inconclusive} {
		if _, _, err := store.Add(all[1+i], w.logs[0].Policy()); err != nil {
			t.Fatal(err)
		}
		r := w.verify(pol, helloSubject(t))
		if r.Paths[0].Verdict != want || r.ExitStatus() == 5 {
			t.Errorf("%d convicted: %v, exit %d", i+1, r.Paths[0].Verdict, r.ExitStatus())
		}
		if !strings.Contains(strings.Join(r.Warnings, "; "), "against the witness w1 of log log0") {
			t.Errorf("warnings %q", r.Warnings)
		}
	}
	down(w.logs[0], true)
	w.expect(pol, helloSubject(t), Inconclusive, "")
}

func TestTooFewWitnessesAreInconclusive(t *testing.T) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(2, 2)))
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	w.state = t.TempDir()
	note := string(w.logs[0].Publish())
	cut := strings.LastIndex(strings.TrimSuffix(note, "\n"), "\n") + 1
	w.logs[0].Lie(func(l *logtest.Lies) { l.Checkpoint = []byte(note[:cut]) })
	w.expect(pol, helloSubject(t), Inconclusive, "too few witnesses cosigned log log0")
}

func TestAWrongLogKeyIsRefused(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	ps := w.people("a")
	pol := w.policy(ps, "group g 1 a")
	pol.Logs[0].URL = w.logs[1].URL()
	_, err := Verify(context.Background(), pol, []Subject{helloSubject(t)}, w.options())
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("another log's answers were accepted: %v", err)
	}
}

func TestCancelledVerificationStops(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Verify(ctx, w.policy(ps, "group g 1 a"), []Subject{helloSubject(t)}, w.options()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestBeingBehindIsNotMisbehaviour(t *testing.T) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1)))
	w.lines = []string{"max-age 1h"}
	ps := w.people("a b")
	old := w.logs[0].Publish()
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g any a b")
	w.expect(pol, helloSubject(t), Trusted, "1 found")
	w.logs[0].Lie(func(l *logtest.Lies) { l.Checkpoint = old })
	r := w.verify(pol, helloSubject(t)) // a cache in front of the log lags: what is remembered is newer
	if r.Paths[0].Verdict != Trusted || r.Logs[0].Answered != Remembered || len(r.Evidence()) != 0 {
		t.Errorf("%v %s, %+v", r.Paths[0].Verdict, r.Paths[0].Reason, r.Logs[0])
	}
	if r := w.verify(pol, subject(t, "new", "new")); r.ExitStatus() != 4 || !strings.Contains(r.Logs[0].Problem, "old checkpoint") {
		t.Errorf("exit %d, %+v", r.ExitStatus(), r.Logs[0])
	}
}

func TestAnOperatorIsTheSameInEveryLog(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	a := w.person("a")
	copyLog(t, w.logs[0], w.logs[1])
	a.buildsIn(0, "hello", "hello")
	a.buildsIn(1, "other", "other")
	pol := w.policy(map[string]*person{"a": a}, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "1 of 1 needed, 1 found")
	w.expect(pol, subject(t, "other", "other"), Trusted, "1 found")
	if r := w.verify(pol, helloSubject(t)); r.Operators[0].Fork != nil {
		t.Errorf("the same statements in two logs are a fork: %v", r.Operators[0].Fork)
	}
}

func TestALogThatWasNotReadIsNotCalledComplete(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	w.lines = []string{"required", "optional"}
	w.full = true
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	down(w.logs[1], true)
	const want = "Complete: every entry of log log0 was read; log log1 gave no answer that counts."
	if r := w.verify(pol, helloSubject(t)); r.Completeness() != want {
		t.Errorf("%q, want %q", r.Completeness(), want)
	}
	w.lines = nil // both are required now
	r := w.verify(w.policy(ps, "group g 1 a"), helloSubject(t))
	var b strings.Builder
	if err := r.WriteJSON(&b); err != nil || !strings.Contains(b.String(), `"by": "nobody"`) {
		t.Errorf("a required log was not read, and still (%v) %s", err, b.String())
	}
}

package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
)

// says checks the table, the explanation and the JSON for whose word
// completeness rests on.
func says(t *testing.T, r *Report, words string, by Basis) {
	t.Helper()
	var table, why, js strings.Builder
	if err := errors.Join(r.WriteTable(&table, false), r.Explain(&why, &r.Paths[0]), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"table": table.String(), "explanation": why.String()} {
		if !strings.Contains(strings.ToLower(text), strings.ToLower(words)) {
			t.Errorf("the %s does not say %q:\n%s", what, words, text)
		}
	}
	var got struct {
		Completeness struct{ By, Message string }
		Logs         []struct{ Completeness struct{ By string } }
	}
	if err := json.Unmarshal([]byte(js.String()), &got); err != nil || got.Completeness.By != string(by) || got.Logs[0].Completeness.By != string(by) {
		t.Errorf("JSON: %v, %+v, want by %q", err, got, by)
	}
}

func TestCompleteAccordingToTheLogItself(t *testing.T) {
	w := newWorld(t)
	w.prove(0)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "1 found")
	w.expect(pol, subject(t, "none", "none"), Untrusted, "0 found")
	r := w.verify(pol, helloSubject(t))
	says(t, r, "complete according to the log itself", BasisLog)
	if got := r.Completeness(); got != "Complete according to the log itself (log log0)." {
		t.Error(got)
	}
}

func TestCompleteAccordingToAuditors(t *testing.T) {
	w, _ := audited(t, "", "z", "x", "stranger")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	r := w.verify(pol, helloSubject(t), subject(t, "none", "none"))
	if r.Paths[0].Verdict != Trusted || r.Paths[1].Verdict != Untrusted || r.ExitStatus() != 3 {
		t.Errorf("%v, %v, exit %d", r.Paths[0].Verdict, r.Paths[1].Verdict, r.ExitStatus())
	}
	says(t, r, "complete according to auditors x, z", BasisAuditors)
}

func TestWithoutTheIndexQuorumAnswersAreNotComplete(t *testing.T) {
	w, p := audited(t, "", "x")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, helloSubject(t), Inconclusive, "the index quorum of log log0 is not there: ")
	r := w.verify(pol, helloSubject(t))
	if r.ExitStatus() != 4 || !strings.Contains(r.Logs[0].Complete.Why, "cosigned by x, which does not satisfy the quorum") {
		t.Errorf("exit %d, %+v", r.ExitStatus(), r.Logs[0].Complete)
	}
	says(t, r, "Completeness not proven: the index quorum of log log0 is not there", BasisNone)

	r = w.verify(w.policy(ps, "group g 1 a"), helloSubject(t)) // completeness off
	if r.Paths[0].Verdict != Trusted {
		t.Errorf("with completeness off: %v %s", r.Paths[0].Verdict, r.Paths[0].Reason)
	}
	says(t, r, "the policy says `completeness off`, so the word of log log0 is taken for it", BasisPolicy)

	p.auditors = []string{"x", "y", "z"}
	w.expect(pol, helloSubject(t), Trusted, "")
	p.convicted = []string{"x", "y"} // evidence is held against them: their word does not count
	w.expect(pol, helloSubject(t), Inconclusive, "not counted, because evidence is held against it: x, y")
	w.full = true
	w.expect(pol, helloSubject(t), Trusted, "")
}

func TestALogWithoutProofsDoesNotSatisfyAnIndexPolicy(t *testing.T) {
	w, _ := audited(t, "")
	w.proving = nil
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	w.expect(w.policy(ps, "completeness proven", "group g 1 a"), helloSubject(t), Inconclusive, "completeness not proven by log log0")
}

// Required logs and the home logs of those who are counted must be complete;
// others are named.
func TestAVerdictNeedsCompleteAnswersFromRequiredAndHomeLogs(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	w.files = map[string]string{"ix": indexPolicy(t, w.logs[1], 1, "x")}
	w.prove(0)
	p := w.prove(1)
	ps := w.people("a b")
	for _, o := range ps {
		o.builds("hello", "hello")
	}
	w.logs[0], w.logs[1] = w.logs[1], w.logs[0]
	ps["c"] = w.person("c") // at home in log1
	w.logs[0], w.logs[1] = w.logs[1], w.logs[0]
	ps["c"].buildsIn(0, "hello", "hello")
	copyLog(t, w.logs[1], w.logs[0])

	w.lines = []string{"required", "required index ix"}
	pol := w.policy(ps, "completeness proven", "group g 2 a b c")
	w.expect(pol, helloSubject(t), Inconclusive, "the index quorum of log log1 is not there")
	w.lines = []string{"required", "optional index ix"}
	pol = w.policy(ps, "completeness proven", "group g 2 a b c")
	w.expect(pol, helloSubject(t), Trusted, "") // a and b are enough, and at home in log0
	r := w.verify(pol, helloSubject(t))
	if !strings.Contains(r.Logs[1].State(), "the index quorum of log log1 is not there") ||
		!strings.Contains(r.Completeness(), "Complete according to the log itself (log log0); not complete: the index quorum of log log1") {
		t.Errorf("not named: %s\n%s", r.Logs[1].State(), r.Completeness())
	}
	all := w.policy(ps, "completeness proven", "group g all a b c")
	w.expect(all, helloSubject(t), Inconclusive, "it is the home log of operator c")
	p.auditors = []string{"x"}
	w.expect(all, helloSubject(t), Trusted, "3 found")
	const want = "Complete according to the log itself (log log0); complete according to auditor x (log log1)."
	if got := w.verify(all, helloSubject(t)).Completeness(); got != want {
		t.Error(got)
	}
}

func TestARevisionThatIsTooOldIsNotComplete(t *testing.T) {
	w, p := audited(t, "", "x", "y")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	p.incomplete = "the newest revision of log log0 is 70000 entries old, and they cannot be read"
	w.expect(pol, helloSubject(t), Inconclusive, p.incomplete)
	says(t, w.verify(pol, helloSubject(t)), p.incomplete, BasisNone)
	p.incomplete = ""
	w.expect(pol, helloSubject(t), Trusted, "")
	p.lag, p.unread = 1, true // nor does a reader that leaves out more than it may
	w.expect(pol, helloSubject(t), Inconclusive, "the answers of log log0 lack its newest entry; the policy lets 0 stay unread")
}

func TestTheTailMayStayUnreadAsFarAsThePolicySays(t *testing.T) {
	for _, c := range []struct {
		tail    string
		verdict Verdict
		words   string
	}{
		{"tail 2", Trusted, "complete according to auditors x, y, but for the newest 2 entries"},
		{"tail 1", Contradicted, "complete according to auditors x, y ("},
		{"", Contradicted, "complete according to auditors x, y ("},
	} {
		w, p := audited(t, c.tail, "x", "y")
		ps := w.people("a b")
		ps["a"].builds("hello", "hello")
		ps["b"].builds("other", "other")
		ps["a"].builds("hello", "evil")
		p.lag = 2
		pol := w.policy(ps, "completeness proven", "group g 1 a b")
		for range 2 { // the second run asks from where the first ended
			r := w.verify(pol, helloSubject(t))
			if r.Paths[0].Verdict != c.verdict {
				t.Errorf("%s: %v %s", c.tail, r.Paths[0].Verdict, r.Paths[0].Reason)
			}
			says(t, r, c.words, BasisAuditors)
		}
		p.lag = 0 // nothing that was not read is lost
		w.expect(pol, helloSubject(t), Contradicted, "a contradicts itself")
	}
}

func TestEvidenceAgainstAnIndexEndsTrustInItsAnswers(t *testing.T) {
	w, p := audited(t, "", "x", "y", "z")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	s := helloSubject(t)
	fault := log.IndexFault{File: "/evidence/file", MapVersion: 1, What: "hides entry 17 from " + s.keys()[0], Key: s.keys()[0], Leaf: 17}
	sentence := "the index of log log0 (map version 1) hides entry 17 from " + s.keys()[0] + "; the evidence is in /evidence/file"
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	off := w.policy(ps, "group g 1 a")
	w.expect(pol, s, Trusted, "")

	p.found = []log.IndexFault{fault} // it comes to light while the log is asked
	for _, pol := range []*Policy{pol, off} {
		w.expect(pol, s, Inconclusive, sentence)
		r := w.verify(pol, s)
		if r.ExitStatus() != 5 || len(r.Evidence()) != 1 || r.Evidence()[0] != fault.File {
			t.Errorf("exit %d, evidence %q", r.ExitStatus(), r.Evidence())
		}
		says(t, r, sentence, BasisNone)
		var js bytes.Buffer
		if err := r.WriteJSON(&js); err != nil || !strings.Contains(js.String(), `"index": 17`) {
			t.Errorf("the JSON does not name the entry: %v\n%s", err, js.String())
		}
	}
	// Whatever an index that was caught answers, the log is not refused for it.
	p.err = &log.ProofError{Origin: w.logs[0].Origin(), Reason: "a misplaced leaf"}
	r := w.verify(pol, s)
	if r.ExitStatus() != 5 || r.Paths[0].Verdict != Inconclusive {
		t.Errorf("exit %d, %v", r.ExitStatus(), r.Paths[0].Verdict)
	}
	// The log can be read without its index. The evidence is still held.
	w.full = true
	r = w.verify(pol, s)
	if r.Paths[0].Verdict != Trusted || r.ExitStatus() != 5 || r.Logs[0].Complete.By != BasisReading {
		t.Errorf("with --full: %v %s, exit %d, %+v", r.Paths[0].Verdict, r.Paths[0].Reason, r.ExitStatus(), r.Logs[0])
	}
}

func TestAnIndexThatWasNotCaughtIsRefusedForAWrongAnswer(t *testing.T) {
	w, p := audited(t, "", "x", "y")
	ps := w.people("a")
	p.err = &log.ProofError{Origin: w.logs[0].Origin(), Reason: "a misplaced leaf"}
	_, err := Verify(context.Background(), w.policy(ps, "group g 1 a"), []Subject{helloSubject(t)}, w.options())
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
}

func TestProvenListsAreAskedForFromTheirHeads(t *testing.T) {
	w, p := audited(t, "", "x", "y")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	key := helloSubject(t).keys()[0]
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	if qs := p.asked(key); len(qs) != 1 || len(qs[0].Known) != 0 {
		t.Errorf("the first run asked %+v", qs)
	}
	w.expect(pol, helloSubject(t), Trusted, "")
	if qs := p.asked(key); len(qs) != 1 || qs[0].Known[key].Count != 1 || qs[0].Known[key].Size != w.logs[0].Size() {
		t.Errorf("the second run asked %+v", qs)
	}
	// A signer that is new is asked for from the start.
	fresh := signer(t, "fresh")
	w.put(0, w.sign(fresh, buildOf(t, "hello", "evil"), nil))
	w.verify(pol, helloSubject(t))
	p.asked(key)
	ps["a"].addKey(fresh, "build")
	w.expect(pol, helloSubject(t), Contradicted, "a contradicts itself")
	if qs := p.asked(key); len(qs) != 2 || len(qs[0].Known) != 0 || len(qs[0].Signers) != 1 || qs[1].Known[key].Count != 2 {
		t.Errorf("after a key was added it asked %+v", qs)
	}
	// Lists of a log that stops to prove them are no longer known by their heads.
	w.proving = nil
	w.verify(pol, helloSubject(t))
	w.proving = map[string]*proving{w.logs[0].Origin(): p}
	w.verify(pol, helloSubject(t))
	if qs := p.asked(key); len(qs) != 1 || len(qs[0].Known) != 0 {
		t.Errorf("after answers without proof it asked %+v", qs)
	}
}

func TestAListThatDoesNotBeginAsRememberedIsAskedForAnew(t *testing.T) {
	w, p := audited(t, "", "x", "y")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	key := helloSubject(t).keys()[0]
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.verify(pol, helloSubject(t))
	p.asked(key)
	p.changed = true
	r := w.verify(pol, helloSubject(t))
	if r.Paths[0].Verdict != Trusted || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "the index of log log0 no longer holds what it said before about ") {
		t.Errorf("%v, warnings %q", r.Paths[0].Verdict, r.Warnings)
	}
	if qs := p.asked(key); len(qs) != 1 || len(qs[0].Known) != 0 {
		t.Errorf("it asked %+v", qs)
	}
}

// An entry that was read in the tail must be in the index later, and one of a
// list that is asked for anew as well.
func TestWhatTheIndexHidesOfWhatWasSeenIsNotComplete(t *testing.T) {
	for _, changed := range []bool{false, true} {
		w, p := audited(t, "max-age 1h", "x", "y")
		ps := w.people("a b")
		ps["b"].builds("hello", "hello")
		s := w.sign(ps["a"].build, buildOf(t, "hello", "evil"), nil)
		at := w.put(0, s)
		if !changed {
			p.lag = 1
		}
		pol := w.policy(ps, "completeness proven", "group g 1 b")
		w.expect(pol, helloSubject(t), Trusted, "")
		p.lag, p.changed, p.hide = 0, changed, map[uint64]bool{at: true}
		for range 2 {
			w.expect(pol, helloSubject(t), Inconclusive, fmt.Sprintf("the index of log log0 hides entry %d from %s", at, helloSubject(t).keys()[0]))
		}
		down(w.logs[0], true) // nor do such answers count as proven later
		w.expect(pol, helloSubject(t), Inconclusive, "completeness not proven by log log0")
		down(w.logs[0], false)
		p.hide = nil
		w.expect(pol, helloSubject(t), Trusted, "")
	}
}

func TestRememberedAnswersRestOnTheirAuditors(t *testing.T) {
	w, p := audited(t, "max-age 1h", "x", "y")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	ps["a"].builds("other", "other")
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	hello, other := helloSubject(t), subject(t, "other", "other")
	p.auditors = []string{"x"}
	w.expect(pol, other, Inconclusive, "the index quorum of log log0 is not there")
	p.auditors = []string{"x", "y"}
	w.expect(pol, hello, Trusted, "")

	down(w.logs[0], true)
	r := w.verify(pol, hello)
	if r.Paths[0].Verdict != Trusted || r.Logs[0].Answered != Remembered {
		t.Errorf("%v %s", r.Paths[0].Verdict, r.Paths[0].Reason)
	}
	says(t, r, "complete according to auditors x, y", BasisAuditors)
	// What was asked without a quorum does not rest on the one that came later.
	w.expect(pol, other, Inconclusive, "nothing is remembered about this path")
	p.convicted = []string{"y"}
	w.expect(pol, hello, Inconclusive, "the index quorum of log log0 is not there")
	p.convicted, p.faults = nil, []log.IndexFault{{File: "f", What: "has two revisions of size 7"}}
	w.expect(pol, hello, Inconclusive, "the index of log log0 (map version 0) has two revisions of size 7")
}

func TestRememberedAnswersWithoutProofAreNotComplete(t *testing.T) {
	w, p := audited(t, "max-age 1h", "x", "y")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	p.incomplete = "log log0 has no revision"
	w.expect(pol, helloSubject(t), Inconclusive, "log log0 has no revision")
	down(w.logs[0], true)
	w.expect(pol, helloSubject(t), Inconclusive, "completeness not proven by log log0")
	w.expect(w.policy(ps, "group g 1 a"), helloSubject(t), Trusted, "") // completeness off
}

// A policy that no longer lets a tail stay unread does not accept answers that
// were remembered without it.
func TestRememberedAnswersLackNoMoreThanThePolicySays(t *testing.T) {
	w, p := audited(t, "max-age 1h tail 1", "x", "y")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	ps["a"].builds("hello", "evil")
	p.lag = 1
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	down(w.logs[0], true)
	w.expect(pol, helloSubject(t), Trusted, "")
	w.lines = []string{"index ix max-age 1h"}
	w.expect(w.policy(ps, "completeness proven", "group g 1 a"), helloSubject(t), Inconclusive, "the answers of log log0 lack its newest entry; the policy lets 0 stay unread")
}

func TestStateFilesOfAnotherVersionAreDropped(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.verify(pol, helloSubject(t))
	file := stateFiles(t, w.state)[0]
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte("firn-verify-state-1\n"), good[len(stateMagic):]...), 0o600); err != nil {
		t.Fatal(err)
	}
	r := w.verify(pol, helloSubject(t))
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, good) || len(r.Warnings) != 0 || r.Paths[0].Verdict != Trusted {
		t.Errorf("%v, warnings %q, %v", err, r.Warnings, r.Paths[0].Verdict)
	}
}

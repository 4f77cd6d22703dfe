package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
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

// helloBuilt registers a, who built hello as it is.
func helloBuilt(w *world) map[string]*person {
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	return ps
}

func TestCompleteAccordingToTheLogItself(t *testing.T) {
	w := newWorld(t)
	ps := helloBuilt(w)
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "1 found")
	w.expect(pol, subject(t, "none", "none"), Untrusted, "0 found")
	for _, pol := range []*Policy{pol, w.policy(ps, "group g 1 a")} { // completeness off changes nothing about what is proven
		r := w.verify(pol, helloSubject(t))
		says(t, r, "complete according to the log itself", BasisLog)
		if got := r.Completeness(); got != "Complete according to the log itself (log log0)." {
			t.Error(got)
		}
	}
}

func TestCompleteAccordingToAuditors(t *testing.T) {
	w := audited(t, "", "a2")
	pol := w.policy(helloBuilt(w), "completeness proven", "group g 1 a")
	r := w.verify(pol, helloSubject(t), subject(t, "none", "none"))
	if r.Paths[0].Verdict != Trusted || r.Paths[1].Verdict != Untrusted || r.ExitStatus() != 3 {
		t.Errorf("%v, %v, exit %d", r.Paths[0].Verdict, r.Paths[1].Verdict, r.ExitStatus())
	}
	says(t, r, "complete according to auditors a1, a3", BasisAuditors)
}

func TestWithoutTheIndexQuorumAnswersAreNotComplete(t *testing.T) {
	w := audited(t, "", "a2 a3")
	ps := helloBuilt(w)
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, helloSubject(t), Inconclusive, "the index quorum of log log0 is not there: ")
	r := w.verify(pol, helloSubject(t))
	if r.ExitStatus() != 4 || !strings.Contains(r.Logs[0].Complete.Why, "cosigned by a1, which does not satisfy the quorum") {
		t.Errorf("exit %d, %+v", r.ExitStatus(), r.Logs[0].Complete)
	}
	says(t, r, "Completeness not proven: the index quorum of log log0 is not there", BasisNone)

	r = w.verify(w.policy(ps, "group g 1 a"), helloSubject(t)) // completeness off
	if r.Paths[0].Verdict != Trusted {
		t.Errorf("with completeness off: %v %s", r.Paths[0].Verdict, r.Paths[0].Reason)
	}
	says(t, r, "the policy says `completeness off`, so the word of log log0 is taken for it", BasisPolicy)

	w.absent(0, "")
	w.expect(pol, helloSubject(t), Trusted, "")
	w.convictAuditors(1, 2) // evidence is held against them: their word does not count
	w.expect(pol, helloSubject(t), Inconclusive, "not counted, because evidence is held against it: a1, a2")
	w.full = true
	w.expect(pol, helloSubject(t), Trusted, "")
}

// An index that was edited and signed is a lie that only who recomputes it sees:
// the auditors have not cosigned it.
func TestAnEditedIndexIsBelievedByNobodyWhoAsksForAuditors(t *testing.T) {
	w := audited(t, "", "")
	ps := helloBuilt(w)
	ps["a"].builds("hello", "evil")
	s := helloSubject(t)
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, s, Contradicted, "a contradicts itself")
	w.logs[0].Lie(func(l *logtest.Lies) { l.Hide = map[string]bool{s.keys()[0]: true} })
	w.absent(0, "a1 a2 a3")
	w.state = t.TempDir()
	w.expect(pol, s, Inconclusive, "the index quorum of log log0 is not there: ")
	if r := w.verify(pol, s); r.ExitStatus() != 4 || len(r.Evidence()) != 0 {
		t.Errorf("exit %d, %q", r.ExitStatus(), r.Evidence())
	}
	w.lines = nil // no index policy
	w.state = t.TempDir()
	r := w.verify(w.policy(ps, "completeness proven", "group g 1 a"), s)
	if r.Paths[0].Verdict != Untrusted || len(r.Paths[0].Claims) != 0 {
		t.Errorf("%+v", r.Paths[0])
	}
	says(t, r, "complete according to the log itself", BasisLog)
}

func TestALogWithoutARevisionIsInconclusive(t *testing.T) {
	w := audited(t, "", "")
	pol := w.policy(helloBuilt(w), "completeness proven", "group g 1 a")
	w.logs[0].Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path == "v1/lookup" {
				return 503, []byte(`{"schema":1,"error":"no-revision","message":"no published checkpoint holds a revision of the index yet"}`)
			}
			return status, body
		}
	})
	w.expect(pol, helloSubject(t), Inconclusive, "log log0 has no index to answer from yet and nothing is remembered")
	r := w.verify(pol, helloSubject(t))
	if r.ExitStatus() != 4 || !strings.Contains(r.Logs[0].State(), "--full reads the whole log instead") {
		t.Errorf("exit %d, %s", r.ExitStatus(), r.Logs[0].State())
	}
	w.full = true
	w.expect(pol, helloSubject(t), Trusted, "")
}

// Required logs and the home logs of those who are counted must be complete;
// others are named.
func TestAVerdictNeedsCompleteAnswersFromRequiredAndHomeLogs(t *testing.T) {
	w := newWorld(t, logtest.New(t), logtest.New(t, logtest.Origin("second.example/00000001"), logtest.Auditors(1, 1)))
	w.files = map[string]string{"ix": w.logs[1].IndexPolicyText()}
	w.absent(1, "a1")
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
	w.absent(1, "")
	w.expect(all, helloSubject(t), Trusted, "3 found")
	const want = "Complete according to the log itself (log log0); complete according to auditor a1 (log log1)."
	if got := w.verify(all, helloSubject(t)).Completeness(); got != want {
		t.Error(got)
	}
}

func TestAnIndexThatWasTakenBackIsNotComplete(t *testing.T) {
	w := audited(t, "", "")
	ps := helloBuilt(w)
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	w.noRevision(true)
	at := w.reset(w.logs[0].Size())
	why := fmt.Sprintf("log %s has taken its index back at entry %d and has not stated a new one yet", w.logs[0].Origin(), at)
	w.expect(pol, helloSubject(t), Inconclusive, why)
	says(t, w.verify(pol, helloSubject(t)), why, BasisNone)
	w.expect(w.policy(ps, "group g 1 a"), helloSubject(t), Trusted, "") // completeness off
	w.noRevision(false)
	w.expect(pol, helloSubject(t), Trusted, "")
}

func TestAReaderThatLeavesOutMoreThanItMayIsNotComplete(t *testing.T) {
	w := audited(t, "", "")
	pol := w.policy(helloBuilt(w), "completeness proven", "group g 1 a")
	w.record()
	record := w.wrap
	w.wrap = func(l Log) Log {
		a := record(l).(asking)
		a.after = func(answers *log.Answers) { answers.Read-- }
		return a
	}
	w.expect(pol, helloSubject(t), Inconclusive, "the answers of log log0 lack its newest entry; the policy lets 0 stay unread")
}

func TestTheTailMayStayUnreadAsFarAsThePolicySays(t *testing.T) {
	for _, c := range []struct {
		tail    string
		verdict Verdict
		words   string
	}{
		{"tail 2", Trusted, "complete according to auditors a1, a2, a3, but for the newest 2 entries"},
		{"tail 1", Contradicted, "complete according to auditors a1, a2, a3 ("},
		{"", Contradicted, "complete according to auditors a1, a2, a3 ("},
	} {
		w := audited(t, c.tail, "")
		ps := w.people("a b")
		ps["a"].builds("hello", "hello")
		ps["b"].builds("other", "other")
		w.noRevision(true)
		w.vouchedUntilNow()
		ps["a"].builds("hello", "evil") // the tail is the revision and this
		pol := w.policy(ps, "completeness proven", "group g 1 a b")
		for range 2 { // the second run asks from where the first ended
			r := w.verify(pol, helloSubject(t))
			if r.Paths[0].Verdict != c.verdict {
				t.Errorf("%s: %v %s", c.tail, r.Paths[0].Verdict, r.Paths[0].Reason)
			}
			says(t, r, c.words, BasisAuditors)
		}
		w.noRevision(false) // nothing that was not read is lost
		w.vouchedAlways()
		w.expect(pol, helloSubject(t), Contradicted, "a contradicts itself")
	}
}

func TestEvidenceAgainstAnIndexEndsTrustInItsAnswers(t *testing.T) {
	w := audited(t, "", "")
	ps := w.people("a")
	s := helloSubject(t)
	at := w.put(0, w.sign(ps["a"].build, buildOf(t, "hello", "hello"), nil))
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	off := w.policy(ps, "group g 1 a")
	e := w.edited(0, s.keys()[0], at)
	w.expect(pol, s, Trusted, "") // the index is right again, and nothing is known of what it said

	var file string
	w.logs[0].Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path == "v1/lookup" && file == "" { // it comes to light while the log is asked
				file = w.hold(0, e)
			}
			return status, body
		}
	})
	sentence := func() string {
		return fmt.Sprintf("the index of log log0 (map version 1) is wrong: the map has no %s, under which the entry %d is; the evidence is in %s", s.keys()[0], at, file)
	}
	if r := w.verify(pol, s); !strings.Contains(r.Paths[0].Reason, sentence()) {
		t.Errorf("%v %s", r.Paths[0].Verdict, r.Paths[0].Reason)
	}
	for _, pol := range []*Policy{pol, off} {
		w.expect(pol, s, Inconclusive, sentence())
		r := w.verify(pol, s)
		if r.ExitStatus() != 5 || len(r.Evidence()) != 1 || r.Evidence()[0] != file {
			t.Errorf("exit %d, evidence %q", r.ExitStatus(), r.Evidence())
		}
		says(t, r, sentence(), BasisNone)
		var js bytes.Buffer
		if err := r.WriteJSON(&js); err != nil || !strings.Contains(js.String(), fmt.Sprintf(`"what": "the map has no %s, under which the entry %d is"`, s.keys()[0], at)) {
			t.Errorf("the JSON does not name the entry: %v\n%s", err, js.String())
		}
	}
	// Whatever an index that was caught answers, the log is not refused for it.
	w.logs[0].Lie(func(l *logtest.Lies) { l.Answer = func(a *lookup.Answer) { a.Trie = nil } })
	r := w.verify(pol, s)
	if r.ExitStatus() != 5 || r.Paths[0].Verdict != Inconclusive {
		t.Errorf("exit %d, %v", r.ExitStatus(), r.Paths[0].Verdict)
	}
	w.logs[0].Lie(func(l *logtest.Lies) { l.Answer = nil })
	// The log can be read without its index. The evidence is still held.
	w.full = true
	r = w.verify(pol, s)
	if r.Paths[0].Verdict != Trusted || r.ExitStatus() != 5 || r.Logs[0].Complete.By != BasisReading {
		t.Errorf("with --full: %v %s, exit %d, %+v", r.Paths[0].Verdict, r.Paths[0].Reason, r.ExitStatus(), r.Logs[0])
	}
	w.full = false
	resetEndsIt(t, w, pol, e.Index.Revision.Index)
}

// resetEndsIt makes sure that evidence no longer counts once the log itself has
// taken the index back, and only then.
func resetEndsIt(t *testing.T, w *world, pol *Policy, revision uint64) {
	t.Helper()
	s := helloSubject(t)
	for what, body := range map[string]func(){
		"by a stranger": func() {
			w.put(0, w.sign(signer(t, "stranger"), &statement.IndexReset{Origin: w.logs[0].Origin(), MapVersion: 1, Size: revision}, nil))
		},
		"of smaller revisions": func() { w.reset(1) },
	} {
		body()
		if r := w.verify(pol, s); r.ExitStatus() != 5 {
			t.Errorf("a reset %s: exit %d", what, r.ExitStatus())
		}
	}
	w.reset(revision)
	down(w.logs[0], true) // a reset that nobody sees changes nothing
	if r := w.verify(pol, s); r.ExitStatus() != 5 {
		t.Errorf("exit %d", r.ExitStatus())
	}
	down(w.logs[0], false)
	r := w.verify(pol, s)
	if r.ExitStatus() != 0 || len(r.Evidence()) != 0 {
		t.Errorf("after the reset: exit %d, %v %s", r.ExitStatus(), r.Paths[0].Verdict, r.Paths[0].Reason)
	}
	says(t, r, "complete according to auditors a1, a2, a3", BasisAuditors)
}

func TestListsAreAskedForFromTheirHeads(t *testing.T) {
	w := audited(t, "", "")
	ps := helloBuilt(w)
	asked := w.record()
	key := helloSubject(t).keys()[0]
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	if qs := asked(key); len(qs) != 1 || len(qs[0].Known) != 0 {
		t.Errorf("the first run asked %+v", qs)
	}
	w.expect(pol, helloSubject(t), Trusted, "")
	if qs := asked(key); len(qs) != 1 || qs[0].Known[key].Count != 1 || qs[0].Known[key].Size != w.logs[0].Size()-1 {
		t.Errorf("the second run asked %+v", qs)
	}
	// A signer that is new is asked for from the start.
	fresh := signer(t, "fresh")
	w.put(0, w.sign(fresh, buildOf(t, "hello", "evil"), nil))
	w.verify(pol, helloSubject(t))
	asked(key)
	ps["a"].addKey(fresh, "build")
	w.expect(pol, helloSubject(t), Contradicted, "a contradicts itself")
	if qs := asked(key); len(qs) != 2 || len(qs[0].Known) != 0 || len(qs[0].Signers) != 1 || qs[1].Known[key].Count != 2 {
		t.Errorf("after a key was added it asked %+v", qs)
	}
}

func TestAListThatDoesNotBeginAsRememberedIsAskedForAnew(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(head *log.Known)
		words  string
	}{
		{"another list", func(h *log.Known) { h.Root[0] ^= 1 }, "the index of log log0 no longer holds what it said before about "},
		{"a longer list", func(h *log.Known) { h.Count++ }, "the index of log log0 no longer holds all that it said before ("},
	} {
		w := audited(t, "", "")
		asked := w.record()
		key := helloSubject(t).keys()[0]
		pol := w.policy(helloBuilt(w), "completeness proven", "group g 1 a")
		w.verify(pol, helloSubject(t))
		asked(key)
		file := stateFiles(t, w.state)[0]
		mem, err := loadMemory(file)
		if err != nil {
			t.Fatal(err)
		}
		got := mem.claims[key]
		c.change(&got.head)
		mem.claims[key] = got
		if err := saveMemory(file, mem); err != nil {
			t.Fatal(err)
		}
		r := w.verify(pol, helloSubject(t))
		if r.Paths[0].Verdict != Trusted || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], c.words) {
			t.Errorf("%s: %v, warnings %q", c.what, r.Paths[0].Verdict, r.Warnings)
		}
		if qs := asked(key); len(qs) != 2 || len(qs[1].Known) != 0 {
			t.Errorf("%s: it asked %+v", c.what, qs)
		}
	}
}

// An entry that was read in the tail must be in the index later, and one of a
// list that is asked for anew as well. Where the log withholds the entry itself nobody is convicted.
func TestWhatTheIndexHidesOfWhatWasSeenIsNotComplete(t *testing.T) {
	for _, tail := range []bool{true, false} {
		w := audited(t, "max-age 1h", "")
		ps := w.people("a b")
		ps["b"].builds("hello", "hello")
		if tail {
			w.noRevision(true)
		}
		at := w.put(0, w.sign(ps["a"].build, buildOf(t, "hello", "evil"), nil))
		pol := w.policy(ps, "completeness proven", "group g 1 b")
		w.expect(pol, helloSubject(t), Trusted, "")
		hide := func(yes bool) {
			w.logs[0].Lie(func(l *logtest.Lies) {
				l.NoRevision, l.Index, l.Edit = false, nil, nil
				if yes {
					l.Edit = withheld
					l.Index = func(_ string, it index.Item) (index.Item, bool) { return it, it.Index != at }
				}
			})
			w.logs[0].Add([]byte("something new"))
			w.logs[0].Publish()
		}
		hide(true)
		for range 2 {
			w.expect(pol, helloSubject(t), Inconclusive, fmt.Sprintf("the index of log log0 hides entry %d from %s", at, helloSubject(t).keys()[0]))
		}
		down(w.logs[0], true) // nor do such answers count as proven later
		w.expect(pol, helloSubject(t), Inconclusive, "completeness not proven by log log0 when it last answered")
		down(w.logs[0], false)
		hide(false)
		w.expect(pol, helloSubject(t), Trusted, "")
	}
}

func TestRememberedAnswersRestOnTheirAuditors(t *testing.T) {
	w := audited(t, "max-age 1h", "a2 a3")
	ps := helloBuilt(w)
	ps["a"].builds("other", "other")
	at := w.put(0, w.sign(ps["a"].build, buildOf(t, "third", "third"), nil))
	fault := w.edited(0, subject(t, "third", "third").keys()[0], at)
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	hello, other := helloSubject(t), subject(t, "other", "other")
	w.expect(pol, other, Inconclusive, "the index quorum of log log0 is not there")
	w.absent(0, "")
	w.expect(pol, hello, Trusted, "")

	down(w.logs[0], true)
	r := w.verify(pol, hello)
	if r.Paths[0].Verdict != Trusted || r.Logs[0].Answered != Remembered {
		t.Errorf("%v %s", r.Paths[0].Verdict, r.Paths[0].Reason)
	}
	says(t, r, "complete according to auditors a1, a2, a3", BasisAuditors)
	// What was asked without a quorum does not rest on the one that came later.
	w.expect(pol, other, Inconclusive, "nothing is remembered about this path")
	w.convictAuditors(1, 2)
	w.expect(pol, hello, Inconclusive, "the index quorum of log log0 is not there")
	if err := os.RemoveAll(log.NewMemory(w.state).Evidence().Dir()); err != nil {
		t.Fatal(err)
	}
	w.expect(pol, hello, Trusted, "")
	w.hold(0, fault)
	w.expect(pol, hello, Inconclusive, fmt.Sprintf("the index of log log0 (map version 1) is wrong: the map has no %s", subject(t, "third", "third").keys()[0]))
}

func TestRememberedAnswersWithoutProofAreNotComplete(t *testing.T) {
	w := audited(t, "max-age 1h", "")
	ps := helloBuilt(w)
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.noRevision(true)
	w.reset(w.logs[0].Size())
	w.expect(pol, helloSubject(t), Inconclusive, "has taken its index back")
	down(w.logs[0], true)
	w.expect(pol, helloSubject(t), Inconclusive, "completeness not proven by log log0 when it last answered")
	w.expect(w.policy(ps, "group g 1 a"), helloSubject(t), Trusted, "") // completeness off
}

// A policy that no longer lets a tail stay unread does not accept answers that
// were remembered without it.
func TestRememberedAnswersLackNoMoreThanThePolicySays(t *testing.T) {
	w := audited(t, "max-age 1h tail 2", "")
	ps := helloBuilt(w)
	w.noRevision(true)
	w.vouchedUntilNow()
	ps["a"].builds("hello", "evil")
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	down(w.logs[0], true)
	w.expect(pol, helloSubject(t), Trusted, "")
	w.lines = []string{"index ix max-age 1h"}
	w.expect(w.policy(ps, "completeness proven", "group g 1 a"), helloSubject(t), Inconclusive, "the answers of log log0 lack its newest 2 entries; the policy lets 0 stay unread")
}

func TestStateFilesOfAnotherVersionAreDropped(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	w.logs[0].Revise()
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

// withheld is a server that does not show the entries of its log.
func withheld(path string, status int, body []byte) (int, []byte) {
	if strings.HasPrefix(path, "tile/entries/") {
		return 503, nil
	}
	return status, body
}

// Auditors who know one map version vouch for its revisions while the log states others of a later one beside them.
func TestAuditorsThatAreNotUpgradedVouchAcrossAMapVersionChange(t *testing.T) {
	w := audited(t, "", "")
	ps := helloBuilt(w)
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	for i := range 4 {
		l := w.logs[0]
		l.Add(l.State(&statement.Revision{Origin: l.Origin(), Size: l.Size(), Root: index.Hash{byte(i)}, MapVersion: 2}))
		l.Publish()
		r := w.verify(pol, helloSubject(t), subject(t, "none", "none"))
		if r.Paths[0].Verdict != Trusted || r.Paths[1].Verdict != Untrusted || len(r.Evidence()) != 0 {
			t.Errorf("%v, %v, evidence %q", r.Paths[0].Verdict, r.Paths[1].Verdict, r.Evidence())
		}
		says(t, r, "complete according to auditors a1, a2, a3", BasisAuditors)
		ps["a"].builds(fmt.Sprint("more-", i), "x")
	}
}

package verify

import (
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// The sentences that define verdicts, each from leaves in a log to the report
// (spec/policy.md#verdicts-what-holds-and-its-test).

func TestAnOperatorSupportsAPathOnlyIfAllItsLiveClaimsAreThis(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	ps["b"].builds("hello", "hello")
	pol := w.policy(ps, "group g all a b")
	w.expect(pol, helloSubject(t), Trusted, "2 found")
	wrong := ps["b"].builds("hello", "wrong")
	p := w.expect(pol, helloSubject(t), Contradicted, "b contradicts itself")
	if strings.Join(p.Supports, " ") != "a" {
		t.Errorf("who differs supports something: %v", p.Supports)
	}
	w.expect(pol, subject(t, "hello", "wrong"), Contradicted, "b contradicts itself") // nor the other
	ps["b"].say(&statement.Retract{OperatorID: ps["b"].id, Statement: wrong.ID(), Reason: "bad memory"})
	w.expect(pol, helloSubject(t), Trusted, "2 found") // what is retracted is not live
}

func TestTrustedNeedsSupportersWhoSatisfyTheRule(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b c")
	pol := w.policy(ps, "group g 2 a b c")
	for _, name := range []string{"a", "b"} {
		if p := w.expect(pol, helloSubject(t), Untrusted, ""); p.Action == Serve {
			t.Errorf("%d supporters are enough", p.Found)
		}
		ps[name].builds("hello", "hello")
	}
	if p := w.expect(pol, helloSubject(t), Trusted, "2 of 3 needed, 2 found"); p.Action != Serve {
		t.Errorf("what is trusted is not served: %v", p.Action)
	}
}

func TestTrustedNeedsThatNoVetoFires(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b z")
	ps["a"].builds("hello", "hello")
	ps["b"].builds("hello", "hello")
	pol := w.policy(ps, "group g all a b", "veto any 1 z refuse")
	w.expect(pol, helloSubject(t), Trusted, "2 found")
	ps["z"].builds("hello", "other")
	p := w.expect(pol, helloSubject(t), Contradicted, "vetoed by")
	if p.Veto == nil || p.Action != Refuse {
		t.Errorf("%+v", p)
	}
}

func TestTrustedNeedsCompleteAnswersUnlessCompletenessIsOff(t *testing.T) {
	w := audited(t, "", "a2 a3") // auditors who have not vouched
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	proven, off := w.policy(ps, "completeness proven", "group g any a"), w.policy(ps, "group g any a")
	w.expect(proven, helloSubject(t), Inconclusive, "the index quorum of log log0 is not there")
	w.expect(off, helloSubject(t), Trusted, "")
	w.absent(0, "")
	w.expect(proven, helloSubject(t), Trusted, "")
}

func TestContradictedIsNotTrustedAndAnOperatorOfTheRuleClaimsAnother(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b c outside")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 2 a b c")
	ps["outside"].builds("hello", "evil") // whom the rule does not name
	w.expect(pol, helloSubject(t), Untrusted, "2 of 3 needed, 1 found")
	ps["b"].builds("hello", "evil")
	w.expect(pol, helloSubject(t), Contradicted, "b claims another hash")
	ps["c"].builds("hello", "hello") // now it is trusted, whatever b claims
	w.expect(pol, helloSubject(t), Trusted, "2 of 3 needed, 2 found")
}

func TestUntrustedIsThatTooFewSupportItAndNobodyDisagrees(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b c")
	ps["a"].builds("hello", "hello")
	p := w.expect(w.policy(ps, "group g 2 a b c"), helloSubject(t), Untrusted, "2 of 3 needed, 1 found")
	if len(p.Dissent) != 0 || len(p.Missing) != 0 {
		t.Errorf("%+v", p)
	}
}

func TestInconclusiveIsDecidedFirst(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	ps := w.people("a b c")
	ps["a"].builds("hello", "hello")
	ps["b"].builds("hello", "evil")
	pol := w.policy(ps, "group g 2 a b c")
	w.expect(pol, helloSubject(t), Contradicted, "b claims another hash")
	// With a required log away c could still make it trusted: then it is not contradicted.
	down(w.logs[1], true)
	w.state = t.TempDir()
	p := w.expect(pol, helloSubject(t), Inconclusive, "log log1 did not answer")
	if len(p.Dissent) != 1 {
		t.Errorf("the dissent is not shown: %+v", p)
	}
}

func TestWhatIsMissingAndCouldChangeNothingDecidesNothing(t *testing.T) {
	w := newWorld(t, logtest.New(t), second(t))
	w.lines = []string{"required", "optional"}
	ps := w.people("a b")
	ps["a"].builds("hello", "evil")
	ps["b"].builds("hello", "evil")
	pol := w.policy(ps, "group g all a b")
	down(w.logs[1], true)
	w.expect(pol, helloSubject(t), Contradicted, "another hash")
}

func TestAnotherPathByTheSameImplementationIsDissent(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	mine, key := caBuild(t, "ca", "one", "nix")
	other, _ := caBuild(t, "ca", "two", "nix")
	lix, _ := caBuild(t, "ca", "two", "lix")
	s := Subject{Info: infoOf(mine), Realisations: []string{key}}
	w.put(0, w.sign(ps["a"].build, mine, nil))
	pol := w.policy(ps, "group g all a b")
	w.put(0, w.sign(ps["b"].build, lix, nil))
	if p := w.expect(pol, s, Untrusted, "2 of 2 needed, 1 found"); len(p.Dissent) != 0 {
		t.Errorf("another implementation dissents: %+v", p.Dissent)
	}
	w.put(0, w.sign(ps["b"].build, other, nil))
	w.expect(pol, s, Contradicted, "b claims another path")
}

func TestDissentOnATrustedPathIsAlwaysShown(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b c")
	ps["a"].builds("hello", "hello")
	ps["b"].builds("hello", "hello")
	ps["c"].builds("hello", "evil")
	r := w.verify(w.policy(ps, "group g 2 a b c"), helloSubject(t))
	p := &r.Paths[0]
	if p.Verdict != Trusted || len(p.Dissent) != 1 {
		t.Fatalf("%+v", p.Judgement)
	}
	var table, explained, js strings.Builder
	if r.WriteTable(&table, false) != nil || r.Explain(&explained, p) != nil || r.WriteJSON(&js) != nil {
		t.Fatal("not written")
	}
	for what, text := range map[string]string{"c claims another hash": table.String(), "c built another hash": explained.String(), `"operator": "c"`: js.String()} {
		if !strings.Contains(text, what) {
			t.Errorf("%q is not in\n%s", what, text)
		}
	}
}

func TestTheDenominatorComesFromThePolicy(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	nobody := "operator ghost key " + strings.Repeat("0", 63) + "1" // who says nothing, and is counted all the same
	r := w.verify(w.policy(ps, nobody, "group g 2 a b ghost"), helloSubject(t))
	if j := r.Paths[0].Judgement; j.Of != 3 || j.Needed != 2 || j.Found != 1 || !strings.HasPrefix(j.Reason, "2 of 3 needed, 1 found") {
		t.Errorf("%+v", j)
	}
}

func TestWhatIsJudgedIsTheWholeFingerprint(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g any a")
	w.expect(pol, helloSubject(t), Trusted, "")
	for what, change := range map[string]func(*nix.PathInfo){
		"another hash":     func(i *nix.PathInfo) { i.NarHash[0]++ },
		"another size":     func(i *nix.PathInfo) { i.NarSize++ },
		"other references": func(i *nix.PathInfo) { i.References = nil },
	} {
		s := helloSubject(t)
		change(s.Info)
		w.expect(pol, s, Contradicted, "a claims "+what)
	}
}

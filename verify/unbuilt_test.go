package verify

import (
	"strings"
	"testing"
)

func TestBeforeItIsBuiltTheLogsSayWhichFingerprintIsTrusted(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b c d")
	for _, n := range []string{"a", "b", "c"} {
		ps[n].builds("hello", "good")
	}
	ps["d"].builds("hello", "bad")
	pol := w.policy(ps, "group g 2 a b c d")
	real := subject(t, "hello", "good")
	p := w.expect(pol, Unbuilt(real.Info.Path), Trusted, "2 of 4 needed, 3 found")
	if f, ok := p.Subject.Expected(); !ok || f != real.Fingerprint() || p.Subject.Info.NarHash != real.Info.NarHash {
		t.Errorf("the fingerprint is %+v", f)
	}
	if len(p.Dissent) != 1 || p.Dissent[0].Operator != "d" {
		t.Errorf("dissent %+v", p.Dissent)
	}
	r := w.verify(pol, Unbuilt(real.Info.Path))
	var text strings.Builder
	if err := r.WriteTable(&text, false); err != nil || !strings.Contains(text.String(), "is not in the store; what is trusted is the NAR hash "+real.Info.NarHash.String()+", 1000 bytes.\n") {
		t.Errorf("%v\n%s", err, text.String())
	}
	var explained strings.Builder
	if err := r.Explain(&explained, &r.Paths[0]); err != nil || !strings.Contains(explained.String(), "a built exactly this") || !strings.Contains(explained.String(), "d built another hash") {
		t.Errorf("%v\n%s", err, explained.String())
	}
}

func TestBeforeItIsBuiltSilenceIsUntrustedAndNeverTrusted(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	pol := w.policy(ps, "group g 1 a b")
	p := w.expect(pol, Unbuilt(subject(t, "hello", "x").Info.Path), Untrusted, "1 of 2 needed, 0 found")
	if _, ok := p.Subject.Expected(); ok || p.Action.Taken() {
		t.Errorf("%+v", p)
	}
	r := w.verify(pol, Unbuilt(subject(t, "hello", "x").Info.Path))
	var out strings.Builder
	if err := r.WriteJSON(&out); err != nil || !strings.Contains(out.String(), `"unbuilt": true`) || !strings.Contains(out.String(), `"nar_hash": ""`) {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestBeforeItIsBuiltTwoTrustedFingerprintsAreAContradiction(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	ps["a"].builds("hello", "one")
	ps["b"].builds("hello", "two")
	w.expect(w.policy(ps, "group g any a b"), Unbuilt(subject(t, "hello", "x").Info.Path), Contradicted, twoAnswers)
	w.expect(w.policy(ps, "group g all a b"), Unbuilt(subject(t, "hello", "x").Info.Path), Contradicted, "2 of 2 needed, 1 found")
}

func TestWhatNobodyHasIsInconclusiveWhateverTheLogsSay(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "good")
	s := Unbuilt(subject(t, "hello", "good").Info.Path)
	s.Unbuilt, s.Absent = false, "the cache does not have it, and app refers to it"
	p := w.expect(w.policy(ps, "group g any a"), s, Inconclusive, s.Absent)
	if len(p.Missing) != 1 || p.Action == Serve {
		t.Errorf("%+v", p)
	}
}

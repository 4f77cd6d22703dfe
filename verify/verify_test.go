package verify

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/log/logtest"
)

func TestVerdictsOfFourBuildersOfWhomOneLies(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b c d")
	for _, p := range ps {
		p.builds("hello", "hello")
		p.builds("random", p.name)
	}
	ps["a"].builds("libfoo", "good")
	ps["b"].builds("libfoo", "good")
	ps["c"].builds("libfoo", "good")
	ps["d"].builds("libfoo", "evil")
	ps["d"].builds("lonely", "lonely")
	pol := w.policy(ps, "group g 2 a b c d")
	r := w.verify(pol,
		subject(t, "hello", "hello"), subject(t, "libfoo", "good"), subject(t, "random", "a"), subject(t, "lonely", "lonely"), subject(t, "unknown", "x"))
	var got []string
	for _, p := range r.Paths {
		got = append(got, p.Subject.Info.Path.Name()+" "+p.Verdict.String()+" ["+strings.Join(p.Supports, " ")+"] "+p.Reason)
	}
	want := []string{
		"hello trusted [a b c d] 2 of 4 needed, 4 found",
		"libfoo trusted [a b c] 2 of 4 needed, 3 found",
		"random contradicted [a] 2 of 4 needed, 1 found; b claims another hash; c claims another hash; d claims another hash",
		"lonely untrusted [d] 2 of 4 needed, 1 found",
		"unknown untrusted [] 2 of 4 needed, 0 found",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d := r.Paths[1].Dissent; len(d) != 1 || d[0].Words() != "d claims another hash" {
		t.Errorf("dissent on a trusted path is not shown: %+v", d)
	}
	if r.ExitStatus() != 3 {
		t.Errorf("exit %d", r.ExitStatus())
	}
	if r := w.verify(pol, subject(t, "hello", "hello")); r.ExitStatus() != 0 {
		t.Errorf("exit %d for a trusted path", r.ExitStatus())
	}
	w.expect(pol, subject(t, "libfoo", "evil"), Contradicted, "1 found; a claims another hash")
}

func TestVerifyNeedsAPolicyAndSomethingToVerify(t *testing.T) {
	w := newWorld(t)
	pol := w.policy(w.people("a"), "group g 1 a")
	if _, err := Verify(context.Background(), nil, []Subject{subject(t, "x", "x")}, w.options()); !errors.Is(err, ErrNoPolicy) {
		t.Errorf("without a policy: %v", err)
	}
	if _, err := Verify(context.Background(), pol, nil, w.options()); !errors.Is(err, ErrNothing) {
		t.Errorf("without paths: %v", err)
	}
	if (&Report{Policy: pol}).ExitStatus() == 0 {
		t.Error("a report about nothing exits 0")
	}
}

// An operator supports f only if path, NAR hash, size and references agree.
func TestSizeAndReferencesAreJudged(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	b := buildOf(t, "hello", "hello")
	b.Outputs[0].References = nil
	w.put(0, w.sign(ps["b"].build, b, nil))
	pol := w.policy(ps, "group g all a b")
	w.expect(pol, subject(t, "hello", "hello"), Contradicted, "b claims other references")
	s := subject(t, "hello", "hello")
	s.Info.NarSize++
	w.expect(pol, s, Contradicted, "a claims another size")
}

func TestReferencesDigestEqualsTheList(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	b := buildOf(t, "hello", "hello")
	digest := refsHash(b.Outputs[0].References)
	b.Outputs[0].References, b.Outputs[0].RefsDigest = nil, &digest
	w.put(0, w.sign(ps["b"].build, b, nil))
	w.expect(w.policy(ps, "group g all a b"), subject(t, "hello", "hello"), Trusted, "2 found")
}

func TestContentThatDiffersIsContradictedWhateverTheLogsSay(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	s := subject(t, "hello", "hello")
	s.Differs = "it hashes to sha256:x, recorded is sha256:y"
	w.expect(pol, s, Contradicted, "content differs from what the database says")
	w.logs[0].Lie(func(l *logtest.Lies) { l.Down = true })
	w.state = t.TempDir()
	w.expect(pol, s, Contradicted, "content differs")
}

func TestCacheSignaturesCountOnlyInSignedGroups(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	s := subject(t, "hello", "hello")
	cache := cacheKey("cache.example-1")
	w.put(0, cacheSig(t, cache, s.Info))
	line := "operator cache key " + keyID(t, cache).String()
	w.expect(w.policy(ps, line, "group g any cache signed"), s, Trusted, "1 of 1 needed, 1 found")
	w.expect(w.policy(ps, line, "group g any cache"), s, Untrusted, "1 of 1 needed, 0 found")
	ps["a"].builds("hello", "hello")
	w.expect(w.policy(ps, line, "group g any a signed"), s, Untrusted, "0 found")
	w.expect(w.policy(ps, line, "group built any a", "group kept any cache signed", "group g all built kept"), s, Trusted, "2 of 2 needed, 2 found")
	w.expect(w.policy(ps, line, "group g any cache signed"), subject(t, "hello", "evil"), Contradicted, "cache claims another hash")
}

func TestContentAddressedOutputsAreJudgedUnderReal(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b c")
	mine, key := caBuild(t, "ca", "one", "nix")
	other, _ := caBuild(t, "ca", "two", "nix")
	lix, _ := caBuild(t, "ca", "two", "lix")
	s := Subject{Info: infoOf(mine), Realisations: []string{key}}
	w.put(0, w.sign(ps["a"].build, mine, nil))
	w.put(0, w.sign(ps["b"].build, lix, nil))
	pol := w.policy(ps, "group g 2 a b c")
	w.expect(pol, s, Untrusted, "1 found")
	w.put(0, w.sign(ps["c"].build, other, nil))
	w.expect(pol, s, Contradicted, "c claims another path")
	w.expect(pol, Subject{Info: infoOf(mine)}, Untrusted, "1 found") // without the realisation nobody sees it
}

func TestExitStatusIsTheWorst(t *testing.T) {
	r := func(evidence string, vs ...Verdict) *Report {
		rep := &Report{Logs: []LogReport{{Evidence: evidence}}}
		for _, v := range vs {
			rep.Paths = append(rep.Paths, PathReport{Judgement: Judgement{Verdict: v}})
		}
		return rep
	}
	for _, c := range []struct {
		r    *Report
		want int
	}{
		{r("", Trusted, Trusted), 0},
		{r(""), 1},
		{r("", Trusted, Inconclusive), 4},
		{r("", Inconclusive, Untrusted), 3},
		{r("", Contradicted, Inconclusive), 3},
		{r("fork", Trusted), 5},
		{r("fork", Contradicted), 5},
	} {
		if got := c.r.ExitStatus(); got != c.want {
			t.Errorf("%+v: exit %d, want %d", c.r.Counts(), got, c.want)
		}
	}
}

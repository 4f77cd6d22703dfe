package verify

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var then = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// statusWorld is a report with five paths: two built by two, one of which c disputes; one built by
// one; one signed; one of which nobody says anything.
func statusReport(t *testing.T) *Report {
	t.Helper()
	w := newWorld(t)
	ps := w.people("a b c")
	for _, name := range []string{"both", "disputed"} {
		ps["a"].builds(name, name)
		ps["b"].builds(name, name)
	}
	ps["c"].builds("disputed", "other")
	ps["a"].builds("one", "one")
	ps["c"].builds("evil", "other")
	cache := cacheKey("cache.example-1")
	signed := subject(t, "signed", "signed")
	w.put(0, cacheSig(t, cache, signed.Info))
	fixed := subject(t, "fixed", "fixed")
	fixed.Facts.FOD, fixed.Facts.FODKnown = true, true
	ps["a"].builds("fixed", "fixed")
	pol := w.policy(ps, "operator cache key "+keyID(t, cache).String(), "group g 2 a b c")
	return w.verify(pol, subject(t, "both", "both"), subject(t, "disputed", "disputed"), subject(t, "one", "one"), signed,
		subject(t, "evil", "evil"), subject(t, "silent", "silent"), fixed)
}

func TestStatusCountsWhatIsReproducedAndByWhom(t *testing.T) {
	s := statusReport(t).Status("./result", then)
	if s.Paths != 7 || s.Trusted != 2 || s.Contradicted != 1 || s.Untrusted != 4 || s.Inconclusive != 0 {
		t.Errorf("verdicts: %+v", s)
	}
	if s.Fixed != 1 || s.Built != 3 || s.Reproduced != 2 || s.Covered != 6 {
		t.Errorf("reproduced: %+v", s)
	}
	want := []StatusOperator{{"a", 4, 0, 0}, {"b", 2, 0, 0}, {"cache", 0, 1, 0}, {"c", 0, 0, 2}}
	if fmt.Sprint(s.By) != fmt.Sprint(want) {
		t.Errorf("by %+v, want %+v", s.By, want)
	}
	if len(s.Bad) != 1 || !strings.HasSuffix(s.Bad[0], "-evil") {
		t.Errorf("contradicted: %v", s.Bad)
	}
}

func TestStatusShowsTheWorstFirstAndWhatHasChanged(t *testing.T) {
	r := statusReport(t)
	s := r.Status("./result", then)
	var first strings.Builder
	if err := s.WriteScreen(&first, r, nil, "firn verify ./result"); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"./result: 7 paths, 28.6% trusted\n",
		"  trusted            2   28.6%\n",
		"Reproduced: 2 of 6 (33.3%) built the same by two or more, 3 by at least one.",
		"By: a built 4; b built 2; cache signed 1; c built 0 (2 otherwise)\n",
		"Coverage: the logs say something about 6 of 7 (85.7%).\n",
		"Worst first:\n  contradicted  evil: 2 of 3 needed, 0 found; c claims another hash\n",
		"  trusted       disputed: c claims another hash\n",
		"This is the first time; the next one says what has changed.\n",
	} {
		if !strings.Contains(first.String(), line) {
			t.Errorf("%q is not in\n%s", line, first.String())
		}
	}
	before := *s
	before.Time, before.Trusted, before.Untrusted, before.Contradicted, before.Reproduced, before.Bad = then.Add(-72*time.Hour), 1, 6, 0, 1, []string{}
	var second strings.Builder
	if err := s.WriteScreen(&second, r, &before, ""); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"Since 2026-11-22 12:00 (3 days before): 1 more trusted, 1 more contradicted,", "2 fewer untrusted", "reproduced 33.3%, was 16.7%", "Newly contradicted: evil."} {
		if !strings.Contains(strings.ReplaceAll(second.String(), "\n  ", " "), words) {
			t.Errorf("%q is not in\n%s", words, second.String())
		}
	}
	if same := s.since(s); len(same) != 1 || !strings.Contains(same[0], "nothing has changed") {
		t.Errorf("%q", same)
	}
}

// Whatever there is to say, it is one screen.
func TestStatusFitsOnOneScreen(t *testing.T) {
	r := statusReport(t)
	base := r.Paths
	r.Paths = nil
	for i := range 3500 {
		p := base[i%len(base)]
		r.Paths = append(r.Paths, p)
	}
	for i := range 40 {
		name := strings.Repeat("operator", 5) + fmt.Sprint(i)
		r.Paths[i].Claims = append(r.Paths[i].Claims, Claim{Operator: name, Class: Built, About: r.Paths[i].Subject.Fingerprint()})
	}
	r.Logs[0].Complete.Why, r.Logs[0].Complete.By = strings.Repeat("long words ", 200), BasisNone
	s := r.Status(strings.Repeat("/a/very/long/folder", 20), then)
	var out strings.Builder
	if err := s.WriteScreen(&out, r, &Status{Time: then}, "firn verify "+strings.Repeat("x", 200)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) > screenLines-1 {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) >= screenColumns {
			t.Errorf("too wide: %q", l)
		}
	}
	if !strings.Contains(out.String(), "more; list them with firn verify") {
		t.Errorf("what is left out is not said:\n%s", out.String())
	}
}

func TestSharesAreWholeOnlyIfTheyAre(t *testing.T) {
	for _, c := range []struct {
		n, all int
		want   string
	}{{0, 0, "0%"}, {0, 3500, "0%"}, {1, 3500, "0.1%"}, {3499, 3500, "99.9%"}, {3500, 3500, "100%"}, {1, 2, "50.0%"}} {
		if got := share(c.n, c.all); got != c.want {
			t.Errorf("%d of %d: %s, want %s", c.n, c.all, got, c.want)
		}
	}
}

package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
)

// manyPaths is a report about 51 paths, of which one has dissent and two have
// one name.
func manyPaths(t *testing.T) *Report {
	t.Helper()
	w := newWorld(t)
	ps := w.people("a b")
	pol := w.policy(ps, "group g any a b")
	r := w.verify(pol, subject(t, "x", "x"))
	r.Paths = nil
	for i := range 51 {
		p := PathReport{Rule: new(Rule), Subject: Subject{Info: &nix.PathInfo{}}}
		name := fmt.Sprintf("pkg-%02d", i)
		if i == 50 {
			name = "pkg-49"
		}
		p.Subject.Info.Path = mustPath("/nix/store/" + nix.EncodeBase32(append(make([]byte, 19), byte(i))) + "-" + name)
		p.Judgement = Judgement{Verdict: Trusted, Needed: 1, Of: 2, Found: 1, Supports: []string{"a"}}
		if i == 7 {
			p.Dissent = []Dissent{{Operator: "b", What: "another hash"}}
		}
		if i >= 49 {
			p.Verdict = Untrusted
		}
		r.Paths = append(r.Paths, p)
	}
	return r
}

func TestALongTableHidesOnlyWhatIsTrustedWithoutDissent(t *testing.T) {
	r := manyPaths(t)
	var short, all bytes.Buffer
	if err := r.WriteTable(&short, false); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteTable(&all, true); err != nil {
		t.Fatal(err)
	}
	s := short.String()
	if n := strings.Count(s, "pkg-"); n != 3 || !strings.Contains(s, "48 paths trusted without dissent not shown; use --all") {
		t.Errorf("%d rows:\n%s", n, s)
	}
	if !strings.Contains(s, "pkg-07    ") || !strings.Contains(s, "b claims another hash") {
		t.Errorf("dissent on a trusted path is hidden:\n%s", s)
	}
	if strings.Count(s, "…-pkg-49") != 2 {
		t.Errorf("two paths of one name look alike:\n%s", s)
	}
	if n := strings.Count(all.String(), "pkg-"); n != 51 {
		t.Errorf("--all shows %d rows", n)
	}
	if got := r.Find("pkg-49"); len(got) != 2 {
		t.Errorf("pkg-49 names %d paths", len(got))
	}
}

func TestColumnsAreAligned(t *testing.T) {
	var b bytes.Buffer
	if err := manyPaths(t).WriteTable(&b, true); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	at := strings.Index(lines[0], "WHY")
	for _, l := range lines[1:52] {
		runes := []rune(l)
		if string(runes[at:at+4]) != "1 of" {
			t.Errorf("%q is not aligned with %q", l, lines[0])
		}
	}
}

func TestJSONHasAllFieldsAndNoNullLists(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	r := w.verify(w.policy(ps, "group g all a b"), helloSubject(t))
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema, Exit int
		Summary      map[string]int
		Paths        []struct {
			Verdict           string
			Supports, Missing []string
			Dissent           []any
			Claims            []struct {
				Agrees bool
				Places []struct {
					Log   string
					Index *uint64
				}
			}
		}
		Logs []map[string]any
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != 1 || got.Exit != 3 || got.Summary["untrusted"] != 1 || len(got.Summary) != 4 {
		t.Errorf("%+v", got)
	}
	p := got.Paths[0]
	if p.Verdict != "untrusted" || p.Missing == nil || p.Dissent == nil || len(p.Claims) != 1 || !p.Claims[0].Agrees || *p.Claims[0].Places[0].Index != 4 {
		t.Errorf("%+v", p)
	}
	if age, ok := got.Logs[0]["age_seconds"]; !ok || age != nil {
		t.Errorf("age without witnesses: %v", age)
	}
	if strings.Contains(strings.ReplaceAll(b.String(), `"age_seconds": null`, ""), "null") {
		t.Errorf("a list is null:\n%s", b.String())
	}
}

func TestExplainNamesEveryVoterAndPlace(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b c d")
	ps["a"].builds("hello", "hello")
	ps["b"].builds("hello", "evil")
	ps["d"].builds("hello", "hello")
	r := w.verify(w.policy(ps, "group g all a b c"), helloSubject(t))
	var b strings.Builder
	if err := r.Explain(&b, &r.Paths[0]); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"is contradicted: 3 of 3 needed, 1 found; b claims another hash.\n",
		"  a built exactly this (log log0 entry 8, statement ",
		"  b built another hash, sha256:",
		"  c says nothing about it\n",
		"Not asked for by the rule: operator d built exactly this (log log0 entry 10, ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, b.String())
		}
	}
}

func TestNothingIsKnownIfNoLogAnswers(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	w.logs[0].Lie(func(l *logtest.Lies) { l.Down = true })
	r := w.verify(w.policy(ps, "group g 1 a"), helloSubject(t))
	if got := r.Completeness(); got != "Nothing is known: log log0 gave no answer that counts." {
		t.Error(got)
	}
}

func TestSpansAreForPeople(t *testing.T) {
	for in, want := range map[int64]string{5: "5s", 90: "1m", 3600: "1h", 5400: "1.5h", 86400: "24h", 3 * 86400: "3 days"} {
		if got := span(seconds(in)); got != want {
			t.Errorf("%d s: %q, want %q", in, got, want)
		}
	}
}

// What is missing to decide many paths is said once, below a table of short rows.
func TestEachReasonIsSaidOnce(t *testing.T) {
	r := manyPaths(t)
	const first, second = "log main did not answer and nothing is remembered", "operator b is registered in no log of the policy"
	for i := range r.Paths {
		p := &r.Paths[i]
		if i%2 == 0 {
			continue
		}
		p.Verdict, p.Missing, p.Found, p.Dissent = Inconclusive, []string{first}, 0, nil
		if i%4 == 1 {
			p.Missing = []string{second, first}
		}
		p.Reason = reason(p.Judgement)
	}
	var b, js strings.Builder
	if err := errors.Join(r.WriteTable(&b, false), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	table, rest, _ := strings.Cut(b.String(), "\n\n")
	for line := range strings.Lines(table) {
		if len(line) > 80 {
			t.Errorf("a long row: %s", line)
		}
	}
	if strings.Contains(table, first) || strings.Count(table, "1 of 2 needed, 0 found [1] [2]") != 13 || strings.Count(table, "1 of 2 needed, 0 found [2]") != 12 {
		t.Errorf("the table:\n%s", table)
	}
	if !strings.HasPrefix(rest, "[1] 13 paths: "+second+"\n[2] 25 paths: "+first+"\n\n") || strings.Count(rest, first) != 1 {
		t.Errorf("below it:\n%s", rest)
	}
	if strings.Count(js.String(), "0 found; "+second+"; "+first) != 13 {
		t.Errorf("the JSON does not have the whole reason of every path:\n%s", js.String())
	}
}

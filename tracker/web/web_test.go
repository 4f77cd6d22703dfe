package web

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

// site is the handler over a fake.
func site(t testing.TB, f *fake) http.Handler {
	t.Helper()
	return New(f, Options{BaseURL: "https://tracker.example", Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
}

// get answers a request as the wire has it.
func get(t testing.TB, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "https://tracker.example/", nil)
	u, err := url.ParseRequestURI(path)
	if err != nil {
		t.Fatalf("%q: %v", path, err)
	}
	r.URL = u
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// node is a parsed page.
type node struct{ *html.Node }

func parsed(t testing.TB, h http.Handler, path string) node {
	t.Helper()
	r := get(t, h, path)
	text := body(t, r)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s is status %d: %s", path, r.StatusCode, text)
	}
	n, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return node{n}
}

// all returns the elements with a tag, and with a class unless it is "".
func (n node) all(tag, class string) []node {
	var out []node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == tag && (class == "" || strings.Contains(" "+attr(d, "class")+" ", " "+class+" ")) {
			out = append(out, node{d})
		}
	}
	return out
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func (n node) text() string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// has fails unless the main part of a page has all these words, as they are.
func (n node) has(t *testing.T, words ...string) {
	t.Helper()
	text := n.all("main", "")[0].text()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the page does not say %q:\n%s", w, clip(text, 3000))
		}
	}
}

// links reports whether the page has a link to path.
func (n node) links(path string) bool {
	for _, a := range n.all("a", "") {
		if attr(a.Node, "href") == path {
			return true
		}
	}
	return false
}

func TestFrontPageAnswersAtAGlance(t *testing.T) {
	p := parsed(t, site(t, newFake()), "/")
	p.has(t, "Is it reproducible?", "nixos-unstable", "percentage points more than", "Got worse", "No derivation is known yet", mainLog, "good.", "look at it.", "distribution")
	forms := p.all("form", "")
	if len(forms) != 1 || attr(forms[0].Node, "action") != "/search" {
		t.Errorf("the front page has %d forms, want one that searches", len(forms))
	}
	for _, path := range []string{"/channel/nixos-unstable", "/operators", "/queue", "/about", "/index.json"} {
		if !p.links(path) {
			t.Errorf("no link to %s", path)
		}
	}
}

func TestSearchGoesToWhatIsCalledSo(t *testing.T) {
	h := site(t, newFake())
	id := hexOf("Bern University")
	for q, want := range map[string]string{
		"hello": "/package/hello", " hello ": "/package/hello", "nodePackages.json": "/package/nodePackages.json.html", "a/b/c": "/package/a%2Fb%2Fc",
		"alice": "/maintainer/alice", "nixos-26.05": "/channel/nixos-26.05", id: "/operator/" + id, hexOf("statement 1"): "/statement/" + hexOf("statement 1"),
		"": "/", "/nix/store/" + pathOfName("p0-1.0.0-out") + "/bin/x": "/path/" + pathOfName("p0-1.0.0-out"),
	} {
		r := get(t, h, "/search?q="+url.QueryEscape(q))
		if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != want {
			t.Errorf("search for %q: status %d to %q, want %q", q, r.StatusCode, r.Header.Get("Location"), want)
		}
	}
	p := parsed(t, h, "/search?q=pytho")
	p.has(t, "Packages", "python3", "Teams", "python3Packages.django-aa")
	parsed(t, h, "/search?q=zzzzz").has(t, "Nothing is called or described like that")
}

// What is almost called so is asked about and never gone to, and what is only described so says that it is.
func TestSearchSaysHowItFound(t *testing.T) {
	h := New(newFake(), Options{})
	p := parsed(t, h, "/search?q=ffmpge")
	p.has(t, "Did you mean")
	p = parsed(t, h, "/search?q=compression+library")
	p.has(t, "Packages that are described so")
	r := get(t, h, "/search.json?q=a")
	var out api.SearchPage
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil || len(out.Hits) != maxAnswers || !out.More || out.Hits[0].Match != store.MatchName {
		t.Errorf("%v, %+v", err, out)
	}
	parsed(t, h, "/search?q=a").has(t, "More words find fewer.")
}

func TestChannelPage(t *testing.T) {
	h := site(t, newFake())
	p := parsed(t, h, "/channel/nixos-unstable")
	p.has(t, "of 6", "outputs are reproduced", "Derivations are known up to evaluation 39", "Over time", "What got worse since the last evaluation", "Worst first")
	if svg := p.all("svg", "plot"); len(svg) != 1 || len(svg[0].all("title", "")) != 1 || len(svg[0].all("desc", "")) != 1 {
		t.Error("the channel has no plot with title and description")
	}
	if rows := p.all("tbody", "")[0].all("tr", ""); len(rows) != 24 {
		t.Errorf("the plot's table has %d rows, want 24", len(rows))
	}
	next := "/channel/nixos-unstable?after=40"
	if !p.links(next) {
		t.Fatal("no link to the next page")
	}
	second := parsed(t, h, next)
	if len(second.all("svg", "plot")) != 0 || !second.links("/channel/nixos-unstable") {
		t.Error("the second page plots again, or does not lead back")
	}
	differ := parsed(t, h, "/channel/nixos-unstable?state=differ")
	for _, tr := range differ.all("table", "")[2].all("tbody", "")[0].all("tr", "") {
		if !strings.Contains(tr.text(), "▲") && !strings.Contains(tr.text(), "differ") {
			t.Errorf("among those that differ: %s", tr.text())
		}
	}
	parsed(t, h, "/channel/empty").has(t, "No derivation of this channel is known yet", "No evaluation is known yet", "No package is in this state")
	parsed(t, h, "/channel/nixos-unstable/changes?seq=40&worse=0").has(t, "evaluation 40", "all changes", "1.0 →")
}

func TestPackagePageBeginsWithTheVerdict(t *testing.T) {
	h := site(t, newFake())
	for name, verdict := range map[string]string{
		"hello":   "agree hello 1.0.0 in nixos-unstable and nixos-26.05 is reproduced since 2026-11-20: 3 operators came to the same.",
		"gcc":     "differ Builders of gcc 4.3.1 in nixpkgs-unstable do not come to the same: out differs since 2026-11-17. Bern University built another content than 3 others.",
		"openssl": "copying openssl 1.5.0 in nixos-unstable and nixos-26.05 cannot come out the same twice, and yet two operators agree: one of them copied.",
	} {
		p := parsed(t, h, "/package/"+name)
		if got := p.all("p", "verdict")[0].text(); got != verdict {
			t.Errorf("%s: %q, want %q", name, got, verdict)
		}
	}
	p := parsed(t, h, "/package/openssl") // number 5: copying in two channels
	p.has(t, "one of them copied", "Alpine Rebuilds", "not counted", "its key is registered by nobody", "fix-build.patch", "cpe:2.3:a:gnu:hello", "History", "still",
		"[![reproducible](https://tracker.example/badge/nixos-unstable/openssl.svg)](https://tracker.example/package/openssl)", "the policy distribution")
	p = parsed(t, h, "/package/curl")
	for _, path := range []string{"/maintainer/alice", "/team/python", "/statement/" + hexOf("statement "+pathOfName("p6-2.6.0-out")+"0")} {
		if !p.links(path) {
			t.Errorf("no link to %s", path)
		}
	}
	differ := parsed(t, h, "/package/glibc") // number 4: differs
	if !differ.links("/statement/" + hexOf("statement diff")) {
		t.Error("no link to the diff of an output that differs")
	}
	parsed(t, h, "/package/"+plainNames[49]).has(t, "does not evaluate", "attribute 'foo' missing")
}

// A package that is not reproduced says until when what it was is.
func TestAVerdictSaysWhatWasReproducedBefore(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	now := api.Derivation{Channels: []string{"a", "b"}, Version: "2", Drv: "new.drv", State: api.Missing}
	is := func(channel string, d int) api.Version {
		return api.Version{Channel: channel, Version: "2", Drv: "new.drv", From: day(d), State: api.Missing}
	}
	was := func(channel, version string, s api.State) api.Version {
		return api.Version{Channel: channel, Version: version, Drv: "old.drv", From: day(1), ToSeq: 2, State: s}
	}
	reproduced := now
	reproduced.State = api.Agree
	for name, tt := range map[string]struct {
		d       api.Derivation
		history []api.Version
		want    string
	}{
		"an older version":                    {now, []api.Version{is("a", 9), was("a", "1", api.Agree)}, " What it was until 2026-11-09, 1, is reproduced."},
		"the same version, built differently": {now, []api.Version{is("a", 9), was("a", "2", api.Agree)}, " What it was until 2026-11-09 is reproduced."},
		"in another of its channels":          {now, []api.Version{is("b", 8), is("c", 9), was("c", "1", api.Differ), was("b", "1", api.Agree)}, " What it was until 2026-11-08, 1, is reproduced."},
		"not before either":                   {now, []api.Version{is("a", 9), was("a", "1", api.Differ), was("a", "0", api.Agree)}, ""},
		"in no channel of these":              {now, []api.Version{is("c", 9), was("c", "1", api.Agree)}, ""},
		"the first":                           {now, []api.Version{is("a", 9)}, ""},
		"reproduced itself":                   {reproduced, []api.Version{is("a", 9), was("a", "1", api.Agree)}, ""},
	} {
		if got := before(tt.d, tt.history); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// What is called exactly so opens at once. Who calls himself like a package is in nobody's way.
func TestWhatIsCalledExactlySoOpens(t *testing.T) {
	s := &server{urls: urls{}}
	hello, op := api.SearchHit{Kind: "attribute", Key: "hello"}, api.SearchHit{Kind: "operator", Key: hexOf("o"), Text: "hello"}
	closure := api.SearchHit{Kind: "closure", Key: hexOf("c"), Text: "hello"}
	for name, tt := range map[string]struct {
		text string
		hits []api.SearchHit
		want string
	}{
		"a package":                  {"hello", []api.SearchHit{hello, {Kind: "attribute", Key: "hello2"}}, s.urls.Package("hello")},
		"in two channels":            {"hello", []api.SearchHit{hello, hello}, s.urls.Package("hello")},
		"a package and a channel":    {"hello", []api.SearchHit{hello, {Kind: "channel", Key: "hello"}}, ""},
		"an operator":                {"hello", []api.SearchHit{op}, s.urls.Operator(op.Key)},
		"an operator and a closure":  {"hello", []api.SearchHit{op, closure}, ""},
		"an operator like a package": {"hello", []api.SearchHit{op, hello, closure}, s.urls.Package("hello")},
		"by its id":                  {op.Key, []api.SearchHit{op}, s.urls.Operator(op.Key)},
		"almost":                     {"hell", []api.SearchHit{op, hello}, ""},
	} {
		if got := s.exact(tt.text, tt.hits); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// A log's policy may name an auditor as a cosigner, too: it is no witness that is late.
func TestAnAuditorIsNoWitness(t *testing.T) {
	s := &server{o: Options{Now: func() time.Time { return now }}}
	one, auditor := store.CosignerView{Name: "w", Time: now}, store.CosignerView{Name: "auditor"}
	l := s.logOf(store.LogView{Size: 1, CheckpointTime: now, Witnesses: []store.CosignerView{one, auditor}, Auditors: []store.CosignerView{auditor}})
	if len(l.Witnesses) != 1 || len(l.Auditors) != 1 || strings.Contains(l.Verdict, "late") {
		t.Errorf("%+v", l)
	}
}

func TestPeoplePages(t *testing.T) {
	h := site(t, newFake())
	p := parsed(t, h, "/maintainer/dora")
	p.has(t, "Name of dora", "Packages, worst first", "75.5 %")
	first := p.all("table", "")
	if got := first[len(first)-1].all("tbody", "")[0].text(); !strings.Contains(got, "copying") {
		t.Errorf("the first package is not the worst: %s", got)
	}
	parsed(t, h, "/team/python?state=missing").has(t, "team", "missing")
	parsed(t, h, "/operators").has(t, "Bern University", "two histories", "12")
	id := hexOf("Cargo Cult Computing")
	p = parsed(t, h, "/operator/"+id)
	p.has(t, "one of them copied", "cannot come out the same twice", "revoked: rotated", "cache.example-1", "Recent statements", id)
	parsed(t, h, "/operator/"+hexOf("Elbe")).has(t, "Elbe agrees with others on 2,500 of the 2,550 outputs that somebody else built too, and differs on 50.")
	p = parsed(t, h, "/operator/"+hexOf("hostile"))
	for _, a := range p.all("a", "") {
		if strings.HasPrefix(attr(a.Node, "href"), "javascript") {
			t.Error("an operator's link runs a script")
		}
	}
}

func TestClosureStatementLogAndQueuePages(t *testing.T) {
	h := site(t, newFake())
	list := parsed(t, h, "/closures")
	if list.has(t, "nixos-minimal-26.05.iso", "86.7 %", "80.0 %", "unknown"); !list.links("/closure/" + hexOf("iso1")) {
		t.Error("the list does not lead to the closure before")
	}
	older := parsed(t, h, "/closure/"+hexOf("iso3"))
	if older.has(t, "has only a digest of the list", "Since then", "this one"); !older.links("/closure/"+hexOf("iso")) || !older.links("/closure/"+hexOf("iso1")) || len(older.all("svg", "plot")) != 1 {
		t.Error("an earlier closure does not lead to the others, or has no plot")
	}
	if p := parsed(t, h, "/closure/"+hexOf("hostile")); len(p.all("svg", "plot")) != 0 {
		t.Error("one closure is plotted")
	}
	parsed(t, h, "/closure/"+hexOf("iso")).has(t, "260 of 300 outputs are reproduced; 9 came out differently.", "known by a digest only")
	if !parsed(t, h, "/statement/"+hexOf("iso")).links("/closure/"+hexOf("iso")) || parsed(t, h, "/statement/"+hexOf("retracted closure")).links("/closure/"+hexOf("retracted closure")) {
		t.Error("the statement of a closure that counts, and of no other, leads to its page")
	}
	id := hexOf("statement 1")
	p := parsed(t, h, "/statement/"+id)
	p.has(t, "Bern University signed this", "this log is not followed", "firn log prove "+id+" --log https://log.example.org --log-policy log.policy --output",
		"firn log verify-proof", "firn verify /nix/store/"+pathOfName("hello-2.12.1"))
	if !p.links("https://log.example.org/v1/proof?id=" + id) {
		t.Error("no link to the proof in the log")
	}
	parsed(t, h, "/statement/"+hexOf("statement diff")).has(t, "bin/hello: content")
	parsed(t, h, "/logs").has(t, "witness.two.example", "26 hours ago", "9,120", "auditor.example", "does not extend", "Not replayed yet: 1,120.", "never", "frozen")
	parsed(t, h, "/queue").has(t, "ca-1.0.drv (out)", "work-from", "9,010")
	parsed(t, h, "/queue?channel=empty").has(t, "ca-1.0")
	parsed(t, h, "/about").has(t, "copying", "One of them did not build it", "distribution")
	parsed(t, h, "/path/"+pathOfName("p0-1.0.0-out")).has(t, "Who says what", "hello", "3 operators built the same")
}

func TestWithoutPolicyTheRuleIsSaid(t *testing.T) {
	f := newFake()
	f.policy = ""
	h := site(t, f)
	parsed(t, h, "/about").has(t, "No policy is configured", "At least two registered operators built it")
	parsed(t, h, "/package/hello").has(t, "this rule: two registered operators built it")
	parsed(t, h, "/").has(t, "two registered operators built the same")
}

func TestEmptyTracker(t *testing.T) {
	h := site(t, &fake{operators: []store.OperatorView{{}}})
	parsed(t, h, "/").has(t, "No channel has been evaluated yet", "No log is followed")
	for _, path := range []string{"/closures", "/logs", "/queue", "/operators", "/search?q=x", "/about"} {
		parsed(t, h, path)
	}
}

func TestWhatIsNotThereIsSaidHelpfully(t *testing.T) {
	h := site(t, newFake())
	for _, path := range []string{
		"/package/hell", "/channel/nixos", "/maintainer/nobody", "/team/nobody", "/path/x", "/statement/" + hexOf("nothing"), "/operator/" + hexOf("x"),
		"/closure/" + hexOf("x"), "/nothing", "/channel/nixos-unstable/x", "/queue?channel=nothing", "/assets/x/y.css", "/package/",
	} {
		r := get(t, h, path)
		text := body(t, r)
		if r.StatusCode != http.StatusNotFound || !strings.Contains(text, `action="/search"`) {
			t.Errorf("%s: status %d, want 404 with a search box", path, r.StatusCode)
		}
	}
	if text := body(t, get(t, h, "/package/hell")); !strings.Contains(text, `href="/package/hello"`) {
		t.Error("what is called almost so is not proposed")
	}
}

func TestErrorsAreSentencesWithoutDetails(t *testing.T) {
	f := newFake()
	f.err = errors.New("SELECT secret FROM nowhere: disk on fire")
	h := site(t, f)
	for _, path := range []string{"/", "/channel/nixos-unstable", "/package/hello", "/logs", "/search?q=x", "/operators", "/badge/nixos-unstable/hello.svg"} {
		r := get(t, h, path)
		if text := body(t, r); r.StatusCode != http.StatusInternalServerError || strings.Contains(text, "SELECT") {
			t.Errorf("%s: status %d: %s", path, r.StatusCode, clip(text, 300))
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/channel/x", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("POST is status %d", w.Code)
	}
}

package web

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/tracker/api"
)

var update = flag.Bool("update", false, "write testdata/*.json anew")

// Each page's JSON is interface (spec/tracker.md#pages-and-json).
func TestGoldenJSON(t *testing.T) {
	f := newFake()
	for i := range f.channels { // enough to see all fields
		f.channels[i].Counts.Errors = 2
	}
	h := site(t, f)
	for path, name := range pagesOfFake() {
		plain, q, _ := strings.Cut(path, "?")
		if plain == "/" {
			plain = "/index"
		}
		r := get(t, h, plain+".json?"+q)
		text := []byte(body(t, r))
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: status %d, %s", path, r.StatusCode, r.Header.Get("Content-Type"))
		}
		var head struct{ Schema int }
		if err := json.Unmarshal(text, &head); err != nil || head.Schema != api.Schema {
			t.Errorf("%s: schema %d, %v", path, head.Schema, err)
		}
		accepted := body(t, get(t, h, path, "Accept", "application/json"))
		if accepted != string(text) {
			t.Errorf("%s: by Accept it is another answer than by .json", path)
		}
		got := shorten(t, text)
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the JSON is not that of %s; see what changed with -update and git diff", path, file)
		}
	}
}

// shorten indents, and cuts every list to two.
func shorten(t *testing.T, text []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	var cut func(any) any
	cut = func(v any) any {
		switch v := v.(type) {
		case []any:
			v = v[:min(2, len(v))]
			for i := range v {
				v[i] = cut(v[i])
			}
			return v
		case map[string]any:
			for k := range v {
				v[k] = cut(v[k])
			}
			return v
		}
		return v
	}
	out, err := json.MarshalIndent(cut(v), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func TestNothingMayLoadButOurOwn(t *testing.T) {
	h := site(t, newFake())
	for path := range pagesOfFake() {
		r := get(t, h, path)
		if got := r.Header.Get("Content-Security-Policy"); got != csp || !strings.HasPrefix(got, "default-src 'none'; ") || strings.Contains(got, "unsafe") {
			t.Errorf("%s: policy %q", path, got)
		}
		for k, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := r.Header.Get(k); got != want {
				t.Errorf("%s: %s is %q", path, k, got)
			}
		}
		if text := body(t, r); strings.Contains(text, " style=") || strings.Contains(text, "<style") || strings.Contains(text, "\t") {
			t.Errorf("%s has a style of its own, which the policy forbids, or a tab", path)
		}
	}
	if got := get(t, h, "/nothing").Header.Get("Content-Security-Policy"); got != csp {
		t.Errorf("a page that is not there has the policy %q", got)
	}
}

func TestUnchangedPagesAreNotSentAgain(t *testing.T) {
	f := newFake()
	h := site(t, f)
	first := get(t, h, "/channel/nixos-unstable")
	tag := first.Header.Get("ETag")
	if tag == "" || first.Header.Get("Last-Modified") != f.channels[0].Time.Format(http.TimeFormat) || first.Header.Get("Vary") == "" {
		t.Errorf("tag %q, modified %q, vary %q", tag, first.Header.Get("Last-Modified"), first.Header.Get("Vary"))
	}
	if r := get(t, h, "/channel/nixos-unstable", "If-None-Match", tag, "Accept-Encoding", "gzip"); r.StatusCode != http.StatusNotModified || body(t, r) != "" {
		t.Errorf("status %d for what is known", r.StatusCode)
	}
	f.channels[0].Counts.Agree++
	if r := get(t, h, "/channel/nixos-unstable", "If-None-Match", tag); r.StatusCode != http.StatusOK {
		t.Errorf("status %d after a change", r.StatusCode)
	}
	asset := get(t, h, (urls{}).Asset("style.css"))
	if !strings.Contains(asset.Header.Get("Cache-Control"), "immutable") {
		t.Error("assets are not kept")
	}
	if r := get(t, h, "/assets/other/style.css"); strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
		t.Error("what has another version is kept for ever")
	}
	if r := get(t, h, "/", "Accept-Encoding", "gzip;q=0"); r.Header.Get("Content-Encoding") != "" {
		t.Error("compressed although refused")
	}
}

func TestAbsurdQueriesAreRefusedInOneSentence(t *testing.T) {
	h := site(t, newFake())
	for _, path := range []string{
		"/channel/nixos-unstable?state=broken", "/channel/nixos-unstable?stat=differ", "/channel/nixos-unstable?state=agree&state=differ", "/channel/nixos-unstable?order=best",
		"/channel/nixos-unstable?state=%zz", "/channel/nixos-unstable?a;b", "/channel/nixos-unstable?after=" + strings.Repeat("x", maxQuery+1), "/channel/nixos-unstable?after=%ff",
		"/channel/nixos-unstable/changes?seq=-1", "/channel/nixos-unstable/changes?seq=1e9", "/channel/nixos-unstable/changes?seq=99999999999999999999", "/channel/nixos-unstable/changes?seq=007",
		"/channel/nixos-unstable/changes?worse=yes", "/search?q=" + strings.Repeat("x", maxSearch+1), "/about?x=1", "/operator/xyz", "/operator/" + strings.ToUpper(hexOf("x")), "/statement/1",
		"/closure/" + hexOf("x")[1:], "/badge/nixos-unstable/hello.png", "/badge/nixos-unstable/hello.svg?x=1", "/about.atom", "/?utm_source=x",
	} {
		r := get(t, h, path)
		text := body(t, r)
		if r.StatusCode != http.StatusBadRequest || !strings.Contains(text, `class="verdict"`) {
			t.Errorf("%s: status %d", clip(path, 80), r.StatusCode)
		}
		if strings.Contains(path, ".atom") || strings.HasPrefix(path, "/badge") {
			continue
		}
		var p api.Problem
		if err := json.Unmarshal([]byte(body(t, get(t, h, path, "Accept", "application/json"))), &p); err != nil || p.Schema != 1 || !strings.HasSuffix(p.Error, ".") {
			t.Errorf("%s as JSON: %+v, %v", clip(path, 80), p, err)
		}
	}
}

func TestAtomFeedsAreValid(t *testing.T) {
	h := site(t, newFake())
	for path, least := range map[string]int{
		"/channel/nixos-unstable": 20, "/channel/nixos-unstable/changes": 10, "/package/gcc": 10, "/maintainer/alice": 50, "/team/python": 50,
		"/operator/" + hexOf("Elbe"): 12, "/logs": 3, "/package/" + segment("null\x00byte"): 5, "/channel/empty": 0,
	} {
		r := get(t, h, path+".atom")
		text := body(t, r)
		if r.Header.Get("Content-Type") != "application/atom+xml" {
			t.Errorf("%s: %s", path, r.Header.Get("Content-Type"))
		}
		checkFeed(t, path, text, least)
	}
}

// checkFeed is RFC 4287 §4: what a feed and each entry must have, once.
func checkFeed(t *testing.T, path, text string, least int) {
	t.Helper()
	type entry struct {
		Title   []string   `xml:"http://www.w3.org/2005/Atom title"`
		ID      []string   `xml:"http://www.w3.org/2005/Atom id"`
		Updated []string   `xml:"http://www.w3.org/2005/Atom updated"`
		Links   []atomLink `xml:"http://www.w3.org/2005/Atom link"`
		Author  []string   `xml:"http://www.w3.org/2005/Atom author>name"`
		Entries []entry    `xml:"http://www.w3.org/2005/Atom entry"`
	}
	var f struct {
		XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
		entry
	}
	if err := xml.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	seen := map[string]bool{}
	for i, e := range append([]entry{f.entry}, f.Entries...) {
		if len(e.Title) != 1 || len(e.ID) != 1 || len(e.Updated) != 1 || e.Title[0] == "" {
			t.Fatalf("%s: entry %d has %d titles, %d ids, %d dates", path, i, len(e.Title), len(e.ID), len(e.Updated))
		}
		if u, err := url.Parse(e.ID[0]); err != nil || !u.IsAbs() || seen[e.ID[0]] {
			t.Errorf("%s: entry %d has the id %q, which is relative or not its own", path, i, e.ID[0])
		}
		seen[e.ID[0]] = true
		if _, err := time.Parse(time.RFC3339, e.Updated[0]); err != nil {
			t.Errorf("%s: entry %d: %v", path, i, err)
		}
		if len(e.Links) == 0 || !strings.HasPrefix(e.Links[0].Href, "https://tracker.example/") {
			t.Errorf("%s: entry %d links to %v", path, i, e.Links)
		}
	}
	if len(f.Entries) < least {
		t.Errorf("%s has %d entries, want at least %d", path, len(f.Entries), least)
	}
	if len(f.Author) != 1 {
		t.Errorf("%s has %d authors", path, len(f.Author))
	}
}

func TestBadges(t *testing.T) {
	h := site(t, newFake())
	for path, want := range map[string]string{
		"/badge/nixos-unstable/hello.svg": "agree, 3 builders", "/badge/nixos-unstable/glibc.svg": "differ", "/badge/nixos-unstable/gcc.svg": "missing",
		"/badge/nixos-unstable/openssl.svg": "copying", "/badge/nowhere/hello.svg": "unknown", "/badge/nixos-unstable/not.svg": "unknown",
		"/badge/nixos-unstable/" + plainNames[49] + ".svg": "does not evaluate",
	} {
		r := get(t, h, path)
		text := body(t, r)
		if !strings.Contains(text, ">"+want+"</text>") || r.Header.Get("Content-Type") != "image/svg+xml" || (r.StatusCode == http.StatusNotFound) != (want == "unknown") {
			t.Errorf("%s: status %d: %s", path, r.StatusCode, text)
		}
		r.Body = http.NoBody
		checkXML(t, &http.Response{Body: httptest.NewRecorder().Result().Body})
	}
}

func TestPlotsAreWellFormed(t *testing.T) {
	points := func(counts ...api.Counts) []api.TrendPoint {
		var out []api.TrendPoint
		for i, c := range counts {
			out = append(out, api.TrendPoint{Counts: c, Time: now.AddDate(0, 0, i)})
		}
		return out
	}
	same := points(api.Counts{Agree: 1}, api.Counts{})
	same[1].Time = same[0].Time
	back := points(api.Counts{Agree: 1}, api.Counts{Differ: 5}, api.Counts{Agree: 2, Missing: 2})
	back[1].Time = now.AddDate(-5, 0, 0)
	for _, p := range [][]api.TrendPoint{points(api.Counts{Agree: 1}), points(api.Counts{}), same, back, points(api.Counts{Agree: 1, Missing: 2, Differ: 3, Copying: 4}, api.Counts{Agree: 9})} {
		v := plot(hostile, p)
		r := httptest.NewRecorder()
		r.WriteString(string(v.SVG))
		checkXML(t, r.Result())
		if strings.Contains(string(v.SVG), "NaN") || strings.Contains(string(v.SVG), "Inf") {
			t.Errorf("the plot has no place for a point: %s", v.SVG)
		}
	}
	if v := plot("x", nil); v.SVG != "" {
		t.Error("nothing is plotted of nothing")
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{"a\u202eb": `a\u202eb`, "a\x00b": `a\u0000b`, "line\nbreak": `line\u000abreak`, "\U000e0041": `\U000e0041`, "日本": "日本", "é": "é"} {
		if got := show(in); got != want {
			t.Errorf("show(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[float64]string{0: "0 %", 1: "100 %", 0.99999: "> 99.9 %", 0.00001: "< 0.1 %", 0.5: "50.0 %"} {
		if got := percent(in); got != want {
			t.Errorf("percent(%v) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"a-b_1.0": "a-b_1.0", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$(x)": "'$(x)'"} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"https://a.example/x": "https://a.example/x", "http://a.example": "http://a.example", "javascript:alert(1)": "", "data:text/html,x": "", "//a.example": "", "https://you@a.example": "", "https:": "", "\x00": ""} {
		if got := weblink(in); got != want {
			t.Errorf("weblink(%q) = %q, want %q", in, got, want)
		}
	}
	if got := visibleHTML("<p>a\u202eb</p>\n<p>\x1b</p>\n"); got != "<p>a\\u202eb</p>\n<p>\\u001b</p>\n" {
		t.Errorf("visibleHTML: %q", got)
	}
	if got := num(1234567) + num(-1234) + num(999) + num(-999); got != "1,234,567-1,234999-999" {
		t.Errorf("num: %s", got)
	}
	if got := list([]string{"a", "b", "c", "d"}, 2); got != "a, b and 2 more" {
		t.Errorf("list: %s", got)
	}
}

// Whatever is asked, there is an answer, and it is inert.
func FuzzAsk(f *testing.F) {
	for _, name := range hostileNames {
		if len(name) < 100 {
			f.Add("/package/"+segment(name), "state=differ")
		}
	}
	for path := range pagesOfFake() {
		plain, q, _ := strings.Cut(path, "?")
		f.Add(plain, q)
		f.Add(plain+".json", "after=100")
	}
	f.Add("/badge/a/b.svg", "")
	f.Add("//x/../y.json", "seq=1&worse=0")
	h := New(newFake(), Options{Now: func() time.Time { return now }})
	f.Fuzz(func(t *testing.T, path, query string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || u.IsAbs() || u.Host != "" || len(path) > 2000 {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "http://tracker.example/", nil)
		u.RawQuery = query
		r.URL = u
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200, 301, 303, 307, 400, 404:
		default:
			t.Fatalf("%s?%s: status %d", path, query, w.Code)
		}
		if q, err := parseQuery(query, []string{"state", "order", "after", "seq", "worse"}); err == nil {
			values := url.Values{}
			for k, v := range q {
				values.Set(k, v)
			}
			again, err := parseQuery(values.Encode(), []string{"state", "order", "after", "seq", "worse"})
			if err != nil || len(again) != len(q) {
				t.Fatalf("%q is read as %v, and written is %v: %v", query, q, again, err)
			}
		}
	})
}

// A name comes back from its permalink.
func FuzzPermalink(f *testing.F) {
	for _, name := range hostileNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || len(name) > 5000 {
			return
		}
		mux := http.NewServeMux()
		got, asked := "", false
		mux.HandleFunc("GET /package/{attr...}", func(_ http.ResponseWriter, r *http.Request) { got, asked = r.PathValue("attr"), true })
		u, err := url.ParseRequestURI((urls{}).Package(name))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = u
		stripFormat(mux).ServeHTTP(httptest.NewRecorder(), r)
		if !asked || got != name {
			t.Fatalf("%q has the link %s, which is for %q", name, u, got)
		}
	})
}

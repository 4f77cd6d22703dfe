package web

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/firn-log/firn/tracker/store"
)

// fill puts s into every text that a value holds, and something into all else.
func fill(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), s)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fill(v.Index(i), s)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, s)
		fill(value, s)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(now))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), s)
		}
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint64:
		v.SetUint(3)
	case reflect.Uint8:
		v.SetUint(uint64(store.Differ))
	case reflect.Bool:
		v.SetBool(true)
	}
}

func filled[T any](s string) T {
	var v T
	fill(reflect.ValueOf(&v).Elem(), s)
	return v
}

// hostileSource answers everything with one text in each field.
func hostileSource(s string) *fake {
	f := &fake{
		attrs: map[string]*store.AttributeView{}, outputs: map[string]*store.OutputView{}, owners: map[string][]store.AttributeRow{}, policy: s,
		channels: []store.ChannelView{filled[store.ChannelView](s)}, logs: filled[[]store.LogView](s), changes: filled[[]store.Change](s),
		rows: filled[[]store.AttributeRow](s), operators: filled[[]store.OperatorView](s), closures: filled[[]store.ClosureView](s),
	}
	f.attrs[s] = filled[*store.AttributeView](s)
	f.outputs[s] = filled[*store.OutputView](s)
	f.owners[s] = f.rows
	f.operators[0].ID, f.closures[0].ID = hexOf("x"), hexOf("x")
	maintainers = append(maintainers, s)
	return f
}

var hostilePaths = func(s string) []string {
	seg := segment(s)
	return []string{
		"/", "/search?q=a", "/search?q=" + url.QueryEscape("no "+clip(s, 100)), "/channel/" + seg, "/channel/" + seg + "/changes", "/package/" + seg, "/path/" + seg, "/maintainer/" + seg, "/operators", "/operator/" + hexOf("x"),
		"/closures", "/closure/" + hexOf("x"), "/statement/" + hexOf("x"), "/logs", "/queue", "/about", "/package/" + segment("not there "+s), "/queue?channel=" + url.QueryEscape(s),
	}
}

func TestHostileTextIsShownAndNeverObeyed(t *testing.T) {
	before := maintainers
	defer func() { maintainers = before }()
	for _, s := range append(slices.Clone(hostileNames), hostile, "]]><x>", "javascript:alert(1)", "\u2066a\u2069\u200e\U000e0041", "a\r\nSet-Cookie: x=y") {
		maintainers = before
		h := site(t, hostileSource(s))
		for _, path := range hostilePaths(s) {
			if len(path) > 9000 {
				continue // no client sends that
			}
			r := get(t, h, path)
			text := body(t, r)
			if r.StatusCode >= 500 {
				t.Fatalf("%q: %s is status %d", clip(s, 40), clip(path, 80), r.StatusCode)
			}
			for _, c := range text {
				if c != '\n' && hidden(c) || c == utf8.RuneError && !strings.Contains(s, "\xff") {
					t.Fatalf("%q: %s has %U", clip(s, 40), clip(path, 80), c)
				}
			}
			checkInert(t, path, text)
		}
	}
}

// checkInert fails if a page has anything that only a stranger could have put there.
func checkInert(t *testing.T, path, text string) {
	t.Helper()
	n, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	scripts := 0
	for d := range n.Descendants() {
		if d.Type != html.ElementNode {
			continue
		}
		if d.Data == "script" {
			scripts++
		}
		if d.Data == "x" || d.Data == "b" {
			t.Errorf("%s: a stranger's element <%s>", clip(path, 80), d.Data)
		}
		for _, a := range d.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(strings.TrimSpace(strings.ToLower(a.Val)), "javascript:") && a.Key == "href" {
				t.Errorf("%s: <%s %s=%q>", clip(path, 80), d.Data, a.Key, clip(a.Val, 80))
			}
		}
	}
	if scripts != 1 {
		t.Errorf("%s: %d scripts, want the one of our own", clip(path, 80), scripts)
	}
}

// crawlFrom follows all links of a site from its front page.
func crawlFrom(t *testing.T, h http.Handler, limit int) map[string]string {
	t.Helper()
	seen := map[string]string{}
	todo := []string{"/"}
	from := map[string]string{}
	for len(todo) > 0 && len(seen) < limit {
		at := todo[0]
		todo = todo[1:]
		if _, ok := seen[at]; ok {
			continue
		}
		r := get(t, h, at)
		text := body(t, r)
		seen[at] = r.Header.Get("Content-Type")
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s links to %s, which is status %d", clip(from[at], 200), clip(at, 200), r.StatusCode)
			continue
		}
		if !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
			continue
		}
		n, err := html.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		var anchors []string
		for d := range n.Descendants() {
			if d.Type != html.ElementNode {
				continue
			}
			ids[attr(d, "id")] = true
			for _, key := range []string{"href", "src", "action"} {
				link := attr(d, key)
				switch {
				case link == "" || strings.HasPrefix(link, "https://"):
				case strings.HasPrefix(link, "#"):
					anchors = append(anchors, link[1:])
				default:
					link, _, _ = strings.Cut(link, "#")
					if d.Data == "form" {
						link += "?q=hello"
						if r := get(t, h, link); r.StatusCode != http.StatusSeeOther {
							t.Errorf("the form of %s leads to status %d", at, r.StatusCode)
						}
						continue
					}
					todo = append(todo, link)
					from[link] = at
				}
			}
		}
		for _, a := range anchors {
			if !ids[a] {
				t.Errorf("%s links to its own #%s, which is not there", clip(at, 100), clip(a, 100))
			}
		}
	}
	return seen
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	seen := crawlFrom(t, site(t, newFake()), 1200)
	kinds := map[string]int{}
	for _, kind := range seen {
		kinds[kind]++
	}
	t.Logf("%d links: %v", len(seen), kinds)
	for _, want := range []string{"text/html; charset=utf-8", "application/json", "application/atom+xml", "image/svg+xml", "text/css; charset=utf-8", "text/javascript; charset=utf-8"} {
		if kinds[want] == 0 {
			t.Errorf("no link leads to %s", want)
		}
	}
}

// A name comes back from its own link, whatever it is.
func TestPermalinksOfHostileNames(t *testing.T) {
	f := newFake()
	h := site(t, f)
	for _, name := range hostileNames {
		if !utf8.ValidString(name) {
			continue // cannot be said in JSON
		}
		for _, form := range []string{".json", ""} {
			path := strings.TrimSuffix((urls{}).Package(name), ".html") + form
			if form == "" {
				path = (urls{}).Package(name)
			}
			r := get(t, h, path, "Accept", "application/json")
			var got struct{ Attr string }
			if err := json.NewDecoder(r.Body).Decode(&got); err != nil && form == ".json" {
				t.Fatalf("%s: %v", clip(path, 100), err)
			}
			if form == ".json" && got.Attr != name {
				t.Errorf("%s is the page of %q, want %q", clip(path, 100), clip(got.Attr, 100), clip(name, 100))
			}
			if r.StatusCode != http.StatusOK {
				t.Errorf("%s is status %d", clip(path, 100), r.StatusCode)
			}
		}
		badge := get(t, h, (urls{}).Badge("nixos-unstable", name))
		checkXML(t, badge)
		if badge.StatusCode != http.StatusOK {
			t.Errorf("the badge of %q is status %d", clip(name, 100), badge.StatusCode)
		}
	}
}

func checkXML(t testing.TB, r *http.Response) {
	t.Helper()
	d := xml.NewDecoder(r.Body)
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Errorf("not well-formed: %v", err)
			return
		}
	}
}

func TestPagesAreSmall(t *testing.T) {
	f := newFake()
	many := f.attrs["glibc"]
	for i := range many.Channels { // an operator that floods
		for o := range many.Channels[i].Outputs {
			out := &many.Channels[i].Outputs[o]
			for n := range 3000 {
				c := f.claim(out.Path+string(rune('a'+n%26)), n%7, true)
				c.By.Key, c.By.ID, c.Statement = hexOf("k"+string(rune(n+300))), "", hexOf("s"+string(rune(n+300)))
				out.Claims = append(out.Claims, c)
			}
		}
	}
	h := site(t, f)
	biggest := map[string]int{}
	for _, path := range append(slices.Collect(maps.Keys(pagesOfFake())), "/package/glibc", "/package/"+strings.Repeat("long", 2500)) {
		r := get(t, h, path, "Accept-Encoding", "gzip")
		n := len(body(t, r))
		if r.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s is not compressed", clip(path, 80))
		}
		if biggest[path] = n; n > 30<<10 {
			t.Errorf("%s has %d bytes compressed, want at most 30 KB", clip(path, 80), n)
		}
	}
	b, err := assetFS.ReadFile("assets/style.css")
	if err != nil || len(b) > 12<<10 {
		t.Errorf("the style has %d bytes, want at most 12 KB: %v", len(b), err)
	}
}

// pagesOfFake is one page of each kind, by path, with what it is called.
func pagesOfFake() map[string]string {
	return map[string]string{
		"/": "front", "/search?q=pytho": "search", "/channel/nixos-unstable": "channel", "/channel/nixos-unstable/changes": "changes", "/package/gcc": "package",
		"/path/" + pathOfName("p3-4.3.1-out"): "path", "/maintainer/alice": "maintainer", "/team/python": "team", "/operators": "operators",
		"/operator/" + hexOf("Cargo Cult Computing"): "operator", "/closures": "closures", "/closure/" + hexOf("iso"): "closure",
		"/statement/" + hexOf("statement 1"): "statement", "/logs": "logs", "/queue": "queue", "/about": "about",
	}
}

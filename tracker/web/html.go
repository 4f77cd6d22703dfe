package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/firn-log/firn/tracker/api"
)

//go:embed templates/*.html
var templateFS embed.FS

//go:embed assets
var assetFS embed.FS

// assetVersion names what the assets are, so that they may be kept for ever.
var assetVersion = func() string {
	h := sha256.New()
	for _, name := range []string{"style.css", "keys.js", "icon.svg"} {
		b, err := assetFS.ReadFile("assets/" + name)
		if err != nil {
			panic(err) // embedded
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}()

func (s *server) asset(w http.ResponseWriter, r *http.Request) {
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	name := r.PathValue("file")
	b, err := assetFS.ReadFile("assets/" + name)
	if err != nil {
		s.unknown(w, r)
		return
	}
	if r.PathValue("version") == assetVersion {
		w.Header().Set("Cache-Control", "max-age=31536000, immutable")
	}
	send(w, r, kinds[path.Ext(name)], 0, b)
}

// templates are the pages by name, each with the layout around it.
type templates map[string]*template.Template

// view is what the layout shows.
type view struct {
	Title, Site string
	Data        any
	Query       query
	Now         time.Time
	Self        string // path of the page without its format
	JSON, Atom  string // links; Atom is "" if there is none
	Section     string // first segment of the path
	Suggest     []api.SearchHit
	Base        string // what absolute links begin with
	front       bool
}

func (v view) Front() bool { return v.front }

// With is a link to this page with some parameters set, or taken away if they
// are "". Where the list begins anew, after is taken away too.
func (v view) With(pairs ...string) string {
	values := url.Values{}
	for k, x := range v.Query {
		values.Set(k, x)
	}
	values.Del("after")
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Del(pairs[i])
		if pairs[i+1] != "" {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	self := v.Self
	if hasFormat(self) != "" {
		self += ".html"
	}
	if len(values) == 0 {
		return self
	}
	return self + "?" + values.Encode()
}

func parseTemplates(s *server) templates {
	funcs := template.FuncMap{
		"anchor": anchor, "u": func() urls { return s.urls }, "show": show, "prose": prose, "short": short, "num": num, "size": size, "percent": percent,
		"day": day, "utc": utc, "iso": iso, "opname": operatorName, "bar": bar, "plot": plot, "closureplot": closurePlot, "entry": entryOf, "word": stateWord, "changed": changeWords,
		"weblink": weblink, "decides": decides, "ago": func(t time.Time) string { return ago(s.o.Now(), t) }, "matrix": matrix,
		"groups": groups, "named": named, "whatDiffers": whatDiffers, "hashPart": hashPart, "namePart": namePart, "share": func(c api.Counts) float64 { return c.Share(api.Agree) }, "delta": delta, "few": few, "hash": shortHash, "plural": plural,
		"late":   func(t time.Time) bool { return s.o.Now().Sub(t) > freshCheckpoint },
		"states": func() []api.State { return []api.State{api.Differ, api.Copying, api.Missing, api.Agree} },
	}
	layout := template.Must(template.New("layout.html").Funcs(funcs).ParseFS(templateFS, "templates/layout.html", "templates/parts.html"))
	out := make(templates)
	names, err := fs.Glob(templateFS, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is right
	}
	for _, name := range names {
		page := strings.TrimSuffix(path.Base(name), ".html")
		if page != "layout" && page != "parts" {
			out[page] = template.Must(template.Must(layout.Clone()).ParseFS(templateFS, name))
		}
	}
	return out
}

// html renders a page. What html/template lets through and shows nothing, or
// turns text around, is written as an escape at the end, wherever it came from.
func (s *server) html(r *http.Request, p *page) ([]byte, error) {
	q, err := parseQuery(r.URL.RawQuery, []string{"state", "order", "after", "seq", "worse", "channel", "q"})
	if err != nil {
		q = query{} // the page says so
	}
	self := s.urls.prefix + r.URL.EscapedPath()
	v := view{Title: p.title, Site: s.o.Title, Data: p.data, Query: q, Now: s.o.Now(), Self: self, Suggest: p.suggest, Base: s.base(r), front: p.template == "front"}
	v.Section, _, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if p.problem == 0 {
		if v.front {
			self = s.urls.prefix + "/index"
		}
		v.JSON = self + ".json"
		if r.URL.RawQuery != "" {
			v.JSON += "?" + r.URL.RawQuery
		}
		if p.feed != nil {
			v.Atom = self + ".atom"
		}
	}
	t := s.pages[p.template]
	if t == nil {
		return nil, fmt.Errorf("no template for %s", p.template)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", p.template, err)
	}
	return []byte(visibleHTML(b.String())), nil
}

// visibleHTML is visible, except for the line ends and tabs of the templates.
func visibleHTML(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && hidden(r) }) {
		return s
	}
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

// csp lets a page load its own style, icon, badges and shortcuts, and nothing else.
const csp = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// A page is what a handler answers: one value, shown in the form asked for.
type page struct {
	template string
	title    string
	data     any             // of package api
	modified time.Time       // newest time that it knows of; zero if none
	feed     func(*feed)     // adds entries; nil if it has no Atom form
	problem  int             // status if it is not 200
	redirect string          // where the answer is instead
	suggest  []api.SearchHit // on a page that says that there is none
}

type pageFunc func(r *http.Request, q query) (*page, error)

type formatKey struct{}

// stripFormat takes the format off the path: /channel/x.json is /channel/x as JSON.
func stripFormat(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw := r.URL.EscapedPath()
		f := hasFormat(raw)
		if f == "" || strings.HasPrefix(raw, "/badge/") || strings.HasPrefix(raw, "/assets/") {
			next.ServeHTTP(w, r)
			return
		}
		raw = strings.TrimSuffix(raw, f)
		path, err := url.PathUnescape(raw)
		if err != nil {
			next.ServeHTTP(w, r)
			return
		}
		// What is only dots is written so that nobody takes it for a folder.
		if cut := strings.LastIndexByte(raw, '/') + 1; raw[cut:] == "." || raw[cut:] == ".." {
			raw = raw[:cut] + strings.ReplaceAll(raw[cut:], ".", "%2E")
		}
		r = r.WithContext(context.WithValue(r.Context(), formatKey{}, f))
		u := *r.URL
		u.Path, u.RawPath = path, raw
		r.URL = &u
		next.ServeHTTP(w, r)
	})
}

// format is .html, .json or .atom: by the path, else by the Accept header.
func format(r *http.Request) string {
	if f, ok := r.Context().Value(formatKey{}).(string); ok {
		return f
	}
	accept := r.Header.Get("Accept")
	switch {
	case strings.Contains(accept, "text/html"):
	case strings.Contains(accept, "application/json"):
		return ".json"
	case strings.Contains(accept, "application/atom+xml"):
		return ".atom"
	}
	return ".html"
}

// pageTimeout is how long a page may take.
const pageTimeout = 10 * time.Second

func (s *server) secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// page makes a handler of h, for the parameters that it knows.
func (s *server) page(h pageFunc, params []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := parseQuery(r.URL.RawQuery, params)
		var p *page
		if err == nil {
			p, err = h(r, q)
		}
		if err != nil {
			p = s.problem(r, err)
		}
		s.show(w, r, p)
	})
}

// problem is the page for an error: the one place where errors become statuses.
func (s *server) problem(r *http.Request, err error) *page {
	status, sentence := http.StatusInternalServerError, "The tracker could not read what this page shows. Its own log says why; try again later."
	var bad badRequest
	switch {
	case errors.As(err, &bad):
		status, sentence = http.StatusBadRequest, bad.Error()
	case errors.Is(err, store.ErrNotFound):
		status, sentence = http.StatusNotFound, "The tracker knows nothing of that name. It shows what the logs that it follows and the channels that it evaluates hold; something newer may not be there yet."
	case errors.Is(r.Context().Err(), context.Canceled):
		status, sentence = 499, "The request was cancelled."
	case errors.Is(err, context.DeadlineExceeded), errors.Is(r.Context().Err(), context.DeadlineExceeded):
		status, sentence = http.StatusServiceUnavailable, "The tracker took too long to answer. Try again later."
	case errors.Is(err, store.ErrUnavailable):
		status, sentence = http.StatusServiceUnavailable, "The tracker's database does not answer, so there is nothing to show. It goes on by itself when that is back; try again later."
	}
	if status >= 500 {
		s.o.Log.Error("page not served", "path", r.URL.EscapedPath(), "error", err)
	}
	p := &page{template: "problem", title: http.StatusText(status), problem: status, data: api.Problem{Schema: api.Schema, Error: sentence}}
	if status == http.StatusNotFound {
		if q := lastName(r); q != "" {
			hits, err := s.src.Search(r.Context(), q, 8)
			if err == nil {
				p.suggest = hitsOf(hits)
			}
		}
	}
	return p
}

// lastName is the name that a path ends with, to search for it.
func lastName(r *http.Request) string {
	path := strings.TrimSuffix(r.URL.EscapedPath(), "/")
	name, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil || len(name) > maxSearch {
		return ""
	}
	return strings.ToValidUTF8(name, "")
}

func (s *server) unknown(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		s.show(w, r, &page{template: "problem", title: "Method not allowed", problem: http.StatusMethodNotAllowed, data: api.Problem{Schema: api.Schema, Error: "Pages of the tracker can only be read."}})
		return
	}
	s.show(w, r, s.problem(r, store.ErrNotFound))
}

// show writes a page in the form asked for.
func (s *server) show(w http.ResponseWriter, r *http.Request, p *page) {
	if p.redirect != "" {
		http.Redirect(w, r, p.redirect, http.StatusSeeOther)
		return
	}
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	w.Header().Set("Cache-Control", "no-cache")
	if !p.modified.IsZero() {
		w.Header().Set("Last-Modified", p.modified.UTC().Format(http.TimeFormat))
	}
	var body []byte
	var err error
	var kind string
	switch f := format(r); {
	case f == ".json":
		kind = "application/json"
		w.Header().Set("Access-Control-Allow-Origin", "*")
		body, err = json.Marshal(p.data)
		body = append(body, '\n')
	case f == ".atom" && p.feed != nil:
		kind = "application/atom+xml"
		body, err = s.atom(r, p)
	case f == ".atom" && p.problem == 0:
		s.show(w, r, s.problem(r, badRequest("This page has no Atom form: what it shows has no order in time.")))
		return
	default:
		kind = "text/html; charset=utf-8"
		body, err = s.html(r, p)
	}
	if err != nil {
		s.o.Log.Error("page not written", "path", r.URL.EscapedPath(), "error", err)
		http.Error(w, "The page could not be written.", http.StatusInternalServerError)
		return
	}
	send(w, r, kind, p.problem, body)
}

var gzips = sync.Pool{New: func() any { w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return w }}

// send writes body with its entity tag, compressed if that is wanted; status 0 is 200.
func send(w http.ResponseWriter, r *http.Request, kind string, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	if status == 0 {
		status = http.StatusOK
		sum := sha256.Sum256(body)
		tag := `W/"` + hex.EncodeToString(sum[:12]) + `"`
		h.Set("ETag", tag)
		if strings.Contains(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if len(body) > 1000 && acceptsGzip(r) {
		var b bytes.Buffer
		z := gzips.Get().(*gzip.Writer)
		z.Reset(&b)
		_, err := z.Write(body)
		if err = errors.Join(err, z.Close()); err == nil { // a buffer does not fail
			body = b.Bytes()
			h.Set("Content-Encoding", "gzip")
		}
		gzips.Put(z)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // nobody is there to be told
	}
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.ReplaceAll(q, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

// base is what absolute links begin with.
func (s *server) base(r *http.Request) string {
	if s.o.BaseURL != "" {
		return strings.TrimSuffix(s.o.BaseURL, s.urls.prefix)
	}
	u := url.URL{Scheme: "http", Host: r.Host}
	return u.String()
}

func (s *server) atom(r *http.Request, p *page) ([]byte, error) {
	self := s.base(r) + s.urls.prefix + r.URL.EscapedPath()
	f := &feed{base: s.base(r), seen: make(map[string]bool), Author: &atomAuthor{Name: visible(s.o.Title)}, Title: visible(p.title + " · " + s.o.Title), ID: self, Links: []atomLink{
		{Rel: "self", Type: "application/atom+xml", Href: self + ".atom"}, {Rel: "alternate", Type: "text/html", Href: self},
	}}
	p.feed(f)
	f.Updated = atomTime(p.modified)
	for _, e := range f.Entries {
		f.Updated = max(f.Updated, e.Updated)
	}
	b, err := xml.Marshal(f)
	return append([]byte(xml.Header), b...), err
}

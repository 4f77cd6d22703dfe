package web

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Options say how pages look and what time it is.
type Options struct {
	Title   string           // name of this tracker, on every page; "" is "firn tracker"
	BaseURL string           // where the pages are; "" is the host that was asked, over http
	Now     func() time.Time // nil is time.Now
	Log     *slog.Logger     // what could not be served and why; nil is slog.Default()
}

type server struct {
	src   Source
	o     Options
	urls  urls
	pages templates

	policy atomic.Pointer[policyMemo]
}

// New returns the handler of all pages. It may be used concurrently. If BaseURL
// has a path, whoever mounts the handler strips it (http.StripPrefix).
func New(src Source, o Options) http.Handler {
	o.Title = cmp.Or(o.Title, "firn tracker")
	o.BaseURL = strings.TrimSuffix(o.BaseURL, "/")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &server{src: src, o: o}
	if u, err := url.Parse(o.BaseURL); err == nil {
		s.urls.prefix = u.EscapedPath()
	}
	s.pages = parseTemplates(s)
	mux := http.NewServeMux()
	get := func(pattern string, h pageFunc, params ...string) {
		mux.Handle("GET "+pattern, s.page(h, params))
	}
	get("/{$}", s.front)
	get("/index", s.front)
	get("/search", s.search, "q")
	get("/channel/{name}", s.channel, "state", "order", "after")
	get("/channel/{name}/changes", s.changes, "seq", "worse", "after")
	get("/package/{attr...}", s.attribute)
	get("/path/{path}", s.output)
	get("/maintainer/{login}", s.maintainer, "state", "after")
	get("/team/{login}", s.team, "state", "after")
	get("/operators", s.operators, "after")
	get("/operator/{id}", s.operator, "state", "after")
	get("/closures", s.closures, "after")
	get("/closure/{id}", s.closure, "state", "after")
	get("/statement/{id}", s.statement)
	get("/logs", s.logs)
	get("/queue", s.queue, "channel", "after")
	get("/about", s.about)
	mux.HandleFunc("GET /badge/{channel}/{file}", s.badge)
	mux.HandleFunc("GET /assets/{version}/{file}", s.asset)
	mux.HandleFunc("/", s.unknown)
	return s.secure(stripFormat(mux))
}

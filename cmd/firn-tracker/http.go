package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/firn-log/firn/tracker/web"
)

// handler serves the pages, /metrics, /healthz and /readyz.
func (t *tracker) handler() http.Handler {
	var pages http.Handler = web.New(t.db, web.Options{Title: t.Title, BaseURL: t.BaseURL, Log: t.log})
	if u, err := url.Parse(t.BaseURL); err == nil && strings.TrimSuffix(u.Path, "/") != "" {
		pages = http.StripPrefix(strings.TrimSuffix(u.Path, "/"), pages)
	}
	m := t.metrics()
	mux := http.NewServeMux()
	mux.Handle("/", m.count(pages))
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", t.healthz)
	mux.HandleFunc("GET /readyz", t.readyz)
	return mux
}

// healthz is 200 while the database answers.
func (t *tracker) healthz(w http.ResponseWriter, r *http.Request) {
	if _, _, err := t.db.Progress(r.Context(), t.logs[0].Origin); err != nil {
		t.log.Error("the database does not answer", "error", err)
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// readyz is 200 if all that the logs have shown is in the database. A log that is down
// makes nothing older than it is.
func (t *tracker) readyz(w http.ResponseWriter, _ *http.Request) {
	for _, s := range t.follower.Status() {
		if s.Checked.IsZero() && s.Error == "" || s.Replayed < s.Size {
			http.Error(w, fmt.Sprintf("%s: %d of %d entries are replayed", s.Origin, s.Replayed, s.Size), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/firn-log/firn/tracker/follow"
	"github.com/firn-log/firn/tracker/store"
	"github.com/firn-log/firn/tracker/web"
)

// handler serves the pages, /metrics, /healthz and /readyz.
func (t *tracker) handler() http.Handler {
	var pages http.Handler = web.New(source{t.db, t.follower}, web.Options{Title: t.Title, BaseURL: t.BaseURL, Log: t.log})
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

// source is the database, with what it could not be told of the logs because it takes nothing.
type source struct {
	*store.DB
	follower *follow.Follower
}

// Overview is that of [store.DB].
func (s source) Overview(ctx context.Context) (*store.Overview, error) {
	o, err := s.DB.Overview(ctx)
	if err == nil {
		s.now(o.Logs)
	}
	return o, err
}

// Logs is that of [store.DB].
func (s source) Logs(ctx context.Context) ([]store.LogView, error) {
	logs, err := s.DB.Logs(ctx)
	s.now(logs)
	return logs, err
}

func (s source) now(logs []store.LogView) {
	for _, l := range s.follower.Status() {
		for i := range logs {
			if logs[i].Origin == l.Origin && l.Error != "" {
				logs[i].Error = l.Error
			}
		}
	}
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

package web

import (
	"log/slog"
	"net/http"
	"time"
)

// Options say how pages look and what time it is.
type Options struct {
	Title   string           // name of this tracker, on every page; "" is "firn tracker"
	BaseURL string           // what links in feeds and badge snippets begin with; "" is the host that was asked
	Now     func() time.Time // nil is time.Now
	Log     *slog.Logger     // what could not be served and why; nil is slog.Default()
}

// New returns the handler of all pages. It may be used concurrently.
func New(src Source, o Options) http.Handler {
	if o.Title == "" {
		o.Title = "firn tracker"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return http.NotFoundHandler()
}

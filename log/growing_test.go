package log_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/firn-log/firn/log/logtest"
)

// growing is a log that gets one more leaf after every lookup.
type growing struct {
	l    *logtest.Log
	leaf func() []byte
}

func (g *growing) serve(t *testing.T) string {
	h := g.l.Handler()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if r.URL.Path == "/v1/lookup" {
			g.l.Add(g.leaf())
			g.l.Publish()
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

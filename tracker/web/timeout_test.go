package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/firn-log/firn/tracker/store"
)

// silent is a database that does not answer.
type silent struct{ *fake }

func (silent) Overview(ctx context.Context) (*store.Overview, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestADatabaseThatDoesNotAnswerIsSaidToBeSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		New(silent{newFake()}, Options{Log: slog.New(slog.DiscardHandler)}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/index.json", nil))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
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

// away is a database that is down.
type away struct{ *fake }

func (away) Overview(context.Context) (*store.Overview, error) {
	return nil, fmt.Errorf("%w: connection refused", store.ErrUnavailable)
}

func TestADatabaseThatIsDownIsSaid(t *testing.T) {
	w := httptest.NewRecorder()
	New(away{newFake()}, Options{Log: slog.New(slog.DiscardHandler)}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/index.json", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "database does not answer") || strings.Contains(w.Body.String(), "refused") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
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

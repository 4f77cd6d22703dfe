package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// from answers a request as if it came from an address.
func (l *testLog) from(address, path, contentType string, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	l.Handler().ServeHTTP(w, requestFrom(address, path, contentType, body))
	return w
}

func requestFrom(address, path, contentType string, body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, body)
	r.RemoteAddr = address
	r.Header.Set("Content-Type", contentType)
	return r
}

// A body that never comes holds a place, and not everybody's.
func TestSlowSubmissionsOfOneAddressLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Limits.RequestsAtOnce = 2 * shareOfOne })
	var wg sync.WaitGroup
	var slow []*io.PipeWriter
	for range 2 {
		r, w := io.Pipe()
		slow = append(slow, w)
		wg.Go(func() { l.from("192.0.2.1:1", "/v1/statements", leavesType, r) })
		w.Write([]byte{0}) // it is being read
	}
	leaf := frame([][]byte{{1}})
	w := l.from("192.0.2.1:2", "/v1/statements", leavesType, bytes.NewReader(leaf))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "of this address") || w.Header().Get("Retry-After") == "" {
		t.Errorf("a third of one address: %d %s", w.Code, w.Body)
	}
	if w := l.from("192.0.2.2:1", "/v1/statements", leavesType, bytes.NewReader(leaf)); w.Code != http.StatusOK {
		t.Errorf("another address: %d %s", w.Code, w.Body)
	}
	if w := l.from("127.0.0.1:1", "/v1/statements", leavesType, bytes.NewReader(leaf)); w.Code != http.StatusOK {
		t.Errorf("this machine: %d %s", w.Code, w.Body)
	}
	for _, w := range slow {
		w.Close()
	}
	wg.Wait()
	if w := l.from("192.0.2.1:2", "/v1/statements", leavesType, bytes.NewReader(leaf)); w.Code != http.StatusOK {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
	if n := len(l.shares.working.held) + len(l.shares.bodies.held); n != 0 {
		t.Errorf("%d shares are remembered of nobody", n)
	}
}

// slowReader takes no byte of an answer until it is told to.
type slowReader struct {
	*httptest.ResponseRecorder
	writing chan<- struct{}
	read    <-chan struct{}
}

func (w slowReader) Write(b []byte) (int, error) {
	w.writing <- struct{}{}
	<-w.read
	return w.ResponseRecorder.Write(b)
}

// Answers that one address does not read hold places, and not everybody's.
func TestSlowLookupsOfOneAddressLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	const body = `{"keys":[{"key":"key:x"}]}`
	writing, read := make(chan struct{}, lookupsAtOnce), make(chan struct{})
	var wg sync.WaitGroup
	for range lookupsAtOnce {
		wg.Go(func() {
			l.Handler().ServeHTTP(slowReader{httptest.NewRecorder(), writing, read}, requestFrom("192.0.2.1:1", "/v1/lookup", "application/json", strings.NewReader(body)))
		})
	}
	for range lookupsAtOnce / shareOfOne {
		<-writing
	}
	if w := l.from("192.0.2.2:1", "/v1/lookup", "application/json", strings.NewReader(body)); w.Code != http.StatusOK {
		t.Errorf("another address: %d %s", w.Code, w.Body)
	}
	if n := len(l.looking); n > lookupsAtOnce/shareOfOne {
		t.Errorf("one address holds %d of %d places", n, lookupsAtOnce)
	}
	close(read)
	wg.Wait()
}

func TestWaitingForAShareEnds(t *testing.T) {
	t.Parallel()
	s := newShares(1, newLimits(LimitsConfig{}, nil).sender)
	r := requestFrom("192.0.2.1:1", "/", "", nil)
	release, err := s.take(t.Context(), r, 5) // a whole share
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.take(ctx, r, 1); err == nil {
		t.Error("more than a share")
	}
	release()
	if len(s.held) != 0 {
		t.Errorf("%d shares are remembered of nobody", len(s.held))
	}
}

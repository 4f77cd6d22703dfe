package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// A stop during submissions answers or refuses each of them, publishes what it
// acknowledged, and leaves a log that knows it.
func TestStopAnswersWhatItTook(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	ctx, cancel := context.WithCancel(t.Context())
	ln := want(net.Listen("tcp", "127.0.0.1:0"))(t)
	stopped := make(chan error, 1)
	s := l.Server
	go func() { stopped <- s.Serve(ctx, ln) }()
	var mu sync.Mutex
	acked := make(map[string]uint64) // id → index
	first := make(chan struct{})
	var once sync.Once
	var senders sync.WaitGroup
	for n := range 8 {
		senders.Go(func() {
			for i := 0; ; i += 3 {
				from := 100_000*n + i
				resp, err := http.Post("http://"+ln.Addr().String()+"/v1/statements?wait=0s", leavesType, bytes.NewReader(frame(o.Builds(from, from+3))))
				if err != nil {
					return // the listener is closed
				}
				a := new(submitAnswer)
				err = json.NewDecoder(resp.Body).Decode(a)
				resp.Body.Close()
				if err != nil || resp.StatusCode/100 != 2 {
					return
				}
				mu.Lock()
				for _, r := range a.Results {
					acked[r.ID] = *r.Index
				}
				mu.Unlock()
				once.Do(func() { close(first) })
			}
		})
	}
	<-first
	cancel()
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}
	senders.Wait()
	if got, size := s.publisher.latest().head.Size, s.db.State().Size; got != size {
		t.Errorf("published %d of %d when it stopped", got, size)
	}
	l.http.Close()
	l.open()
	for id, index := range acked {
		status, _, body := l.get("/v1/proof?id=" + id)
		if status != http.StatusOK || !strings.Contains(string(body), "\nindex ") {
			t.Fatalf("acknowledged at %d: status %d, %s", index, status, body)
		}
	}
	t.Logf("%d acknowledged, all there", len(acked))
}

func TestAfterCloseNothingIsTaken(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	o := l.operator("alice")
	b := o.Builds(0, 1)
	l.seq.close(errStopping)
	status, _, body := l.postRaw("", b...)
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `"stopping"`) {
		t.Errorf("status %d: %s", status, body)
	}
}

package federation_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
)

// A log whose tiles never come delays whoever offers its checkpoints, and so asks
// for those of other logs too, a bounded time: what was not compared waits.
func TestTilesThatHangDelayAnOfferABoundedTime(t *testing.T) {
	l := logtest.New(t)
	var notes [][]byte
	for i := range 30 {
		notes = append(notes, grow(l, i*10, i*10+10, "leaf"))
	}
	synctest.Test(t, func(t *testing.T) {
		const most = 2*2*federation.DefaultTimeout + time.Second
		hub, err := federation.NewHub(federation.Options{
			Evidence: evidence.NewStore(""),
			Logs:     []federation.Log{{Policy: l.Policy(), Origin: l.Origin(), URLs: []string{"http://a", "http://b", "http://c", "http://d", "http://e", "http://f"}}},
			HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		offer := func(note []byte, want federation.Outcome) {
			t.Helper()
			start := time.Now()
			out, err := hub.Offer(t.Context(), note, "test")
			if out != want || want == federation.Unproven && !errors.Is(err, log.ErrUnproven) {
				t.Errorf("%v, %v", out, err)
			}
			if d := time.Since(start); d > most {
				t.Errorf("it took %v", d)
			}
		}
		offer(notes[0], federation.Larger)
		for _, note := range notes[1:20] {
			offer(note, federation.Unproven)
		}
		// Also while those that wait are compared again.
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ctx.Err() == nil {
				_ = hub.Retry(ctx)
			}
		}()
		synctest.Wait()
		for _, note := range notes[20:] {
			offer(note, federation.Unproven)
		}
		cancel()
		<-ended
	})
}

// Evidence comes while tiles are read: then the checkpoint is not believed.
func TestWhatIsComparedWhileALogIsConvictedIsNotBelieved(t *testing.T) {
	a, b := fork(t, 10, logtest.Witnesses(1, 1))
	convict := newPeer(t, a.Policy())
	convict.wants(federation.Larger, grow(a, 10, 20, "a"))
	convict.wants(federation.Forked, grow(b, 10, 20, "b"))
	all, err := convict.Evidence()
	if err != nil || len(all) == 0 {
		t.Fatal(len(all), err)
	}
	var p *peer
	files := http.FileServer(http.Dir(a.Dir()))
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		for _, e := range all {
			_, _ = p.AddEvidence(e.Bytes, "test")
		}
		files.ServeHTTP(w, r)
	})
	p = newPeer(t, a.Policy(), url)
	twenty := a.Publish()
	p.wants(federation.Larger, twenty)
	if out, err := p.offer(grow(a, 20, 30, "a")); out != federation.Refused || !errors.Is(err, federation.ErrConvicted) {
		t.Errorf("%v, %v", out, err)
	}
	if got := p.size(p.Latest(a.Origin())); got != 20 {
		t.Errorf("the largest has size %d", got)
	}
}

// Replays of what a convicted log signed cost nothing.
func TestReplaysOfAConvictedLogAreNotComparedAgain(t *testing.T) {
	a, b := fork(t, 10, logtest.Witnesses(2, 2))
	var asked atomic.Int32
	files := http.FileServer(http.Dir(b.Dir()))
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		files.ServeHTTP(w, r)
	})
	p := newPeer(t, a.Policy(), url)
	p.wants(federation.Larger, only(t, grow(a, 10, 20, "a"), "w1"))
	p.wants(federation.Forked, only(t, grow(b, 10, 20, "b")))
	note := only(t, grow(b, 20, 40, "b"), "w1")
	for i := range 5 {
		if _, err := p.offer(note); !errors.Is(err, federation.ErrConvicted) {
			t.Error(err)
		}
		if i == 0 {
			p.holds("log log.example/0123abcd", "witness witness.example/w1")
			asked.Store(0)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("%d tiles were asked for", n)
	}
}

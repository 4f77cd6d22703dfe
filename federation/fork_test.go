package federation_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
)

func TestForkIsEvidence(t *testing.T) {
	for what, f := range map[string]func(p *peer, a, b *logtest.Log){
		"same size": func(p *peer, a, b *logtest.Log) {
			p.wants(federation.Larger, grow(a, 100, 300, "a"))
			p.wants(federation.Forked, grow(b, 100, 300, "b"))
		},
		"larger": func(p *peer, a, b *logtest.Log) {
			p.wants(federation.Larger, grow(a, 100, 300, "a"))
			p.wants(federation.Forked, grow(b, 100, 700, "b"))
		},
		"smaller": func(p *peer, a, b *logtest.Log) {
			p.wants(federation.Larger, grow(a, 100, 700, "a"))
			p.wants(federation.Forked, grow(b, 100, 101, "b"))
		},
	} {
		a, b := fork(t, 100, logtest.Witnesses(2, 1))
		p := newPeer(t, a.Policy(), a.URL(), b.URL())
		p.wants(federation.Larger, only(t, a.Publish()))
		f(p, a, b)
		p.holds("log log.example/0123abcd", "witness witness.example/w1", "witness witness.example/w2")
		if !p.Convicted(a.Origin()) || p.counted("firn_peer_evidence_total") != 3 {
			t.Errorf("%s: convicted %v, counted %v", what, p.Convicted(a.Origin()), p.counted("firn_peer_evidence_total"))
		}
		// The file convicts offline, and the log stays convicted.
		all, err := p.Evidence()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			e, err := evidence.Parse(x.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Verify(a.Policy()); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		p.restart()
		if _, err := p.offer(grow(a, 700, 900, "a")); !errors.Is(err, federation.ErrConvicted) {
			t.Errorf("%s: error %v after a restart, want ErrConvicted", what, err)
		}
		if p.Best(a.Origin()) != nil {
			t.Errorf("%s: witnesses that are convicted make a quorum", what)
		}
	}
}

// The tiles of the other view are nowhere, but the view that is known grows past
// its size.
func TestUnprovenForkIsConvictedByTheTreeThatGrows(t *testing.T) {
	a, b := fork(t, 10)
	p := newPeer(t, a.Policy(), a.URL())
	p.wants(federation.Larger, a.Publish())
	p.wants(federation.Unproven, grow(b, 10, 30, "b"))
	p.holds()
	p.restart()
	p.wants(federation.Larger, grow(a, 10, 20, "a"))
	p.holds()
	out, err := p.offer(grow(a, 20, 40, "a"))
	var forked *federation.ForkError
	if out != federation.Larger || !errors.As(err, &forked) {
		t.Fatalf("%v, %v", out, err)
	}
	p.holds("log log.example/0123abcd")
	if _, err := os.Stat(forked.Held[0].Path); err != nil {
		t.Error(err)
	}
}

// One view came from a witness, the other from the log. The witness cosigned only
// one of them and is not convicted.
func TestHonestWitnessOfAForkIsNotConvicted(t *testing.T) {
	a, b := fork(t, 10, logtest.Witnesses(2, 1))
	p := newPeer(t, a.Policy(), a.URL(), b.URL())
	p.wants(federation.Larger, only(t, a.Publish(), "w1", "w2"))
	p.wants(federation.Larger, only(t, grow(a, 10, 20, "a"), "w1"))
	p.wants(federation.Forked, only(t, grow(b, 10, 30, "b"), "w2"))
	p.holds("log log.example/0123abcd")
	// w1 now cosigns the other history too.
	if _, err := p.offer(only(t, grow(b, 30, 40, "b"), "w1")); !errors.Is(err, federation.ErrConvicted) {
		t.Errorf("error %v", err)
	}
	p.holds("log log.example/0123abcd", "witness witness.example/w1")
}

// The order is what is tested: where evidence cannot be written, nothing else
// changes, and the fork is found again.
func TestEvidenceIsWrittenBeforeAnythingElse(t *testing.T) {
	a, b := fork(t, 10)
	p := newPeer(t, a.Policy(), a.URL(), b.URL())
	p.wants(federation.Larger, grow(a, 10, 20, "a"))
	dir := filepath.Join(p.dir, "evidence")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in its place
		t.Fatal(err)
	}
	other := grow(b, 10, 30, "b")
	if out, err := p.offer(other); out != federation.Unproven || err == nil {
		t.Fatalf("%v, %v", out, err)
	}
	if p.size(p.Latest(a.Origin())) != 20 {
		t.Error("the other history is shown")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	var forked *federation.ForkError
	if err := p.Retry(t.Context()); !errors.As(err, &forked) {
		t.Fatalf("error %v, want a fork", err)
	}
	p.holds("log log.example/0123abcd")
}

func TestEvidenceArrivesByAPeer(t *testing.T) {
	a, b := fork(t, 10)
	one := newPeer(t, a.Policy(), a.URL())
	two := newPeer(t, a.Policy(), b.URL())
	three := newPeer(t, a.Policy()) // sees nothing but peers
	one.wants(federation.Larger, grow(a, 10, 20, "a"))
	two.wants(federation.Larger, grow(b, 10, 30, "b"))
	first, second := serve(t, one), serve(t, two)
	poll(t, three, federation.TargetPeer, first)
	three.holds()
	poll(t, two, federation.TargetPeer, first) // has the tiles of its own view
	two.holds("log log.example/0123abcd")
	poll(t, one, federation.TargetPeer, second) // has not: takes the evidence
	one.holds("log log.example/0123abcd")
	poll(t, three, federation.TargetPeer, first)
	three.holds("log log.example/0123abcd")
	for _, p := range []*peer{one, two, three} {
		if !p.Convicted(a.Origin()) {
			t.Error("a peer goes on with the log")
		}
	}
}

func serve(t testing.TB, p *peer, mirrors ...*federation.Mirror) string {
	t.Helper()
	s := &federation.Server{Hub: p.Hub, Mirrors: mirrors, Name: "peer"}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return h.URL
}

// serveLate serves the hub that get returns at each request.
func serveLate(t testing.TB, get func() *federation.Hub) string {
	t.Helper()
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(&federation.Server{Hub: get(), Name: "peer"}).Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	return h.URL
}

// poll asks one target once and fails if the target is at fault.
func poll(t testing.TB, p *peer, kind federation.TargetKind, url string) {
	t.Helper()
	if err := pollError(p, kind, url); err != nil {
		t.Fatal(err)
	}
}

func pollError(p *peer, kind federation.TargetKind, url string) error {
	target := federation.Target{Kind: kind, Name: "target", URL: url, Origin: p.o.Logs[0].Origin}
	poller := federation.NewPoller(federation.PollerOptions{Hub: p.Hub, Targets: []federation.Target{target}})
	return poller.Poll(p.t.Context(), target, map[string][32]byte{}, map[string]bool{})
}

// Two roots of one size need no tiles, and nobody who hangs delays them.
func TestTwoRootsOfOneSizeConvictWithoutTiles(t *testing.T) {
	a, b := logtest.New(t), logtest.New(t)
	grow(a, 0, 10, "a")
	hangs := answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := newPeer(t, a.Policy(), hangs)
	p.wants(federation.Larger, a.Publish())
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error, 1)
	go func() {
		_, err := p.Offer(ctx, grow(a, 10, 50, "a"), "test") // waits for a tile
		waits <- err
	}()
	p.wants(federation.Forked, grow(b, 0, 10, "b"))
	cancel()
	<-waits
	p.holds("log log.example/0123abcd")
}

// Also where neither of the two could be proven.
func TestTwoUnprovenRootsOfOneSizeConvict(t *testing.T) {
	a, b := fork(t, 10)
	p := newPeer(t, a.Policy())
	p.wants(federation.Larger, a.Publish())
	p.wants(federation.Unproven, grow(a, 10, 50, "a"))
	p.wants(federation.Forked, grow(b, 10, 50, "b"))
	p.holds("log log.example/0123abcd")
}

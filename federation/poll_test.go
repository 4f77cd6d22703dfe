package federation_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// answering serves one handler until the test ends.
func answering(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestPollContainsWhatTargetsDo(t *testing.T) {
	l := logtest.New(t)
	other := logtest.New(t, logtest.Origin("other.example/00000000"))
	otherNote := grow(other, 0, 3, "leaf")
	good := grow(l, 0, 10, "leaf")
	for what, h := range map[string]http.HandlerFunc{
		"garbage":       func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"nothing":       func(http.ResponseWriter, *http.Request) {},
		"endless":       func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, io.LimitReader(zeros{}, 100<<20)) },
		"bomb":          bomb,
		"another log":   func(w http.ResponseWriter, _ *http.Request) { w.Write(otherNote) },
		"altered":       func(w http.ResponseWriter, _ *http.Request) { w.Write(append([]byte("x"), good...)) },
		"500":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"broken off":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a redirect":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) },
		"odd encoding":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "br"); w.Write(good) },
		"hung for ever": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		for _, kind := range []federation.TargetKind{federation.TargetLog, federation.TargetWitness, federation.TargetPeer} {
			p := newPeer(t, l.Policy(), l.URL())
			if what == "hung for ever" {
				p.o.Timeout = time.Millisecond
				p.restart()
			}
			if err := pollError(p, kind, answering(t, h)); err == nil {
				t.Errorf("%s from a %s: no error", what, kind)
			}
			if p.Latest(l.Origin()) != nil || p.counted("firn_peer_polls_total", "answered") != 0 || p.counted("firn_peer_polls_total") != 1 {
				t.Errorf("%s from a %s: not contained, or not counted", what, kind)
			}
			if !strings.Contains(p.words.String(), "target=target") {
				t.Errorf("%s from a %s: not named in %q", what, kind, p.words)
			}
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// bomb is a small answer that is large once decompressed.
func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	writeGzip(w, 50<<20)
}

func TestPollOfWitnessAndPeerThatNeverSawTheLog(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 10, "leaf")
	p := newPeer(t, l.Policy(), l.URL())
	poll(t, p, federation.TargetWitness, answering(t, http.NotFound))
	if err := pollError(p, federation.TargetLog, answering(t, http.NotFound)); err == nil {
		t.Error("a log without a checkpoint is no error")
	}
}

func TestPollSkipsWhatItHasSeen(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 10, "leaf")
	p := newPeer(t, l.Policy(), l.URL())
	target := federation.Target{Kind: federation.TargetLog, Name: "log", URL: l.URL() + "/", Origin: l.Origin()}
	poller := federation.NewPoller(federation.PollerOptions{Hub: p.Hub, Targets: []federation.Target{target}})
	seen := map[string][32]byte{}
	for range 3 {
		if err := poller.Poll(t.Context(), target, seen, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.counted("firn_peer_offers_total"); n != 1 {
		t.Errorf("offered %v times", n)
	}
	if st := poller.Status(); len(st) != 1 || st[0].Error != "" || st[0].Asked.IsZero() {
		t.Errorf("status %+v", st)
	}
}

// transport answers requests without a network, for synctest bubbles.
type transport func(r *http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPollerKeepsItsPaceAndBacksOff(t *testing.T) {
	l := logtest.New(t)
	good := grow(l, 0, 10, "leaf")
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := map[string][]time.Time{}
		start := time.Now()
		o := federation.Options{
			Evidence: evidence.NewStore(""), Logs: []federation.Log{{Policy: l.Policy(), Origin: l.Origin()}},
			HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				asked[r.URL.Host] = append(asked[r.URL.Host], time.Now())
				mu.Unlock()
				switch r.URL.Host {
				case "down":
					return nil, errors.New("connection refused")
				case "hangs":
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				rec := httptest.NewRecorder()
				rec.Write(good)
				return rec.Result(), nil
			})},
		}
		hub, err := federation.NewHub(o)
		if err != nil {
			t.Fatal(err)
		}
		var targets []federation.Target
		for _, host := range []string{"good", "down", "hangs"} {
			targets = append(targets, federation.Target{Kind: federation.TargetLog, Name: host, URL: "http://" + host, Origin: l.Origin()})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		federation.NewPoller(federation.PollerOptions{Hub: hub, Targets: targets, Interval: 10 * time.Second}).Run(ctx)
		if d := time.Since(start); d != time.Hour {
			t.Errorf("it ran for %v", d)
		}
		if n := len(asked["good"]); n < 300 || n > 480 {
			t.Errorf("the good one was asked %d times in an hour", n)
		}
		for i := 1; i < len(asked["good"]); i++ {
			if d := asked["good"][i].Sub(asked["good"][i-1]); d < 7500*time.Millisecond || d > 12500*time.Millisecond {
				t.Fatalf("%v between two questions", d)
			}
		}
		for _, host := range []string{"down", "hangs"} {
			if n := len(asked[host]); n < 8 || n > 14 {
				t.Errorf("the one that %s was asked %d times in an hour", host, n)
			}
		}
	})
}

func TestEvidenceOfPeersIsCheckedAndBounded(t *testing.T) {
	a, b := fork(t, 10, logtest.Witnesses(1, 1))
	convict := newPeer(t, a.Policy(), a.URL(), b.URL())
	convict.wants(federation.Larger, grow(a, 10, 20, "a"))
	convict.wants(federation.Forked, grow(b, 10, 30, "b"))
	all, err := convict.Evidence()
	if err != nil || len(all) != 2 {
		t.Fatal(len(all), err)
	}
	real := map[string][]byte{}
	for _, e := range all {
		real[e.Hash] = e.Bytes
	}
	stranger := logtest.New(t, logtest.Origin("other.example/00000000"), logtest.Witnesses(0, 0))
	grow(stranger, 0, 10, "leaf")
	hash := func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	for what, tt := range map[string]struct {
		list  string
		files map[string][]byte
		fault bool
		want  int // files kept
	}{
		"good":               {listOf(real), real, false, 2},
		"empty":              {`{"schema":1,"evidence":[]}`, nil, false, 0},
		"not JSON":           {`hello`, nil, true, 0},
		"another schema":     {`{"schema":2,"evidence":[]}`, nil, true, 0},
		"not a hash":         {`{"schema":1,"evidence":[{"sha256":"../../etc/passwd"}]}`, nil, true, 0},
		"missing":            {listOf(map[string][]byte{hash("x"): nil}), nil, true, 0},
		"another file":       {listOf(map[string][]byte{hash("x"): nil}), map[string][]byte{hash("x"): []byte("y")}, true, 0},
		"under a wrong hash": {listOf(map[string][]byte{hash("x"): nil}), map[string][]byte{hash("x"): all[0].Bytes}, true, 0},
		"not evidence":       {listOf(map[string][]byte{hash("x"): nil}), map[string][]byte{hash("x"): []byte("x")}, true, 0},
		"altered":            {listOf(alteredFiles(real)), alteredFiles(real), true, 0},
		"against unknown":    {listOf(real), real, false, 0},
	} {
		files := 0
		url := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/evidence" {
				io.WriteString(w, tt.list)
				return
			}
			if strings.HasPrefix(r.URL.Path, "/evidence/") {
				files++
			}
			b, ok := tt.files[strings.TrimPrefix(r.URL.Path, "/evidence/")]
			if !ok {
				http.NotFound(w, r)
				return
			}
			w.Write(b)
		})
		pol := a.Policy()
		if what == "against unknown" {
			pol = stranger.Policy()
		}
		p := newPeer(t, pol)
		target := federation.Target{Kind: federation.TargetPeer, Name: "target", URL: url}
		poller := federation.NewPoller(federation.PollerOptions{Hub: p.Hub, Targets: []federation.Target{target}})
		useless := map[string]bool{}
		err := poller.Poll(t.Context(), target, map[string][32]byte{}, useless)
		if (err != nil) != tt.fault {
			t.Errorf("%s: error %v", what, err)
		}
		held, err := p.Evidence()
		if err != nil || len(held) != tt.want {
			t.Errorf("%s: %d files kept, %v", what, len(held), err)
		}
		before := files
		_ = poller.Poll(t.Context(), target, map[string][32]byte{}, useless)
		if !tt.fault && files != before {
			t.Errorf("%s: fetched again", what)
		}
	}
}

func listOf(files map[string][]byte) string {
	type item struct {
		SHA256 string `json:"sha256"`
	}
	var items []item
	for hash := range files {
		items = append(items, item{hash})
	}
	b, err := json.Marshal(map[string]any{"schema": 1, "evidence": items})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// alteredFiles changes a signature in each file, under a hash that is right.
func alteredFiles(files map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for _, b := range files {
		c := append([]byte(nil), b...)
		i := len(c) - 20
		if c[i] == 'A' {
			c[i] = 'B'
		} else {
			c[i] = 'A'
		}
		out[fmt.Sprintf("%x", sha256.Sum256(c))] = c
	}
	return out
}

// A target that shows the checkpoint of another log that is followed as well.
func TestPollRefusesTheCheckpointOfAnotherFollowedLog(t *testing.T) {
	l, other := logtest.New(t), logtest.New(t, logtest.Origin("other.example/00000000"))
	grow(other, 0, 3, "leaf")
	pol, err := policy.Parse([]byte("log " + l.VKey() + "\nlog " + other.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, pol)
	if err := pollError(p, federation.TargetLog, other.URL()); err == nil || p.Latest(other.Origin()) != nil {
		t.Errorf("it is taken: %v", err)
	}
}

package log

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/log/policy"
)

// answering is a network on which every request gets one answer.
type answering struct {
	status int
	kind   string
	body   io.Reader
	path   string // of the last request, with its query
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.path = r.URL.RequestURI()
	body := a.body
	if body == nil {
		body = endless{r.Context()}
	}
	return &http.Response{StatusCode: a.status, Status: fmt.Sprint(a.status), Header: http.Header{"Content-Type": {a.kind}}, Body: io.NopCloser(body)}, nil
}

// endless is a body in which nothing comes.
type endless struct{ ctx context.Context }

func (e endless) Read([]byte) (int, error) {
	<-e.ctx.Done()
	return 0, e.ctx.Err()
}

func watcher(t *testing.T, a *answering) *Client {
	t.Helper()
	key, err := policy.NewKey("log.example/0123abcd", policy.TypeEd25519, ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte("log " + key.String() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient("https://log.example", pol, Options{HTTP: &http.Client{Transport: a}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func watched(c *Client, keys ...string) (got []Growth, err error) {
	for g, e := range c.Watch(context.Background(), keys) {
		if e != nil {
			return got, e
		}
		got = append(got, *g)
	}
	return got, nil
}

func TestWatchYieldsWhatTheLogSays(t *testing.T) {
	a := &answering{status: 200, kind: "text/event-stream; charset=utf-8", body: strings.NewReader(`: hello
retry: 5000

event: entries
data: {"schema":1,"size":9,"revision":7,"keys":{"key:a":3}}

event: other
data: not for us

: ping
event: entries
id: 4
data: {"schema":1,"size":12,"revision":11,"keys":{"key:a":4,"out:/b c":0},"later":true}

`)}
	got, err := watched(watcher(t, a), "key:a", "out:/b c")
	want := []Growth{{9, 7, map[string]uint64{"key:a": 3}}, {12, 11, map[string]uint64{"key:a": 4, "out:/b c": 0}}}
	if d := cmp.Diff(want, got); d != "" || !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v\n%s", err, d)
	}
	if a.path != "/v1/watch?key=key%3Aa&key=out%3A%2Fb+c" {
		t.Error(a.path)
	}
}

func TestWatchRefusesWhatMakesNoSense(t *testing.T) {
	for name, body := range map[string]string{
		"not JSON":                    "event: entries\ndata: {\n\n",
		"another schema":              "event: entries\ndata: {\"schema\":2,\"size\":1}\n\n",
		"two values":                  "event: entries\ndata: {\"schema\":1} {}\n\n",
		"a key that nobody asked for": "event: entries\ndata: {\"schema\":1,\"size\":9,\"keys\":{\"key:b\":1}}\n\n",
		"more entries than the tree":  "event: entries\ndata: {\"schema\":1,\"size\":9,\"keys\":{\"key:a\":10}}\n\n",
		"a revision of a larger tree": "event: entries\ndata: {\"schema\":1,\"size\":9,\"revision\":10}\n\n",
		"two lines of data":           "data: {\ndata: }\n\n",
		"two names":                   "event: entries\nevent: entries\ndata: {}\n\n",
		"a carriage return":           "event: entries\r\ndata: {\"schema\":1}\r\n\r\n",
		"not UTF-8":                   ": \xff\n",
		"a line without an end":       "data: " + strings.Repeat("x", maxEventLine) + "\n",
		"an event without an end":     strings.Repeat("id: 1\n", maxEventLines+1),
	} {
		var bad *ProofError
		if _, err := watched(watcher(t, &answering{status: 200, kind: eventsType, body: strings.NewReader(body)}), "key:a"); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWatchSaysWhetherToTryAgain(t *testing.T) {
	for name, c := range map[string]struct {
		a    answering
		want error
	}{
		"the stream ends":        {answering{status: 200, kind: eventsType, body: strings.NewReader("event: ent")}, ErrUnreachable},
		"the log is busy":        {answering{status: 503, kind: "application/json", body: strings.NewReader("{}")}, ErrUnreachable},
		"too many watch":         {answering{status: 429, kind: "application/json", body: strings.NewReader("{}")}, ErrUnreachable},
		"the log has none":       {answering{status: 404, kind: "application/json", body: strings.NewReader("{}")}, ErrNoWatch},
		"a page of another kind": {answering{status: 200, kind: "text/html", body: strings.NewReader("<p>")}, ErrNoWatch},
	} {
		if _, err := watched(watcher(t, &c.a), "key:a"); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := watched(watcher(t, &answering{})); err == nil {
		t.Error("nothing is watched")
	}
	if _, err := watched(watcher(t, &answering{}), make([]string, MaxWatched+1)...); err == nil {
		t.Error("too much is watched")
	}
}

// A connection that is dead is noticed, because a live one is never silent for long.
func TestSilentWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := watched(watcher(t, &answering{status: 200, kind: eventsType}), "key:a")
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(fmt.Sprint(err), "said nothing for 1m0s") || time.Since(began) != watchSilence {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		go func() {
			for range 10 {
				time.Sleep(watchSilence - time.Second)
				fmt.Fprint(w, ": ping\n")
			}
			w.Close()
		}()
		began := time.Now()
		if _, err := watched(watcher(t, &answering{status: 200, kind: eventsType, body: r}), "key:a"); time.Since(began) != 10*(watchSilence-time.Second) {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestWatchPauseGrowsToMinutes(t *testing.T) {
	for n, want := range map[int]time.Duration{0: time.Second, 1: time.Second, 3: 4 * time.Second, 8: 128 * time.Second, 9: 150 * time.Second, 1000: 150 * time.Second} {
		if got := WatchPause(n, 0); got != want {
			t.Errorf("%d: %v, want %v", n, got, want)
		}
		if got := WatchPause(n, 0.5); got != want+want/2 {
			t.Errorf("%d with jitter: %v", n, got)
		}
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(": hello\n\nevent: entries\ndata: {\"schema\":1,\"size\":9,\"revision\":7,\"keys\":{\"key:a\":3}}\n\n"))
	f.Add([]byte("data: x\n\ndata:y\n\n"))
	f.Add([]byte("event: a\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again bytes.Buffer
		read := func(b []byte, f func(event)) error {
			r := newEventReader(bytes.NewReader(b))
			for {
				e, err := r.next(func() {})
				if err != nil {
					return err
				}
				f(e)
			}
		}
		var events []event
		err := read(b, func(e event) {
			events = append(events, e)
			fmt.Fprintf(&again, "event: %s\ndata: %s\n\n", e.name, e.data)
			if g, err := parseGrowth(e.data, map[string]bool{"key:a": true}); err == nil && g.Revision > g.Size {
				t.Error("a revision of a larger tree")
			}
		})
		if !errors.Is(err, errEvents) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		var n int
		if err := read(again.Bytes(), func(e event) {
			if n >= len(events) || e.name != events[n].name || !bytes.Equal(e.data, events[n].data) {
				t.Errorf("event %d reads back as another", n)
			}
			n++
		}); err != io.ErrUnexpectedEOF || n != len(events) {
			t.Errorf("%d of %d events read back: %v", n, len(events), err)
		}
	})
}

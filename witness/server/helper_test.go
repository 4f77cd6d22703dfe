package server

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/witness"
	"github.com/firn-log/firn/witness/sample"
)

// words collects what a witness logs.
type words struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// world is a witness of one log behind HTTP.
type world struct {
	t     *testing.T
	dir   string
	log   *sample.Log
	words *words
	*Server
	http *httptest.Server
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), log: sample.New("log.example/0123abcd"), words: new(words)}
	w.log.Grow(20)
	_, err := Init(w.dir, InitOptions{Name: "witness.example/w1", Change: func(c *Config) {
		c.Logs = []LogConfig{{VKey: w.log.Key.String()}}
		for _, f := range change {
			f(c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.open(w.dir)
	return w
}

// open serves the witness in dir instead.
func (w *world) open(dir string) {
	w.t.Helper()
	w.dir = dir
	c, err := ReadConfig(dir + "/" + ConfigName)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Server, err = New(w.t.Context(), Options{Dir: dir, Config: c, Logger: slog.New(slog.NewTextHandler(w.words, nil))})
	if err != nil {
		w.t.Fatal(err)
	}
	w.http = httptest.NewServer(w.Handler())
	w.t.Cleanup(w.stop)
}

func (w *world) stop() {
	w.http.Close()
	w.Close()
}

// again stops and serves again.
func (w *world) again() {
	w.t.Helper()
	w.stop()
	w.open(w.dir)
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) do(req *http.Request, err error) answer {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (w *world) get(path string) answer {
	w.t.Helper()
	return w.do(http.NewRequest(http.MethodGet, w.http.URL+path, nil))
}

func (w *world) post(path string, body []byte) answer {
	w.t.Helper()
	return w.do(http.NewRequest(http.MethodPost, w.http.URL+path, bytes.NewReader(body)))
}

// add submits a checkpoint and checks the status.
func (w *world) add(want int, body []byte) answer {
	w.t.Helper()
	a := w.post("/add-checkpoint", body)
	if a.status != want {
		w.t.Fatalf("status %d: %s; want %d", a.status, a.body, want)
	}
	return a
}

func (w *world) monitoring() string { return "/" + witness.OriginHash(w.log.Origin) + "/checkpoint" }

func contains(t testing.TB, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q does not contain %q", text, part)
	}
}

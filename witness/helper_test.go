package witness

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

const testOrigin = "log.example/0123abcd"

// want returns v to a test that fails on err: want(f())(t).
func want[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

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

// world is a witness of one log, under a test's control.
type world struct {
	*Witness
	t     testing.TB
	dir   string
	key   *Key
	log   *sample.Log
	logs  []Log
	words *words

	mu  sync.Mutex
	now time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), log: sample.New(testOrigin), words: new(words), now: time.Unix(1_800_000_000, 0)}
	w.log.Grow(20)
	w.logs = []Log{{Origin: testOrigin, Keys: []policy.Key{w.log.Key}}}
	w.key, _, _ = GenerateKey("witness.example/w1")
	if err := CreateStore(w.dir); err != nil {
		t.Fatal(err)
	}
	w.open()
	t.Cleanup(func() { w.store.Close() })
	return w
}

// open opens the store and makes a witness.
func (w *world) open() {
	w.t.Helper()
	store, err := OpenStore(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Witness, err = New(Options{
		Store: store, Key: w.key, Logs: w.logs, Now: w.clock,
		Logger: slog.New(slog.NewTextHandler(w.words, nil)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// again closes the store and opens it anew, as after a restart.
func (w *world) again() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// must sends a body and checks the status of the answer.
func (w *world) must(status int, body []byte) string {
	w.t.Helper()
	got, response, err := w.AddCheckpoint(context.Background(), body)
	if got != status {
		w.t.Fatalf("status %d (%v), want %d; the answer: %s", got, err, status, response)
	}
	if (err == nil) != (got == 200) {
		w.t.Fatalf("status %d with error %v", got, err)
	}
	return string(response)
}

// cosigned sends a request and checks that the answer is one good cosignature.
func (w *world) cosigned(body []byte) {
	w.t.Helper()
	line := w.must(200, body)
	req := want(ParseRequest(body))(w.t)
	w.verifyLine(req.Note.Text, line)
}

// verifyLine checks a cosignature line with package policy.
func (w *world) verifyLine(text, line string) {
	w.t.Helper()
	n, err := policy.ParseNote([]byte(text + "\n" + line))
	if err != nil || len(n.Signatures) != 1 || n.Text != text {
		w.t.Fatalf("%q is not one signature line: %v", line, err)
	}
	k := w.key.Verifier()
	pol, err := policy.Parse([]byte("log " + w.log.Key.String() + "\nwitness w1 " + k.String() + "\nquorum w1\n"))
	if err != nil {
		w.t.Fatal(err)
	}
	note := &policy.Note{Text: text, Signatures: append([]policy.Signature{w.log.Sign(text)}, n.Signatures...)}
	v, err := pol.Verify(note.Marshal(), w.clock())
	if err != nil {
		w.t.Fatalf("the cosignature does not verify: %v", err)
	}
	if v.Time.Unix() != w.clock().Unix() {
		w.t.Fatalf("cosigned at %v, want %v", v.Time, w.clock())
	}
}

// latest returns the monitoring note.
func (w *world) latest() string { return string(w.Monitoring(OriginHash(testOrigin))) }

func contains(t testing.TB, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q does not contain %q", text, part)
	}
}

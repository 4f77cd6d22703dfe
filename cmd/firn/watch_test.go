package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
)

// lines is an output that calls stop at its n-th line.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	n    int
	stop func()
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	if bytes.Count(l.text.Bytes(), []byte("\n")) >= l.n {
		l.stop()
	}
	return len(b), nil
}

// watchUntil watches keys of a log until n lines were printed, or it ends by itself.
func watchUntil(t *testing.T, l *logtest.Log, state string, n int, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	pol := filepath.Join(t.TempDir(), "log.policy")
	if err := os.WriteFile(pol, []byte(l.PolicyText()), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, said := &lines{n: n, stop: cancel}, &lines{n: 1 << 30}
	a := &app{Stdin: strings.NewReader(""), Stdout: out, Stderr: said, Getenv: func(string) string { return "" }}
	args = append([]string{"watch", "--log", l.URL(), "--log-policy", pol, "--state", state, "--poll", "1s"}, args...)
	status = run(ctx, a, args)
	return status, out.text.String(), said.text.String()
}

func TestWatchShowsWhatAKeySigns(t *testing.T) {
	l, state := logtest.New(t), t.TempDir()
	mine := logtest.Signer(t, "mine")
	key := mine.PublicKey().ID().String()
	for _, name := range []string{"x", "y", "z"} {
		l.Add(logtest.Leaf(t, mine, logtest.Closure(name)))
		l.Add(logtest.Leaf(t, logtest.Signer(t, "another"), logtest.Closure(name)))
	}
	l.Publish()
	status, out, said := watchUntil(t, l, state, 3, key)
	if status != exitOK || strings.Count(out, "closure\t"+key[:16]) != 3 || strings.Count(out, "\n") != 3 || said != "" {
		t.Errorf("status %d\n%s%s", status, out, said)
	}
	// Somebody else signs with it. What was printed is not printed again.
	l.Add(logtest.Leaf(t, mine, logtest.Closure("stolen")))
	l.Publish()
	status, out, _ = watchUntil(t, l, state, 1, key)
	if status != exitOK || !strings.Contains(out, logtest.ClosureKey("stolen")) || strings.Count(out, "\n") != 1 {
		t.Errorf("status %d\n%s", status, out)
	}
	// The state is lost: everything comes again, with a word about it.
	files, _ := filepath.Glob(filepath.Join(state, "watch", "*.json"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	if err := os.WriteFile(files[0], []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, said = watchUntil(t, l, state, 4, key)
	if status != exitOK || strings.Count(out, "\n") != 4 || !strings.Contains(said, "everything is printed again") {
		t.Errorf("status %d\n%s%s", status, out, said)
	}
	// From an index on.
	if _, out, _ = watchUntil(t, l, t.TempDir(), 2, "--since", strings.Fields(out)[8], key); strings.Count(out, "\n") != 2 {
		t.Errorf("%s", out)
	}
}

func TestWatchEndsWithAWrongAnswer(t *testing.T) {
	l, state := logtest.New(t), t.TempDir()
	mine := logtest.Signer(t, "mine")
	key := index.Key(mine.PublicKey().ID())
	l.Add(logtest.Leaf(t, mine, logtest.Closure("x")))
	l.Publish()
	if status, _, said := watchUntil(t, l, state, 1, key); status != exitOK {
		t.Fatal(said)
	}
	l.Lie(func(lies *logtest.Lies) {
		lies.Answer = func(a *lookup.Answer) { a.Tail.Leaves = a.Tail.Leaves[1:] }
	})
	if status, _, said := watchUntil(t, l, state, 1, key); status != exitFailed || !strings.Contains(said, "firn: error: watching: ") {
		t.Errorf("status %d: %s", status, said)
	}
	// The index no longer holds what it held.
	l.Lie(func(lies *logtest.Lies) { lies.Answer, lies.Hide = nil, map[string]bool{key: true} })
	l.Add([]byte("more"))
	l.Publish()
	if status, _, said := watchUntil(t, l, state, 1, key); status != exitFailed || !strings.Contains(said, "firn watch --since ") {
		t.Errorf("status %d: %s", status, said)
	}
	// Another history.
	fork := logtest.New(t)
	for range 40 {
		fork.Add([]byte("another history"))
	}
	fork.Publish()
	status, _, said := watchUntil(t, fork, state, 1, key)
	if status != exitMisbehaviour || !strings.Contains(said, "evidence") {
		t.Errorf("status %d: %s", status, said)
	}
}

// What was read after the newest revision of the index is in no list yet, and comes again
// when it is.
func TestWatchPrintsTheTailOnce(t *testing.T) {
	l, state := logtest.New(t), t.TempDir()
	mine := logtest.Signer(t, "mine")
	key := index.Key(mine.PublicKey().ID())
	add := func(name string) {
		l.Add(logtest.Leaf(t, mine, logtest.Closure(name)))
		l.Publish()
	}
	add("x")
	l.Revise()
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
	add("y")
	if status, out, said := watchUntil(t, l, state, 2, "--json", key); status != exitOK || strings.Count(out, "c2sp.org/tlog-proof@v1") != 2 {
		t.Fatalf("status %d\n%s%s", status, out, said)
	}
	add("z")
	for _, revised := range []bool{false, true} {
		l.Lie(func(lies *logtest.Lies) { lies.NoRevision = !revised })
		want := map[bool]string{false: "z", true: "last"}[revised]
		if status, out, _ := watchUntil(t, l, state, 1, key); status != exitOK || strings.Count(out, "\n") != 1 || !strings.Contains(out, logtest.ClosureKey(want)) {
			t.Errorf("status %d, want %s\n%s", status, want, out)
		}
		add("last")
	}
}

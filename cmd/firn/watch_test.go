package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
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
	return watchAs(t, nil, n, 1<<30, append([]string{"--log", l.URL(), "--log-policy", pol, "--state", state}, args...)...)
}

// watchAs watches until n lines were printed, or m lines were said, or it ends by itself; and not for ever.
func watchAs(t *testing.T, env map[string]string, n, m int, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, said := &lines{n: n, stop: cancel}, &lines{n: m, stop: cancel}
	a := &app{Stdin: strings.NewReader(""), Stdout: out, Stderr: said, Getenv: func(name string) string { return env[name] }}
	status = run(ctx, a, append([]string{"watch", "--poll", "1s"}, args...))
	return status, out.text.String(), said.text.String()
}

// audited writes a firn.policy with an index policy of 2 of 3 auditors and returns the environment that
// names it.
func audited(t *testing.T, l *logtest.Log, more string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"log.policy": l.PolicyText(), "index.policy": l.IndexPolicyText(),
		"firn.policy": "log main file log.policy url " + l.URL() + " index index.policy\n" + more +
			"operator a id " + strings.Repeat("0", 64) + "\ngroup g any a\nrule default need g\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]string{"FIRN_POLICY": filepath.Join(dir, "firn.policy")}
}

// Who names auditors takes no answer for whole that they do not vouch for. What is in it is printed, and what
// it lacks is not lost.
func TestWatchTakesWhatTheIndexPolicyAccepts(t *testing.T) {
	l, state := logtest.New(t, logtest.Auditors(3, 2)), t.TempDir()
	mine := logtest.Signer(t, "mine")
	key := index.Key(mine.PublicKey().ID())
	add := func(name string) {
		l.Add(logtest.Leaf(t, mine, logtest.Closure(name)))
		l.Publish()
	}
	add("x")
	env := audited(t, l, "")
	const vouched = "firn: log main: complete according to auditors a1, a2, a3\n"
	if status, out, said := watchAs(t, env, 1, 1<<30, "--state", state, "--json", key); status != exitOK || said != vouched || !strings.Contains(out, `"completeness":{"auditors":["a1","a2","a3"],"by":"auditors"}`) {
		t.Fatalf("status %d\n%s%s", status, out, said)
	}
	// The log hides an entry in an index that only one auditor vouches for, and shows another.
	hidden := l.Size()
	l.Lie(func(lies *logtest.Lies) {
		lies.Absent = map[string]bool{"a2": true, "a3": true}
		lies.Index = func(_ string, it index.Item) (index.Item, bool) { return it, it.Index != hidden }
	})
	add("hidden")
	add("y")
	for range 2 { // nothing of it is remembered
		status, out, said := watchAs(t, env, 1, 1<<30, "--state", state, "--json", key)
		if status != exitOK || !strings.Contains(out, logtest.ClosureKey("y")) || strings.Contains(out, logtest.ClosureKey("hidden")) ||
			!strings.Contains(out, `"by":"nobody"`) || !strings.HasPrefix(said, "firn: warning: entries may be missing here: the index quorum of log main is not there: ") {
			t.Fatalf("status %d\n%s%s", status, out, said)
		}
	}
	l.Lie(func(lies *logtest.Lies) { lies.Absent, lies.Index = nil, nil })
	add("z")
	status, out, said := watchAs(t, env, 3, 1<<30, "--state", state, key)
	if status != exitOK || said != vouched || strings.Count(out, "\n") != 3 || !strings.Contains(out, logtest.ClosureKey("hidden")) {
		t.Errorf("status %d\n%s%s", status, out, said)
	}
	// With `completeness off` the log's word is enough.
	l.Lie(func(lies *logtest.Lies) { lies.Absent = map[string]bool{"a2": true, "a3": true} })
	add("last")
	env = audited(t, l, "completeness off\n")
	status, out, said = watchAs(t, env, 1, 1<<30, "--state", state, key)
	if status != exitOK || said != "firn: log main: completeness not proven\n" || !strings.Contains(out, logtest.ClosureKey("last")) {
		t.Errorf("status %d\n%s%s", status, out, said)
	}
	if status, out, _ = watchAs(t, env, 1, 1, "--state", state, key); status != exitOK || out != "" {
		t.Errorf("it was not remembered: status %d\n%s", status, out)
	}
}

// A log that is caught at a wrong index while it is watched ends the watch with status 5.
func TestWatchEndsWithAWrongIndex(t *testing.T) {
	l, state := logtest.New(t), t.TempDir()
	mine, other := logtest.Signer(t, "mine"), logtest.Signer(t, "other")
	at := l.Add(logtest.Leaf(t, other, logtest.Closure("x")))
	l.Publish()
	key := index.Key(mine.PublicKey().ID())
	l.Lie(func(lies *logtest.Lies) {
		lies.Extra = map[string][]index.Item{key: {{Index: at, Signer: mine.PublicKey().ID()}}}
	})
	status, _, said := watchUntil(t, l, state, 1, key)
	if status != exitMisbehaviour || !strings.Contains(said, "the index of log "+l.Origin()+" is wrong: ") || !strings.Contains(said, "firn: hint: keep that file") {
		t.Errorf("status %d: %s", status, said)
	}
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
	if status != exitOK || strings.Count(out, "closure\t"+key[:16]) != 3 || strings.Count(out, "\n") != 3 || said != "firn: log "+l.Origin()+": complete according to the log itself\n" {
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

// Where no proof is asked for the log's word is enough, but not for what it says is missing.
func TestWatchForgetsNothingThatTheLogItselfLeavesOut(t *testing.T) {
	l, state := logtest.New(t, logtest.Auditors(1, 1)), t.TempDir()
	mine := logtest.Signer(t, "mine")
	key := index.Key(mine.PublicKey().ID())
	add := func(name string) {
		l.Add(logtest.Leaf(t, mine, logtest.Closure(name)))
		l.Publish()
	}
	add("x")
	l.Revise()
	// An index that hides an entry is taken back, and there is no other one yet.
	hidden := l.Size()
	l.Lie(func(lies *logtest.Lies) {
		lies.Index = func(_ string, it index.Item) (index.Item, bool) { return it, it.Index != hidden }
	})
	add("hidden")
	wrong := l.Size()
	l.Revise()
	l.Lie(func(lies *logtest.Lies) { lies.Index, lies.NoRevision = nil, true })
	l.Add(l.State(&statement.IndexReset{Origin: l.Origin(), Size: wrong, MapVersion: index.MapVersion}))
	l.Publish()
	env := audited(t, l, "completeness off\n")
	status, out, said := watchAs(t, env, 1, 1, "--state", state, key)
	if status != exitOK || !strings.HasPrefix(said, "firn: warning: entries may be missing here: log "+l.Origin()+" has taken its index back") {
		t.Errorf("status %d\n%s%s", status, out, said)
	}
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision = false })
	add("y")
	if status, out, said = watchAs(t, env, 3, 1<<30, "--state", state, key); status != exitOK || !strings.Contains(out, logtest.ClosureKey("hidden")) {
		t.Errorf("status %d\n%s%s", status, out, said)
	}
}

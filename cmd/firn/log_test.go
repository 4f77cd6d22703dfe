package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// logWorld is a log with its policy in a file, and a home of nobody else.
type logWorld struct {
	*logtest.Log
	policy, home string
}

func newLogWorld(t *testing.T) *logWorld {
	t.Helper()
	w := &logWorld{Log: logtest.New(t, logtest.Witnesses(2, 1)), home: t.TempDir()}
	w.policy = filepath.Join(w.home, "log.policy")
	if err := os.WriteFile(w.policy, []byte(w.PolicyText()), 0o644); err != nil {
		t.Fatal(err)
	}
	a := logtest.Signer(t, "a")
	w.Add(logtest.Leaf(t, a, &statement.Operator{Name: "op", Contact: "op@example.org", HomeLog: w.Origin(), Identity: a.PublicKey()}))
	for i := range 299 {
		w.Add(logtest.Leaf(t, a, logtest.Closure(fmt.Sprint("c", i))))
	}
	w.Publish()
	return w
}

// firn runs a command line with the policy and the log named.
func (w *logWorld) firn(args ...string) (code int, stdout, stderr string) {
	return w.bare(append(args, "--log-policy", w.policy, "--log", w.URL())...)
}

func (w *logWorld) bare(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	env := map[string]string{"XDG_STATE_HOME": filepath.Join(w.home, "state"), "HOME": w.home}
	a := &app{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(k string) string { return env[k] }}
	code = run(context.Background(), a, args)
	return code, out.String(), errs.String()
}

func (w *logWorld) want(t *testing.T, code int, part string, args ...string) string {
	t.Helper()
	got, out, errs := w.firn(args...)
	if got != code || !strings.Contains(out+errs, part) {
		t.Errorf("firn %s: exit status %d, want %d and %q\n%s%s", strings.Join(args, " "), got, code, part, out, errs)
	}
	return out
}

func TestLogCheckpoint(t *testing.T) {
	w := newLogWorld(t)
	w.want(t, exitOK, "size    300\n", "log", "checkpoint")
	w.want(t, exitOK, "signed  w2 (witness, ", "log", "checkpoint")
	var v struct {
		Schema, Size int
		Origin       string
		Cosignatures []struct{ Witness string }
		Age          *int64 `json:"age_seconds"`
	}
	out := w.want(t, exitOK, "", "log", "checkpoint", "--json")
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Schema != 1 || v.Size != 300 || v.Origin != w.Origin() || len(v.Cosignatures) != 2 || v.Age == nil {
		t.Errorf("%s: %+v, %v", out, v, err)
	}
	note, err := log.NewMemory(filepath.Join(w.home, "state", "firn")).Remembered(w.Policy(), w.Origin())
	if err != nil || note == nil || note.Size != 300 {
		t.Errorf("remembered %v, %v", note, err)
	}
}

func TestLogExitStatus(t *testing.T) {
	w := newLogWorld(t)
	early := w.Publish()
	w.Add([]byte("more"))
	w.Publish()
	w.want(t, exitOK, "size    301", "log", "checkpoint")

	w.Lie(func(lies *logtest.Lies) { lies.Checkpoint = early })
	w.want(t, exitInconclusive, "size 301 was seen before", "log", "checkpoint")

	w.Lie(func(lies *logtest.Lies) {
		lies.Checkpoint = bytes.Replace(early, []byte("\n300\n"), []byte("\n302\n"), 1)
	})
	w.want(t, exitUntrusted, "does not verify", "log", "checkpoint")

	w.Lie(func(lies *logtest.Lies) { lies.Checkpoint = []byte("hello") })
	w.want(t, exitUntrusted, "malformed", "log", "checkpoint")

	lone := logtest.New(t) // the same key without witnesses
	for range 302 {
		lone.Add([]byte("x"))
	}
	w.Lie(func(lies *logtest.Lies) { lies.Checkpoint = lone.Publish() })
	w.want(t, exitInconclusive, "quorum", "log", "checkpoint")

	w.Lie(func(lies *logtest.Lies) { lies.Checkpoint = nil; lies.NoTiles = true })
	w.want(t, exitFailed, "answered 404", "log", "entries")
	w.Add([]byte("and more"))
	w.Publish()
	w.want(t, exitInconclusive, "consistency is not proven", "log", "checkpoint")

	w.Lie(func(lies *logtest.Lies) { *lies = logtest.Lies{Down: true} })
	w.want(t, exitFailed, "503", "log", "checkpoint")

	w.Lie(func(lies *logtest.Lies) { *lies = logtest.Lies{} })
	fork := logtest.New(t, logtest.Witnesses(2, 1))
	for range 400 {
		fork.Add([]byte("fork"))
	}
	fork.Publish()
	code, _, errs := w.bare("log", "checkpoint", "--log-policy", w.policy, "--log", fork.URL())
	held, _ := log.NewMemory(filepath.Join(w.home, "state", "firn")).Evidence().AgainstLog(w.Policy(), w.Origin())
	if code != exitMisbehaviour || len(held) != 1 || !strings.Contains(errs, held[0].Path) || !strings.Contains(errs, "firn: hint: ") {
		t.Errorf("exit status %d, evidence %v\n%s", code, held, errs)
	}
	w.want(t, exitMisbehaviour, "two histories", "log", "entries")
}

func TestLogNeedsAPolicy(t *testing.T) {
	w := newLogWorld(t)
	for _, args := range [][]string{
		{"checkpoint"}, {"entries"}, {"prove", "1"}, {"audit"}, {"fsck", w.Dir()}, {"verify-proof", w.policy, "--leaf", w.policy},
	} {
		code, _, errs := w.bare(append([]string{"log"}, args...)...)
		if code != exitUsage || !strings.Contains(errs, "firn: hint: ") {
			t.Errorf("firn log %v without a policy: exit status %d\n%s", args, code, errs)
		}
	}
	broken := filepath.Join(w.home, "broken.policy")
	if err := os.WriteFile(broken, []byte("quorum\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, args := range map[string][]string{
		"broken policy":    {"log", "checkpoint", "--log-policy", broken, "--log", w.URL()},
		"no such policy":   {"log", "checkpoint", "--log-policy", filepath.Join(w.home, "none"), "--log", w.URL()},
		"no URL":           {"log", "checkpoint", "--log-policy", w.policy},
		"not a URL":        {"log", "checkpoint", "--log-policy", w.policy, "--log", "log.example"},
		"unknown origin":   {"log", "checkpoint", "--log-policy", w.policy, "--log", w.URL(), "--origin", "x"},
		"not an index":     {"log", "prove", "--log-policy", w.policy, "--log", w.URL(), "01"},
		"range too large":  {"log", "entries", "--log-policy", w.policy, "--log", w.URL(), "--to", "301"},
		"range turned":     {"log", "entries", "--log-policy", w.policy, "--log", w.URL(), "--from", "5", "--to", "4"},
		"raw and JSON":     {"log", "entries", "--log-policy", w.policy, "--log", w.URL(), "--raw", "--json"},
		"proof, no leaf":   {"log", "verify-proof", "--log-policy", w.policy, w.policy},
		"unknown argument": {"log", "checkpoint", "--log-policy", w.policy, "--log", w.URL(), "x"},
	} {
		if code, out, errs := w.bare(args...); code != exitUsage {
			t.Errorf("%s: exit status %d\n%s%s", what, code, out, errs)
		}
	}
}

func TestLogEntries(t *testing.T) {
	w := newLogWorld(t)
	w.Add([]byte("junk"))
	w.Publish()
	out := w.want(t, exitOK, "", "log", "entries")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != 301 || !strings.HasPrefix(lines[0], "0\toperator\t") || !strings.Contains(lines[0], "\toperator:") ||
		!strings.HasPrefix(lines[7], "7\tclosure\t") || !strings.HasSuffix(lines[7], "\t"+logtest.ClosureKey("c6")) || !strings.Contains(lines[300], "not a statement") {
		t.Errorf("%d lines: %s\n%s\n%s", len(lines), lines[0], lines[7], lines[300])
	}
	out = w.want(t, exitOK, "", "log", "entries", "--from", "299", "--to", "300", "--json")
	var v struct {
		Schema, Index int
		Leaf          []byte
		Kind, ID      string
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Schema != 1 || v.Index != 299 || v.Kind != "closure" || len(v.ID) != 64 {
		t.Errorf("%s: %v", out, err)
	}
	raw := w.want(t, exitOK, "", "log", "entries", "--from", "299", "--raw")
	leaves, err := log.ParseLeaves([]byte(raw))
	if err != nil || len(leaves) != 2 || !bytes.Equal(leaves[0], v.Leaf) || string(leaves[1]) != "junk" {
		t.Errorf("%d leaves, %v", len(leaves), err)
	}
}

func TestLogProveAndVerifyProof(t *testing.T) {
	w := newLogWorld(t)
	proof, leaf := filepath.Join(w.home, "p"), filepath.Join(w.home, "l")
	s, err := statement.Parse(logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("c5")))
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"6", s.ID().String()} {
		w.want(t, exitOK, "proves entry 6 of "+w.Origin(), "log", "prove", what, "-o", proof, "--leaf-output", leaf)
		w.want(t, exitOK, "is entry 6 of this log", "log", "verify-proof", proof, "--leaf", leaf)
		// It needs no log.
		code, out, errs := w.bare("log", "verify-proof", proof, "--leaf", leaf, "--log-policy", w.policy, "--json")
		if code != exitOK || !strings.Contains(out, `"index":6`) {
			t.Errorf("exit status %d\n%s%s", code, out, errs)
		}
	}
	w.want(t, exitUntrusted, "does not verify", "log", "verify-proof", proof, "--leaf", w.policy)
	w.want(t, exitUntrusted, "malformed", "log", "verify-proof", leaf, "--leaf", leaf)
	w.want(t, exitFailed, "no such file", "log", "verify-proof", proof, "--leaf", filepath.Join(w.home, "none"))
	w.want(t, exitFailed, "not found", "log", "prove", "300")
	w.want(t, exitFailed, "404", "log", "prove", strings.Repeat("0", 64))
	if out := w.want(t, exitOK, "", "log", "prove", "6", "-o", "-"); !strings.HasPrefix(out, "c2sp.org/tlog-proof@v1\nindex 6\n") {
		t.Errorf("%s", out)
	}
	if p, err := log.ParseProof([]byte(w.want(t, exitOK, "", "log", "prove", "6", "-o", "-"))); err != nil {
		t.Error(err)
	} else if _, err := p.Verify(w.Policy(), s.Leaf(), time.Now()); err != nil {
		t.Error(err)
	}
}

func TestLogAudit(t *testing.T) {
	w := newLogWorld(t)
	w.want(t, exitOK, "300 entries of "+w.Origin()+", 300 verified: 299 closure, 1 operator\n", "log", "audit")
	leaf := bytes.Clone(logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("bad")))
	leaf[len(leaf)-1] ^= 1
	w.Add(leaf)
	w.Add(logtest.Leaf(t, logtest.Signer(t, "b"), logtest.Closure("unknown")))
	w.Publish()
	w.want(t, exitUntrusted, "entry 300: bad-signature", "log", "audit")
	w.want(t, exitUntrusted, "is not in the log: 1 statement of it not verified", "log", "audit")
	w.want(t, exitUntrusted, `"faults":[{"index":300`, "log", "audit", "--json")
	w.Lie(func(lies *logtest.Lies) { lies.NoTiles = true })
	w.want(t, exitFailed, "", "log", "audit")
}

func TestLogFsck(t *testing.T) {
	w := newLogWorld(t)
	fsck := func(code int, part, where string, more ...string) {
		t.Helper()
		got, out, errs := w.bare(append([]string{"log", "fsck", where, "--log-policy", w.policy}, more...)...)
		if got != code || !strings.Contains(out+errs, part) {
			t.Errorf("fsck %s: exit status %d, want %d and %q\n%s%s", where, got, code, part, out, errs)
		}
	}
	for _, where := range []string{w.Dir(), w.FileURL(), w.URL()} {
		fsck(exitOK, "all is well", where)
	}
	tile := filepath.Join(w.Dir(), "tile", "0", "000")
	b, err := os.ReadFile(tile)
	if err != nil {
		t.Fatal(err)
	}
	b[40] ^= 1
	if err := os.WriteFile(tile, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{w.Dir(), w.FileURL(), w.URL()} {
		fsck(exitUntrusted, "tile/0/000: hash 1 is wrong", where)
		fsck(exitUntrusted, `"faults":[{"path":"tile/0/000"`, where, "--json")
	}
	b[40] ^= 1
	if err := os.WriteFile(tile, b, 0o644); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(w.Dir(), "tile", "0", "tmp123")
	if err := os.WriteFile(stray, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	fsck(exitUntrusted, "tile/0/tmp123: does not belong here", w.Dir())
	if err := os.Remove(stray); err != nil {
		t.Fatal(err)
	}
	fsck(exitFailed, "unreachable", filepath.Join(w.home, "nothing"))
	w.Lie(func(lies *logtest.Lies) { lies.Down = true })
	fsck(exitFailed, "503", w.URL())

	// The folder of a firn-log has the static tree in public.
	dir := t.TempDir()
	if err := os.Symlink(w.Dir(), filepath.Join(dir, "public")); err != nil {
		t.Fatal(err)
	}
	fsck(exitOK, "all is well", dir)
}

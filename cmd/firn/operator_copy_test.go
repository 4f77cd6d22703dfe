package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// twoLogs is somebody's machine, with two logs and a folder for keys.
type twoLogs struct {
	t     *testing.T
	dir   string
	logs  [2]*logtest.Log
	flags [2][]string // that name them
}

func newTwoLogs(t *testing.T) *twoLogs {
	t.Helper()
	w := &twoLogs{t: t, dir: t.TempDir(), logs: [2]*logtest.Log{logtest.New(t), logtest.New(t, logtest.Origin("second.example/00000001"))}}
	for i, l := range w.logs {
		policy := filepath.Join(w.dir, "log"+string(rune('0'+i)))
		if err := os.WriteFile(policy, []byte(l.PolicyText()), 0o600); err != nil {
			t.Fatal(err)
		}
		w.flags[i] = []string{"--log", l.URL(), "--log-policy", policy, "--state", filepath.Join(w.dir, "state")}
	}
	return w
}

func (w *twoLogs) file(name string) string { return filepath.Join(w.dir, name) }

func (w *twoLogs) run(args ...string) (code int, stdout, stderr string) {
	var out, words bytes.Buffer
	a := &app{Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &words, Getenv: func(string) string { return "" }}
	code = run(context.Background(), a, args)
	return code, strings.TrimSpace(out.String()), words.String()
}

// must runs a command with log n, if it is not negative.
func (w *twoLogs) must(n int, args ...string) (stdout string) {
	w.t.Helper()
	if n >= 0 {
		args = append(args, w.flags[n]...)
	}
	code, out, words := w.run(args...)
	if code != exitOK {
		w.t.Fatalf("firn %s: status %d\n%s", strings.Join(args, " "), code, words)
	}
	return out
}

// refused runs a command that must not be done, for a reason that contains why.
func (w *twoLogs) refused(n, status int, why string, args ...string) {
	w.t.Helper()
	code, _, words := w.run(append(args, w.flags[n]...)...)
	if code != status || !strings.Contains(words, why) {
		w.t.Errorf("firn %s: status %d, want %d with %q:\n%s", strings.Join(args, " "), code, status, why, words)
	}
}

func (w *twoLogs) registered() (id string) {
	w.t.Helper()
	for _, name := range []string{"alice", "build", "laptop"} {
		w.must(-1, "key", "new", w.file(name))
	}
	return w.must(0, "operator", "register", "--identity", w.file("alice"), "--key", w.file("build"), "--name", "alice", "--contact", "a@example.org")
}

func (w *twoLogs) copy(id string) []string {
	return []string{"operator", "copy", id, "--to", w.logs[1].URL(), "--to-policy", w.file("log1")}
}

func TestOperatorCopyBringsTheSameStatements(t *testing.T) {
	w := newTwoLogs(t)
	id := w.registered()
	if got := w.must(0, w.copy(id)...); got != id {
		t.Errorf("copied %s as %s", id, got)
	}
	w.must(0, "operator", "register", "--identity", w.file("alice"), "--key", w.file("laptop"))
	before := w.logs[1].Size()
	w.must(0, w.copy(id)...)
	if n := w.logs[1].Size() - before; n != 1+2 && n != 1+1 && n != 1 { // and what the log states of its index
		t.Errorf("%d entries for one new statement", n)
	}
	if code, _, words := w.run(append(w.copy(id), w.flags[0]...)...); code != exitOK || !strings.Contains(words, "nothing to do") {
		t.Errorf("again: %d %s", code, words)
	}
	first, second := w.must(0, "operator", "show", id), w.must(1, "operator", "show", id)
	for _, name := range []string{"build", "laptop"} {
		k, err := statement.ReadPublicKey(w.file(name) + ".pub")
		if err != nil || !strings.Contains(first, k.ID().String()) || !strings.Contains(second, k.ID().String()) {
			t.Errorf("%s (%v) is not in both:\n%s\n%s", name, err, first, second)
		}
	}
	w.refused(0, exitUsage, "is the log that is copied from", "operator", "copy", id, "--to", w.logs[0].URL(), "--to-policy", w.file("log0"))
	w.refused(0, exitFailed, "knows no operator", w.copy(strings.Repeat("0", 63)+"1")...)
}

// Who reads the other log sees the fork too.
func TestOperatorCopyBringsForks(t *testing.T) {
	w := newTwoLogs(t)
	p := people{t, w.logs[0]}
	alice := key(t, "alice")
	op := p.operator(alice, "alice")
	p.add(alice, p.prove(key(t, "one"), *op, statement.RoleBuild), op)
	p.add(alice, p.prove(key(t, "two"), *op, statement.RoleBuild), op)
	p.add(key(t, "mallory"), &statement.Retract{OperatorID: *op, Statement: statement.ID{3}, Reason: "no"}, op)
	w.logs[0].Publish()
	w.must(0, w.copy(op.String())...)
	h := people{t, w.logs[1]}.show(op.String())
	if !h.Forked || len(h.Statements) != 3 {
		t.Errorf("%+v", h)
	}
}

// Two next statements in two logs would be a fork, so there is one log for them.
func TestPeopleStatementsAreSaidInTheHomeLog(t *testing.T) {
	w := newTwoLogs(t)
	id := w.registered()
	w.must(0, w.copy(id)...)
	k, err := statement.ReadPublicKey(w.file("build.pub"))
	if err != nil {
		t.Fatal(err)
	}
	const why = "is said in your home log, log.example/0123abcd, or your chain forks; this is second.example/00000001"
	identity := []string{"--identity", w.file("alice")}
	for _, args := range [][]string{
		{"key", "revoke", k.ID().String(), "--reason", "rotated"},
		{"statement", "retract", strings.Repeat("1", 64), "--reason", "wrong"},
		{"operator", "register", "--key", w.file("laptop")},
	} {
		w.refused(1, exitUsage, why, append(args, identity...)...)
	}
	// The home log is gone: the other one becomes it, and then may be written to.
	w.must(1, append([]string{"operator", "register", "--home", w.logs[1].Origin()}, identity...)...)
	w.must(1, append([]string{"key", "revoke", k.ID().String(), "--reason", "rotated"}, identity...)...)
	h := people{t, w.logs[1]}.show(id)
	if h.HomeLog != w.logs[1].Origin() || h.Keys[1].Revoked != "rotated" || h.Forked {
		t.Errorf("%+v", h)
	}
	w.must(-1, "key", "new", w.file("bob"))
	w.refused(1, exitUsage, "who is new registers in the home log", "operator", "register", "--identity", w.file("bob"), "--name", "bob", "--contact", "b@example.org", "--home", w.logs[0].Origin())
}

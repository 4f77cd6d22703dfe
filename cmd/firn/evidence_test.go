package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

func evidenceVector(name string) string {
	return filepath.Join(testreq.Root(), "spec", "vectors", "evidence", name+".firn-evidence")
}

// evidenceStatus runs a command line with the log policy of the vectors.
func evidenceStatus(t *testing.T, w *logWorld, want int, args ...string) string {
	t.Helper()
	code, out, errs := w.bare(append(args, "--log-policy", filepath.Join(testreq.Root(), "spec", "vectors", "evidence", "log.policy"))...)
	if code != want {
		t.Errorf("firn %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
	}
	return out + errs
}

func TestEvidenceStatuses(t *testing.T) {
	w := newLogWorld(t)
	files, err := filepath.Glob(evidenceVector("*"))
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	for _, f := range files {
		want := exitUntrusted
		if strings.HasPrefix(filepath.Base(f), "accept-") {
			want = exitOK
		}
		evidenceStatus(t, w, want, "evidence", "verify", f)
	}
	evidenceStatus(t, w, exitUsage, "evidence", "verify", "/no/such/file")
	evidenceStatus(t, w, exitUntrusted, "evidence", "add", evidenceVector("reject-innocent-timestamps"))
	evidenceStatus(t, w, exitOK, "evidence", "add", evidenceVector("accept-log-one-size"))
	w.want(t, exitMisbehaviour, "two histories", "log", "checkpoint")
	w.want(t, exitMisbehaviour, "two histories", "log", "entries")
	evidenceStatus(t, w, exitUsage, "log", "forget", w.Origin())
	evidenceStatus(t, w, exitUntrusted, "log", "forget", "x/00000000", "--evidence", evidenceVector("accept-log-one-size"))
	evidenceStatus(t, w, exitUntrusted, "log", "forget", w.Origin(), "--evidence", evidenceVector("accept-witness-one-size"))
	evidenceStatus(t, w, exitUntrusted, "log", "forget", w.Origin(), "--evidence", evidenceVector("reject-innocent-failing-proof"))
	w.want(t, exitMisbehaviour, "two histories", "log", "checkpoint")
	evidenceStatus(t, w, exitOK, "log", "forget", w.Origin(), "--evidence", evidenceVector("accept-log-two-sizes")) // any will do
	w.want(t, exitOK, "size    300\n", "log", "checkpoint")
	evidenceStatus(t, w, exitFailed, "evidence", "add", evidenceVector("accept-log-one-size"))
	evidenceStatus(t, w, exitFailed, "evidence", "add", evidenceVector("accept-log-two-sizes"))
	evidenceStatus(t, w, exitOK, "evidence", "add", evidenceVector("accept-log-extension-line"))
	w.want(t, exitMisbehaviour, "two histories", "log", "checkpoint")
}

// A witness that is convicted does not count in what is verified offline either,
// and a proof of a convicted log is worth nothing.
func TestVerifyProofLooksAtEvidence(t *testing.T) {
	w := newLogWorld(t) // 1 of w1, w2
	proof, leaf := filepath.Join(w.home, "p"), filepath.Join(w.home, "l")
	w.want(t, exitOK, "", "log", "prove", "7", "-o", proof, "--leaf-output", leaf)
	verify := func(want int, part string) {
		t.Helper()
		w.want(t, want, part, "log", "verify-proof", proof, "--leaf", leaf)
	}
	verify(exitOK, "w1 (witness")
	evidenceStatus(t, w, exitOK, "evidence", "add", evidenceVector("accept-witness-one-size"))
	code, out, errs := w.firn("log", "verify-proof", proof, "--leaf", leaf)
	if code != exitOK || strings.Contains(out, "w1 (witness") {
		t.Errorf("with w1 convicted: %d\n%s%s", code, out, errs)
	}
	evidenceStatus(t, w, exitOK, "evidence", "add", evidenceVector("accept-witness-two-sizes"))
	verify(exitInconclusive, "not counted, because evidence is held against it: w1, w2")
	other := newLogWorld(t)
	other.want(t, exitOK, "", "log", "prove", "7", "-o", proof, "--leaf-output", leaf)
	evidenceStatus(t, other, exitOK, "evidence", "add", evidenceVector("accept-log-one-size"))
	other.want(t, exitMisbehaviour, "evidence is held against", "log", "verify-proof", proof, "--leaf", leaf)
}

func TestEvidenceSubmit(t *testing.T) {
	w := newLogWorld(t)
	second := logtest.New(t, logtest.Origin("second.example/00000001"))
	third := logtest.New(t, logtest.Origin("third.example/00000002"))
	key := filepath.Join(w.home, "key")
	if code, _, errs := w.bare("key", "new", key); code != exitOK {
		t.Fatal(errs)
	}
	text := "operator a id " + strings.Repeat("0", 64) + "\ngroup g any a\ncompleteness off\nrule default need g\n"
	for name, l := range map[string]*logtest.Log{"main": w.Log, "second": second, "third": third} {
		if err := os.WriteFile(filepath.Join(w.home, name+".policy"), []byte(l.PolicyText()), 0o644); err != nil {
			t.Fatal(err)
		}
		text = fmt.Sprintf("log %s file %s.policy url %s\n", name, name, l.URL()) + text
	}
	pol := filepath.Join(w.home, "firn.policy")
	if err := os.WriteFile(pol, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	submit := func(want int, file string) (out string) {
		t.Helper()
		code, out, errs := w.bare("evidence", "submit", evidenceVector(file), "--policy", pol, "--key", key, "--json")
		if code != want {
			t.Errorf("%s: exit status %d, want %d\n%s%s", file, code, want, out, errs)
		}
		return out
	}
	var v struct{ Logs []evidenceSent }
	if err := json.Unmarshal([]byte(submit(exitOK, "accept-log-two-sizes")), &v); err != nil || len(v.Logs) != 3 {
		t.Fatal(v, err)
	}
	for _, r := range v.Logs {
		if want := map[bool]string{true: "convicted", false: "accepted"}[r.Log == "main"]; r.Status != want || r.Proven != (r.Log != "main") {
			t.Errorf("%+v", r)
		}
	}
	if w.Size() != 300 || second.Size() != 1 || third.Size() != 1 {
		t.Errorf("sizes %d, %d, %d", w.Size(), second.Size(), third.Size())
	}
	// It is found under the convicted key.
	b, err := os.ReadFile(evidenceVector("accept-log-two-sizes"))
	if err != nil {
		t.Fatal(err)
	}
	about := index.Key((&statement.Evidence{Bytes: b}).Convicted().ID())
	answers, err := second.Client("").Lookup(t.Context(), log.Query{Keys: []string{about}})
	if err != nil || len(answers.Of(about)) != 1 {
		t.Errorf("%+v, %v", answers, err)
	}
	if out := submit(exitOK, "accept-log-two-sizes"); strings.Count(out, "duplicate") != 2 {
		t.Errorf("%s", out)
	}
	// A log that is down is named, and the other one has it nevertheless.
	second.Lie(func(l *logtest.Lies) { l.Down = true })
	if out := submit(exitFailed, "accept-log-one-size"); !strings.Contains(out, `"failed"`) || third.Size() != 2 {
		t.Errorf("%s, size %d", out, third.Size())
	}
	if out := submit(exitFailed, "index/accept-two-revisions"); !strings.Contains(out, `"convicted"`) || third.Size() != 3 {
		t.Errorf("%s, size %d", out, third.Size())
	}
	submit(exitUntrusted, "reject-innocent-smaller")
	submit(exitUntrusted, "reject-unknown-key-log")
	submit(exitUntrusted, "reject-malformed-index-of-checkpoints")
}

// Evidence against the index of a log is verified, kept and spread like any
// other, and the log goes on being asked.
func TestEvidenceAgainstAnIndex(t *testing.T) {
	w := newLogWorld(t)
	files, err := filepath.Glob(evidenceVector("index/*"))
	if err != nil || len(files) < 60 {
		t.Fatal(len(files), err)
	}
	for _, f := range files {
		want := exitUntrusted
		if strings.HasPrefix(filepath.Base(f), "accept-") {
			want = exitOK
		}
		evidenceStatus(t, w, want, "evidence", "verify", f)
	}
	evidenceStatus(t, w, exitUntrusted, "evidence", "add", evidenceVector("index/reject-innocent-present"))
	evidenceStatus(t, w, exitUntrusted, "evidence", "add", evidenceVector("index/reject-reserved-kind"))
	evidenceStatus(t, w, exitOK, "evidence", "add", evidenceVector("index/accept-absent"))
	evidenceStatus(t, w, exitUntrusted, "log", "forget", w.Origin(), "--evidence", evidenceVector("index/accept-absent"))
	w.want(t, exitOK, "size    300\n", "log", "checkpoint")
	code, out, errs := w.bare("evidence", "list")
	if fields := strings.Split(out, "\t"); code != exitOK || len(fields) != 6 || fields[0] != "index" || fields[1] != w.Origin() || fields[3] != "20" {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
}

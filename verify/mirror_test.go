package verify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/logtest"
)

// mirrored is a world whose log has a mirror of everything that is in it now.
func mirrored(t *testing.T, w *world) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(w.logs[0].Dir())); err != nil {
		t.Fatal(err)
	}
	w.lines = []string{"required mirror file://" + dir}
	return dir
}

func TestReadingWholeFromAMirrorGivesTheSameVerdicts(t *testing.T) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(2, 2)))
	w.lines = []string{"required max-age 24h"}
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	ps["b"].builds("hello", "evil")
	dir := mirrored(t, w)
	w.lines[0] += " max-age 24h"
	pol := w.policy(ps, "completeness proven", "group g any a b")
	w.full = true
	before := w.verify(pol, helloSubject(t), subject(t, "unknown", "x"))
	down(w.logs[0], true)
	w.state = t.TempDir()
	after := w.verify(pol, helloSubject(t), subject(t, "unknown", "x"))
	for i, p := range after.Paths {
		if b := before.Paths[i]; p.Verdict != b.Verdict || p.Reason != b.Reason {
			t.Errorf("%v %s, from the log %v %s", p.Verdict, p.Reason, b.Verdict, b.Reason)
		}
	}
	if after.ExitStatus() != before.ExitStatus() || before.Logs[0].Mirror != "" {
		t.Errorf("exit %d and %d", before.ExitStatus(), after.ExitStatus())
	}
	if s := after.Logs[0].State(); !strings.Contains(s, "answers from whole log at size 6, ") || !strings.Contains(s, " old, as its mirror file://"+dir+" shows it") {
		t.Error(s)
	}
	if warned := strings.Join(after.Warnings, "\n"); !strings.Contains(warned, "log log0: the log at http://") || !strings.Contains(warned, "503") {
		t.Errorf("warnings %q", warned)
	}
}

func TestAMirrorAnswersNoLookupsAndTheReportSaysWhatToDo(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	dir := mirrored(t, w)
	pol := w.policy(ps, "group g 1 a")
	down(w.logs[0], true)
	r := w.verify(pol, helloSubject(t))
	if r.Paths[0].Verdict != Inconclusive || r.ExitStatus() != 4 {
		t.Errorf("%v, exit %d", r.Paths[0].Verdict, r.ExitStatus())
	}
	if s := r.Logs[0].State(); !strings.Contains(s, "; its mirror file://"+dir+" answers no lookups, but --full reads the whole log from it") {
		t.Error(s)
	}
}

// What a mirror shows is held against max-age like what the log shows.
func TestAnOldMirrorIsTooOld(t *testing.T) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(2, 2)))
	w.logs[0].SetTime(time.Now().Add(-48 * time.Hour))
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	mirrored(t, w)
	w.lines[0] += " max-age 24h"
	pol := w.policy(ps, "group g 1 a")
	w.full = true
	down(w.logs[0], true)
	w.expect(pol, helloSubject(t), Inconclusive, "the newest checkpoint of log log0 is 2 days old; the policy allows 24h")
}

func TestAWrongMirrorIsOnlyAWarning(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	dir := mirrored(t, w)
	files, err := filepath.Glob(filepath.Join(dir, "tile", "entries", "*.p", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no bundles: %v", err)
	}
	for _, f := range files {
		if err := os.WriteFile(f, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pol := w.policy(ps, "group g 1 a")
	w.full = true
	w.expect(pol, helloSubject(t), Trusted, "1 found")
	down(w.logs[0], true)
	w.state = t.TempDir()
	r, err := Verify(context.Background(), pol, []Subject{helloSubject(t)}, w.options())
	var refused *RefusedError
	if errors.As(err, &refused) {
		t.Fatalf("the log is refused for what its mirror has: %v", err)
	}
	if err != nil || r.Paths[0].Verdict != Inconclusive || !strings.Contains(strings.Join(r.Warnings, "\n"), "mirror file://"+dir) {
		t.Errorf("%v: %+v", err, r)
	}
}

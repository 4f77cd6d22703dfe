package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/pgtest"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/tracker/eval"
)

// A log that is caught is said on its page and in the metrics, the evidence is kept, and the
// other log goes on.
func TestALogThatShowsTwoHistories(t *testing.T) {
	a, other := newWorld(t, logtest.Witnesses(1, 1)), newWorld(t, logtest.Origin("other.example/00000000"))
	a.register("alice")
	a.builds("alice", 0, 5)
	a.Publish()
	other.register("bob")
	other.Publish()
	forked := newWorld(t, logtest.Witnesses(1, 1))
	forked.register("mallory")
	forked.builds("mallory", 0, 9)
	forked.Publish()
	dir := filepath.Join(t.TempDir(), "tracker")
	logsConfig(t, dir, "", a, other)
	r := start(t, dir)
	r.awaitReady()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(strings.Replace(string(text), a.URL(), forked.URL(), 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir)
	r.until("evidence was found and is kept")
	r.until("two histories")
	other.builds("bob", 0, 4)
	other.Publish()
	r.await("/metrics", func(_ int, body string) bool {
		return strings.Contains(body, `firn_tracker_log_replayed{origin="other.example/00000000"} 6`) &&
			strings.Contains(body, `firn_tracker_log_followed{origin="`+a.Origin()+`"} 0`) &&
			strings.Contains(body, `firn_tracker_log_replayed{origin="`+a.Origin()+`"} 7`) &&
			!strings.Contains(body, `firn_tracker_log_errors_total{kind="fork",origin="`+a.Origin()+`"} 0`)
	})
	files, err := os.ReadDir(filepath.Join(dir, "evidence"))
	if err != nil || len(files) == 0 {
		t.Errorf("evidence: %d files, %v", len(files), err)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	// A rebuild says it with its exit status, and has what the other log holds.
	out, err := command(t, "rebuild", dir).CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != exitMisbehaviour || !strings.Contains(string(out), "two histories") {
		t.Errorf("%v: %s", err, out)
	}
}

// Evaluations that come while it serves are taken, in order; one that is damaged is named, and the
// others go on.
func TestEvaluationsAreTakenAsTheyCome(t *testing.T) {
	w := newWorld(t)
	w.register("alice")
	w.builds("alice", 0, 3)
	w.Publish()
	dir := filepath.Join(t.TempDir(), "tracker")
	logsConfig(t, dir, "", w)
	r := start(t, dir)
	r.awaitReady()
	folder := eval.NewFolder(filepath.Join(dir, "evals"))
	evaluate(t, folder, "stable", 1, 3)
	r.until("an evaluation was added")
	evaluate(t, folder, "unstable", 1, 2)
	r.await("/metrics", func(_ int, body string) bool {
		return strings.Contains(body, "firn_tracker_evaluations_total 4") && strings.Contains(body, "firn_tracker_evaluations_stuck 0")
	})
	if err := os.WriteFile(filepath.Join(dir, "evals", "stable", "2-meta.jsonl.gz"), []byte("nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.until("2-meta.jsonl.gz")
	evaluate(t, folder, "zeta", 1, 1)
	r.await("/metrics", func(_ int, body string) bool {
		return strings.Contains(body, "firn_tracker_evaluations_total 6") && strings.Contains(body, "firn_tracker_evaluations_stuck 1")
	})
	if err := os.Remove(filepath.Join(dir, "evals", "stable", "2-meta.jsonl.gz")); err != nil {
		t.Fatal(err)
	}
	r.await("/metrics", func(_ int, body string) bool { return strings.Contains(body, "firn_tracker_evaluations_stuck 0") })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	got := output(t, "dump", dir)
	output(t, "rebuild", dir)
	if want := output(t, "dump", dir); got != want {
		t.Errorf("a rebuild gives something else: %s", difference(got, want))
	}
}

// evaluate keeps both tiers of an evaluation with n attributes.
func evaluate(t *testing.T, folder *eval.Folder, channel string, seq int64, n int) {
	t.Helper()
	h := eval.Header{Schema: eval.Schema, Channel: channel, Seq: seq, Tier: eval.Meta, Revision: "r1", Time: time.Unix(1_700_000_000+seq, 0).UTC(), System: "x86_64-linux", Full: true}
	meta, drvs := map[string]eval.Attribute{}, map[string]eval.Attribute{}
	for i := range n {
		_, name, out, drv := made(i)
		attr := fmt.Sprintf("package-%d", i)
		meta[attr] = eval.Attribute{Attr: attr, Name: name, Pname: attr, Version: "1.0", System: h.System}
		drvs[attr] = eval.Attribute{Attr: attr, Name: name, System: h.System, Drv: drv.Base(), Outputs: map[string]string{"out": out.Base()}}
	}
	for _, tier := range []eval.Tier{eval.Meta, eval.Drvs} {
		h.Tier = tier
		attrs := meta
		if tier == eval.Drvs {
			attrs = drvs
		}
		if _, _, err := folder.Add(h, attrs); err != nil {
			t.Fatal(err)
		}
	}
}

// A database that is removed while it is written to is an error, not a loss: after a start
// all is there again.
func TestADatabaseThatIsRemoved(t *testing.T) {
	w := newWorld(t)
	w.register("alice")
	w.builds("alice", 0, 300)
	w.Publish()
	dir := filepath.Join(t.TempDir(), "tracker")
	logsConfig(t, dir, "", w)
	r := start(t, dir)
	r.awaitReady()
	for _, name := range []string{"tracker.db", "tracker.db-wal", "tracker.db-shm"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	r.until("was removed or replaced while the tracker ran")
	for range r.lines {
	}
	if err := r.cmd.Wait(); err == nil || r.cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("%v", err)
	}
	r = start(t, dir)
	r.awaitReady()
	if _, body := r.get("/metrics"); !strings.Contains(body, `outcome="known"} 256`) {
		t.Error("the leaves that were verified are verified again")
	}
	if status, _ := r.get("/healthz"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

// A PostgreSQL that goes away in the middle of a replay is said so, and the replay goes on where it
// was when it is back.
func TestAPostgresThatGoesAway(t *testing.T) {
	pg := pgtest.New(t)
	w := newWorld(t)
	w.register("alice")
	w.builds("alice", 0, 5500)
	w.Publish()
	dir := filepath.Join(t.TempDir(), "tracker")
	logsConfig(t, dir, fmt.Sprintf("database = %q\n", pg.Database(t)), w)
	r := start(t, dir)
	r.await("/metrics", func(_ int, body string) bool {
		return strings.Contains(body, "firn_tracker_log_size{") && !strings.Contains(body, "firn_tracker_log_replayed{origin=\""+w.Origin()+"\"} 0\n")
	})
	pg.Stop()
	if line := r.until("the database does not take what the log holds"); !strings.Contains(line, "tried again") {
		t.Error(line)
	}
	if status, _ := r.get("/healthz"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d while the database is down", status)
	}
	if status, _ := r.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d while entries are missing", status)
	}
	if err := pg.Start(); err != nil {
		t.Fatal(err)
	}
	r.awaitReady()
	r.until("the log is followed again")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	got := output(t, "dump", dir)
	fresh := filepath.Join(t.TempDir(), "fresh")
	logsConfig(t, fresh, "", w)
	output(t, "rebuild", fresh)
	if want := output(t, "dump", fresh); got != want {
		t.Errorf("PostgreSQL that went away and SQLite that did not: %s", difference(got, want))
	}
}

// Of two trackers on one PostgreSQL the second says who is the first.
func TestOnePostgresHasOneTracker(t *testing.T) {
	pg := pgtest.New(t)
	w := newWorld(t)
	w.register("alice")
	w.Publish()
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	database := fmt.Sprintf("database = %q\n", pg.Database(t))
	logsConfig(t, first, database, w)
	logsConfig(t, second, database, w)
	start(t, first)
	out, err := command(t, "serve", "--listen", "127.0.0.1:0", second).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another tracker writes to this database: firn-tracker (process ") {
		t.Errorf("%v: %s", err, out)
	}
}

// Another policy makes the database again, by itself.
func TestAnotherPolicyMakesTheDatabaseAgain(t *testing.T) {
	w := newWorld(t)
	w.register("alice")
	w.builds("alice", 0, 3)
	w.Publish()
	dir := filepath.Join(t.TempDir(), "tracker")
	logsConfig(t, dir, "", w)
	output(t, "rebuild", dir)
	plain := output(t, "dump", dir)
	logsConfig(t, dir, "random = [\"x*\"]\n", w)
	r := start(t, dir)
	r.awaitReady()
	r.await("/metrics", func(_ int, body string) bool {
		return strings.Contains(body, `firn_tracker_log_replayed{origin="`+w.Origin()+`"} 5`)
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := output(t, "dump", dir); got == plain || strings.Count(got, "\n") != strings.Count(plain, "\n") {
		t.Errorf("it is as before: %s", difference(got, plain))
	}
}

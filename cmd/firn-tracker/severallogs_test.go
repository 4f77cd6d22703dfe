package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// Three logs hold statements of each other's operators. One goes back, one shows two histories and one has
// ended: each is said, in one sentence and in numbers, and the database is what they held before.
func TestThreeLogsAndEachIsTrouble(t *testing.T) {
	back := newWorld(t, logtest.Origin("back.example/00000001"), logtest.Witnesses(2, 1))
	fork := newWorld(t, logtest.Origin("fork.example/00000002"), logtest.Witnesses(1, 1))
	ends := newWorld(t, logtest.Origin("ends.example/00000003"))
	back.register("alice")
	old := back.Publish()
	back.builds("alice", 0, 40)
	back.builds("bob", 0, 30) // who is registered in the other one
	fork.register("bob")
	fork.builds("bob", 10, 40)
	fork.builds("alice", 0, 20) // again
	ends.builds("alice", 30, 30)
	ends.builds("bob", 0, 60)
	ends.Add(ends.State(&statement.Freeze{Origin: ends.Origin(), Reason: "moved"}))
	logs := []*world{back, fork, ends}
	for _, w := range logs {
		w.Publish()
	}
	forked := newWorld(t, logtest.Origin("fork.example/00000002"), logtest.Witnesses(1, 1))
	forked.register("mallory")
	forked.builds("mallory", 0, 99)
	forked.Publish()

	dir := filepath.Join(t.TempDir(), "tracker")
	logsConfig(t, dir, "", logs...)
	r := start(t, dir)
	r.awaitReady()
	before := output(t, "dump", dir)
	metric := func(name, labels string, value any) string {
		return fmt.Sprintf("firn_tracker_%s{%s} %v\n", name, labels, value)
	}
	for w, n := range map[*world]int{back: 72, fork: 62, ends: 91} {
		origin := fmt.Sprintf("origin=%q", w.Origin())
		r.await("/metrics", func(_ int, body string) bool {
			for _, line := range []string{
				metric("log_size", origin, n), metric("log_replayed", origin, n), metric("log_lag_entries", origin, 0), metric("log_lag_seconds", origin, 0), metric("log_followed", origin, 1),
			} {
				if !strings.Contains(body, line) {
					return false
				}
			}
			sum := 0
			for _, outcome := range []string{"verified", "known", "unverified", "left-out"} {
				var k int
				_, after, _ := strings.Cut(body, "firn_tracker_log_entries_total{"+origin+`,outcome="`+outcome+`"} `)
				fmt.Sscan(after, &k)
				sum += k
			}
			return sum == n
		})
	}

	back.Lie(func(l *logtest.Lies) { l.Checkpoint = old })
	fork.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, _ int, _ []byte) (int, []byte) {
			name := "checkpoint"
			if path != name {
				name = path
			}
			b, err := os.ReadFile(filepath.Join(forked.Dir(), filepath.FromSlash(name)))
			if err != nil {
				return http.StatusNotFound, nil
			}
			return http.StatusOK, b
		}
	})
	says := map[string]string{
		back.Origin(): "The log went back: back.example/00000001 shows size 2, and size 72 was seen before; it is asked again until it has caught up.",
		fork.Origin(): "The log showed two histories, so nothing more is taken from it; both signed checkpoints are kept in the data folder, as evidence/",
		ends.Origin(): "This log is frozen: nothing is added any more.",
	}
	r.await("/logs.json", func(_ int, body string) bool {
		for _, sentence := range says {
			if !strings.Contains(body, sentence) {
				return false
			}
		}
		return true
	})
	_, page := r.get("/logs.json")
	if strings.Contains(page, dir) {
		t.Errorf("the page names a path of this machine: %s", page)
	}
	_, body := r.get("/metrics")
	for _, line := range []string{
		metric("log_followed", fmt.Sprintf("origin=%q", back.Origin()), 0),
		metric("log_followed", fmt.Sprintf("origin=%q", fork.Origin()), 0),
		metric("log_followed", fmt.Sprintf("origin=%q", ends.Origin()), 1),
		metric("log_replayed", fmt.Sprintf("origin=%q", back.Origin()), 72),
		metric("log_replayed", fmt.Sprintf("origin=%q", fork.Origin()), 62),
	} {
		if !strings.Contains(body, line) {
			t.Errorf("no %s", line)
		}
	}
	for kind, w := range map[string]*world{"stale": back, "fork": fork} {
		if strings.Contains(body, metric("log_errors_total", fmt.Sprintf("kind=%q,origin=%q", kind, w.Origin()), 0)) {
			t.Errorf("%s is not counted", kind)
		}
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if after := output(t, "dump", dir); after != before {
		t.Errorf("something was taken: %s", difference(after, before))
	}
}

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/pgtest"
	"github.com/firn-log/firn/tracker/eval"
)

// refused runs a command that must not work beside another one, and returns what it says.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...).CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") > 2 {
		t.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Whatever reads works beside what writes, on both databases; of two that write the second is told
// what to do. Evaluations may come at any time.
func TestCommandsBesideEachOther(t *testing.T) {
	databases := map[string]func() string{
		"SQLite":     func() string { return "" },
		"PostgreSQL": func() string { return fmt.Sprintf("database = %q\n", pgtest.New(t).Database(t)) },
	}
	for name, database := range databases {
		t.Run(name, func(t *testing.T) { beside(t, database()) })
	}
}

func beside(t *testing.T, database string) {
	w := newWorld(t)
	w.register("alice")
	w.builds("alice", 0, 300)
	w.Publish()
	waits := make(chan struct{})
	asked := make(chan struct{}, 10)
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tile/entries/001") {
			asked <- struct{}{}
			<-waits
		}
		w.Handler().ServeHTTP(rw, r)
	}))
	t.Cleanup(slow.Close)
	dir, other := filepath.Join(t.TempDir(), "tracker"), filepath.Join(t.TempDir(), "other")
	logsConfig(t, dir, database, w)
	logsConfig(t, other, database, w)
	if says := refused(t, "dump", dir); !strings.Contains(says, "rebuild") && !strings.Contains(says, "unable to open") {
		t.Errorf("before there is a database: %s", says)
	}
	folder := eval.NewFolder(filepath.Join(dir, "evals"))
	evaluate(t, folder, "stable", 1, 5)

	writes := func(while string) {
		t.Helper()
		for _, args := range [][]string{{"serve", "--listen", "127.0.0.1:0", dir}, {"rebuild", dir}} {
			if says := refused(t, args...); !strings.Contains(says, "stop process") {
				t.Errorf("%s while %s runs: %s", args[0], while, says)
			}
			if database == "" {
				continue
			}
			args[len(args)-1] = other
			if says := refused(t, args...); !strings.Contains(says, "stop it, or give this one a database of its own") {
				t.Errorf("%s in another folder while %s runs: %s", args[0], while, says)
			}
		}
	}

	r := start(t, dir)
	r.awaitReady()
	r.until("tier=drvs")
	writes("serve")
	if n := strings.Count(output(t, "queue", "show", dir), "\n"); n != 5 {
		t.Errorf("%d derivations in the queue", n)
	}
	evaluate(t, folder, "unstable", 1, 7)
	r.until("channel=unstable seq=1 tier=drvs")
	if n := strings.Count(output(t, "queue", "show", "--channel", "unstable", dir), "\n"); n != 7 {
		t.Errorf("%d derivations in the queue of a channel that came while it served", n)
	}
	served := output(t, "dump", dir)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if again := output(t, "dump", dir); served != again {
		t.Errorf("a dump beside it is another one: %s", difference(served, again))
	}

	// The same while it is made again, from a log that does not answer for the time being.
	text, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(strings.Replace(string(text), w.URL(), slow.URL, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	rebuild := command(t, "rebuild", dir)
	if err := rebuild.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	writes("rebuild")
	if half := output(t, "dump", dir); len(half) >= len(served) || !strings.Contains(half, `["config","digest"`) {
		t.Errorf("a dump beside it has %d bytes", len(half))
	}
	output(t, "queue", "show", dir)
	close(waits)
	if err := rebuild.Wait(); err != nil {
		t.Error(err)
	}
	if again := strings.ReplaceAll(output(t, "dump", dir), slow.URL, w.URL()); served != again {
		t.Errorf("made again it is another one: %s", difference(served, again))
	}
}

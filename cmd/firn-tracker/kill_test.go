package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/logtest"
)

// running is a firn-tracker in a process of its own.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	lines chan string
}

// command returns firn-tracker with arguments, in a process of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), programEnv+"=1", "HOME="+t.TempDir())
	return cmd
}

// start starts a tracker that serves and returns when it does.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{t: t, cmd: command(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...), lines: make(chan string, 10_000)}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill(); _ = r.cmd.Wait() })
	go func() {
		for s := bufio.NewScanner(stderr); s.Scan(); {
			r.lines <- s.Text()
		}
		close(r.lines)
	}()
	_, after, _ := strings.Cut(r.until("msg=serving"), "address=")
	addr, _, _ := strings.Cut(after, " ")
	r.url = "http://" + addr
	return r
}

// until returns the first line that holds text.
func (r *running) until(text string) string {
	r.t.Helper()
	var seen []string
	for line := range r.lines {
		if strings.Contains(line, text) {
			return line
		}
		seen = append(seen, line)
	}
	r.t.Fatalf("it ended without saying %q:\n%s", text, strings.Join(seen, "\n"))
	return ""
}

func (r *running) get(path string) (int, string) {
	r.t.Helper()
	resp, err := http.Get(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// await asks until what it answers is as it should be.
func (r *running) await(path string, good func(status int, body string) bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		status, body := r.get(path)
		if good(status, body) {
			return
		}
		select {
		case <-ctx.Done():
			r.t.Fatalf("%s: %d %s", path, status, body)
		case <-tick.C:
		}
	}
}

func (r *running) awaitReady() {
	r.t.Helper()
	r.await("/readyz", func(status int, _ string) bool { return status == http.StatusOK })
}

func (r *running) stop() error {
	_ = r.cmd.Process.Signal(os.Interrupt)
	for range r.lines {
	}
	return r.cmd.Wait()
}

// output runs a command to its end.
func output(t *testing.T, args ...string) string {
	t.Helper()
	cmd := command(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// logsConfig writes the configuration of a tracker of logs.
func logsConfig(t *testing.T, dir, more string, worlds ...*world) {
	t.Helper()
	var b strings.Builder
	b.WriteString("poll = \"100ms\"\n" + more)
	for _, w := range worlds {
		fmt.Fprintf(&b, "[[log]]\nurl = %q\npolicy = %q\n", w.URL(), w.policyFile())
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Whenever it is killed, it goes on with the entry that comes next: in the end the database is that
// of a replay from nothing, and of one that read the logs the other way round.
func TestKilledAtAnyMomentItGoesOnExactly(t *testing.T) {
	a, b := newWorld(t), newWorld(t, logtest.Origin("other.example/00000000"))
	a.register("alice")
	a.builds("alice", 0, 1500)
	a.builds("bob", 0, 20) // whose key comes later, and in the other log too
	a.register("bob")
	a.builds("bob", 20, 700)
	a.Publish()
	b.builds("bob", 100, 300)
	b.register("carol")
	b.builds("carol", 0, 1500)
	b.Publish()
	dir := filepath.Join(t.TempDir(), "killed")
	logsConfig(t, dir, "", a, b)
	kills := 0
	for range 12 {
		r := start(t, dir)
		after := time.NewTimer(time.Duration(rand.Int64N(int64(400 * time.Millisecond))))
		<-after.C
		if status, _ := r.get("/readyz"); status != http.StatusOK {
			kills++
		}
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	}
	r := start(t, dir)
	r.awaitReady()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	got := output(t, "dump", dir)
	for name, order := range map[string][]*world{"from nothing": {a, b}, "the other way round": {b, a}} {
		fresh := filepath.Join(t.TempDir(), "fresh")
		logsConfig(t, fresh, "", order...)
		sum := output(t, "rebuild", fresh)
		if again := output(t, "rebuild", fresh); again != sum {
			t.Errorf("%s: the second rebuild gives %s, the first %s", name, again, sum)
		}
		if want := output(t, "dump", fresh); want != got {
			t.Errorf("%s: another database, after %d kills in the middle: %s", name, kills, difference(got, want))
		}
	}
	if kills < 3 {
		t.Logf("only %d of 12 kills came before the end", kills)
	}
}

// difference shows the first lines that two texts do not share.
func difference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d of %d and %d:\n%.300s\n%.300s", i+1, len(a), len(b), a[i], b[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(a), len(b))
}

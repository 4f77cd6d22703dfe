package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

var address = regexp.MustCompile(`msg=serving .*address=(\S+)`)

// startProgram runs this test binary as firn-auditor and returns it with its URL.
func startProgram(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "serve", dir)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			go func() {
				for lines.Scan() {
					if testing.Verbose() {
						fmt.Println(lines.Text())
					}
				}
			}()
			return cmd, "http://" + m[1]
		}
	}
	t.Fatal("the program ended before it served")
	return nil, ""
}

// computed returns how many entries the auditor has computed, and how many there are.
func computed(url string) (computed, size uint64) {
	var st struct {
		Shown []struct {
			Audit struct{ Computed, Size uint64 }
		}
	}
	resp, err := http.Get(url + "/v1/witness")
	if err != nil {
		return 0, 1
	}
	defer resp.Body.Close()
	if json.NewDecoder(resp.Body).Decode(&st) != nil || len(st.Shown) != 1 || st.Shown[0].Audit.Size == 0 {
		return 0, 1
	}
	return st.Shown[0].Audit.Computed, st.Shown[0].Audit.Size
}

// addCheckpoint submits a checkpoint that the auditor cosigns as its first.
func addCheckpoint(t *testing.T, url string, note []byte) int {
	t.Helper()
	resp, err := http.Post(url+"/add-checkpoint", "", bytes.NewReader(append([]byte("old 0\n\n"), note...)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	t.Logf("%d %s", resp.StatusCode, bytes.TrimSpace(b))
	return resp.StatusCode
}

// The program is killed again and again while it replays a log. It gets to the end,
// and what was wrong on the way is refused.
func TestKilledWhileReplaying(t *testing.T) {
	l := logtest.New(t)
	var m index.Memory
	add := func(leaf []byte) { m.Add(l.Add(leaf), leaf) }
	s := logtest.Signer(t, "somebody")
	var notes [][]byte
	for part := range 60 {
		for i := range 500 {
			add(logtest.Leaf(t, s, logtest.Closure(fmt.Sprint(part, "-", i))))
		}
		l.Publish()
		root, size := m.Root(), l.Size()
		if part == 40 {
			root[0] ^= 1
		}
		add(l.State(&statement.Revision{Origin: l.Origin(), Size: size, Root: root, MapVersion: index.MapVersion}))
		notes = append(notes, l.Publish())
	}
	dir := filepath.Join(t.TempDir(), "a")
	run(t.Context(), &app{Stdout: io.Discard, Stderr: io.Discard}, []string{"init", "--name", "auditor.example/a1", "--log", l.VKey(), "--url", l.URL(), "--listen", "127.0.0.1:0", dir})
	rng := rand.New(rand.NewPCG(1, 1))
	kills := 0
	for {
		cmd, url := startProgram(t, dir)
		until := time.Now().Add(time.Duration(rng.IntN(600)) * time.Millisecond)
		done := false
		for !done && (time.Now().Before(until) || kills >= 8) {
			n, size := computed(url)
			done = n == size
		}
		if done {
			if got := addCheckpoint(t, url, notes[59]); got != 403 {
				t.Errorf("a checkpoint with a wrong revision: %d", got)
			}
			if got := addCheckpoint(t, url, notes[39]); got != 200 {
				t.Errorf("a checkpoint before it: %d", got)
			}
			break
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		kills++
	}
	t.Logf("killed %d times", kills)
	if kills == 0 {
		t.Skip("it was faster than every kill")
	}
}

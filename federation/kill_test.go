package federation_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// mirrorEnv makes the test program a mirror: DIR, URL.
const mirrorEnv = "FIRN_TEST_MIRROR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(mirrorEnv); dir != "" {
		if err := mirrorProgram(dir, os.Getenv("FIRN_TEST_URL")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// mirrorProgram mirrors the log at url once and says so.
func mirrorProgram(dir, url string) error {
	text, err := os.ReadFile(filepath.Join(dir, "policy"))
	if err != nil {
		return err
	}
	pol, err := policy.Parse(text)
	if err != nil {
		return err
	}
	ctx := context.Background()
	hub, err := federation.NewHub(federation.Options{
		Dir: filepath.Join(dir, "hub"), Evidence: evidence.NewStore(filepath.Join(dir, "evidence"), evidence.WithJudge(fraud.Judge)),
		Logs: []federation.Log{{Policy: pol, Origin: pol.Origins()[0], URLs: []string{url}}},
	})
	if err != nil {
		return err
	}
	poller := federation.NewPoller(federation.PollerOptions{Hub: hub})
	target := federation.Target{Kind: federation.TargetLog, Name: "log", URL: url, Origin: pol.Origins()[0]}
	if err := poller.Poll(ctx, target, map[string][32]byte{}, map[string]bool{}); err != nil {
		return err
	}
	m, err := federation.NewMirror(ctx, federation.MirrorOptions{Hub: hub, Origin: pol.Origins()[0], Dir: filepath.Join(dir, "mirror"), URLs: []string{url}})
	if err != nil {
		return err
	}
	fmt.Println("started")
	if err := m.Pull(ctx); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

// What a mirror shows is whole at every moment, whenever it is killed.
func TestMirrorKilledAtAnyMomentIsWhole(t *testing.T) {
	l := logtest.New(t)
	p := newPeer(t, l.Policy(), l.URL())
	if err := os.WriteFile(filepath.Join(p.dir, "policy"), []byte(l.PolicyText()), 0o600); err != nil {
		t.Fatal(err)
	}
	size, kills, shown := 0, 0, uint64(0)
	for round := range 12 {
		grow(l, size, size+3000, "leaf")
		size += 3000
		if killed(t, p.dir, l.URL(), time.Duration(round*7)*time.Millisecond) {
			kills++
		}
		m := &mirrored{peer: p, dir: filepath.Join(p.dir, "mirror")}
		note, err := os.ReadFile(filepath.Join(m.dir, "checkpoint"))
		if err != nil {
			continue // not even one yet
		}
		h := head(t, note)
		if h.Size < shown {
			t.Errorf("the mirror went back from %d to %d", shown, h.Size)
		}
		shown = h.Size
		m.complete(shown)
	}
	if kills == 0 {
		t.Error("nothing was killed")
	}
	if killed(t, p.dir, l.URL(), time.Minute) {
		t.Fatal("it did not end")
	}
	m := &mirrored{peer: p, dir: filepath.Join(p.dir, "mirror")}
	m.whole(uint64(size))
	m.holds()
}

// killed runs a mirror, kills it after a while, and reports whether it was killed
// before it had ended.
func killed(t *testing.T, dir, url string, after time.Duration) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), mirrorEnv+"="+dir, "FIRN_TEST_URL="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the mirror did not start: %v", cmd.Wait())
	}
	kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	done := lines.Scan()
	_ = cmd.Wait()
	return !done
}

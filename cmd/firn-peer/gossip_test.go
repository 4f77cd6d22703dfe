package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/internal/cmdline"
	"github.com/firn-log/firn/log/logtest"
)

// words is what a running program has said so far.
type words struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

// find waits until the program has said something.
func (w *words) find(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var m []string
	eventually(t, pattern, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		m = re.FindStringSubmatch(w.b.String())
		return m != nil
	})
	return m[1]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

// command runs one command to its end and returns what it printed.
func command(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), &app{Stdout: &out, Stderr: &errs}, args); code != cmdline.ExitOK {
		t.Fatalf("%v: status %d: %s", args, code, &errs)
	}
	return strings.TrimSpace(out.String())
}

// background runs the peer in dir until the test ends.
func background(t *testing.T, dir string) *words {
	w := new(words)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, &app{Stdout: w, Stderr: w}, []string{"serve", dir}) }()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != cmdline.ExitOK {
			t.Errorf("%s: status %d: %s", dir, code, &w.b)
		}
	})
	return w
}

// Two peers, one of which nobody tells where the log is.
func TestTwoPeersGossip(t *testing.T) {
	l := logtest.New(t)
	l.Add([]byte("leaf"))
	note := l.Publish()
	tmp := t.TempDir()
	policy := func(name, text string) string {
		p := filepath.Join(tmp, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	near, far := filepath.Join(tmp, "near"), filepath.Join(tmp, "far")
	listen := []string{"--listen", "127.0.0.1:0", "--p2p-listen", "/ip4/127.0.0.1/tcp/0"}
	init := func(dir, pol string, more ...string) string {
		return command(t, append(append([]string{"init", "--policy", pol, dir}, listen...), more...)...)
	}
	// Who is dialled has to know the other first; so its id is made before it is told.
	farID := init(far, policy("far.policy", "log "+l.VKey()+"\nquorum none\n"), "--p2p-peer", "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")
	if got := command(t, "id", far); got != farID {
		t.Errorf("id prints %q, init printed %q", got, farID)
	}
	nearID := init(near, policy("near.policy", "log "+l.VKey()+" "+l.URL()+"\nquorum none\n"), "--p2p-peer", farID)

	addr := background(t, near).find(t, `(/ip4/127\.0\.0\.1/tcp/[0-9]+/p2p/`+nearID+`)`)
	file := filepath.Join(far, configName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA`).ReplaceAll(text, []byte(addr))
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	host := background(t, far).find(t, `msg=serving address=(\S+)`)
	eventually(t, "the checkpoint is at the far peer", func() bool {
		resp, err := http.Get("http://" + host + "/" + federation.OriginHash(l.Origin()) + "/latest")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK && bytes.Equal(b, note)
	})
}

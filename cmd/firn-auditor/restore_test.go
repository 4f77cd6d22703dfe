package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/witness"
)

// testAuditor is the auditor in a directory, behind HTTP and following its log.
type testAuditor struct {
	t    *testing.T
	log  *logtest.Log
	http *httptest.Server
	stop func()
}

func openAuditor(t *testing.T, l *logtest.Log, dir string) *testAuditor {
	t.Helper()
	c, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProgram(t.Context(), dir, c, slog.New(slog.DiscardHandler), false)
	if err != nil {
		t.Fatal(err)
	}
	follow := p.follow(t.Context())
	a := &testAuditor{t: t, log: l, http: httptest.NewServer(p.server.Handler())}
	a.stop = func() {
		a.http.Close()
		follow()
		if err := p.server.Close(); err != nil {
			t.Error(err)
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}
	return a
}

// add submits a checkpoint of a log and returns the answer.
func (a *testAuditor) add(of *logtest.Log, old uint64, note []byte) (status int, body string) {
	a.t.Helper()
	size := of.Size()
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", old)
	if old > 0 && old < size {
		proof, err := of.Consistency(a.t.Context(), old, size)
		if err != nil {
			a.t.Fatal(err)
		}
		for _, h := range proof {
			fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h[:]))
		}
	}
	fmt.Fprintf(&b, "\n%s", note)
	resp, err := http.Post(a.http.URL+"/add-checkpoint", "", &b)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Logf("old %d, size %d: %d %s", old, size, resp.StatusCode, bytes.TrimSpace(answer))
	return resp.StatusCode, string(answer)
}

func (a *testAuditor) want(old uint64, note []byte, status int) string {
	a.t.Helper()
	got, body := a.add(a.log, old, note)
	if got != status {
		a.t.Errorf("old %d: status %d, want %d: %s", old, got, status, body)
	}
	return body
}

func (a *testAuditor) get(path string) (int, string) {
	a.t.Helper()
	resp, err := http.Get(a.http.URL + path)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// An auditor that was put back to a snapshot cosigns nothing until a peer has shown
// what it cosigned last, and never a history that goes on from the snapshot only.
func TestARestoredAuditorServesReadsOnlyUntilItsPeerAnswers(t *testing.T) {
	var newest atomic.Value
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if note, ok := newest.Load().(string); ok {
			_, _ = io.WriteString(w, note)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer peer.Close()
	l, fork := logtest.New(t), logtest.New(t)
	both := func(n int) (notes [2][]byte) {
		s := logtest.Signer(t, "somebody")
		for i := range n {
			leaf := logtest.Leaf(t, s, logtest.Closure(fmt.Sprint(l.Size(), "-", i)))
			l.Add(leaf)
			fork.Add(leaf)
		}
		return [2][]byte{l.Publish(), fork.Publish()}
	}
	dir := filepath.Join(t.TempDir(), "a")
	code := run(t.Context(), &app{Stdout: io.Discard, Stderr: io.Discard}, []string{
		"init", "--name", "auditor.example/a1", "--log", l.VKey(), "--url", l.URL(), "--peer", peer.URL, "--listen", "127.0.0.1:0", dir,
	})
	if code != 0 {
		t.Fatal("no auditor was made")
	}
	a := openAuditor(t, l, dir)
	old := both(5)[0]
	a.want(0, old, 200)
	small := l.Size()
	a.stop()
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	if out, err := exec.Command("cp", "-a", dir, snapshot).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	a = openAuditor(t, l, dir)
	l.Revise()
	large := l.Publish()
	a.want(small, large, 200)
	cosigned := l.Size()
	_, state := a.get(monitoring(l))
	a.stop()

	// The snapshot, in the place of what there was.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", snapshot, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	a = openAuditor(t, l, dir)
	a.want(small, large, 503)
	fork.Add([]byte("another history"))
	other := fork.Publish()
	if got, _ := a.add(fork, small, other); got != 503 {
		t.Errorf("another history: %d", got)
	}
	if status, body := a.get("/readyz"); status != 503 || !strings.Contains(body, "changed") {
		t.Errorf("ready: %d %s", status, body)
	}
	if status, _ := a.get(monitoring(l)); status != 200 {
		t.Errorf("reads are not served: %d", status)
	}
	a.stop()

	newest.Store(state)
	a = openAuditor(t, l, dir)
	if body := a.want(small, large, 409); body != fmt.Sprintf("%d\n", cosigned) {
		t.Errorf("it goes on from %q, want %d", body, cosigned)
	}
	l.Add([]byte("something more"))
	a.want(cosigned, l.Publish(), 200)
	if got, _ := a.add(fork, small, other); got == 200 {
		t.Error("another history was cosigned")
	}
	a.stop()
}

// monitoring is where an auditor shows what it cosigned last of a log.
func monitoring(l *logtest.Log) string { return "/" + witness.OriginHash(l.Origin()) + "/checkpoint" }

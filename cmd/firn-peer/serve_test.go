package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// program is a firn-peer that runs until the test ends.
type program struct {
	url   string
	lines chan string // what it says
	stop  func() int
}

func start(t *testing.T, dir string) *program {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{lines: make(chan string, 10_000)}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, &app{Stdout: io.Discard, Stderr: w}, []string{"serve", dir})
		w.Close()
	}()
	go func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
	}()
	stopped := false
	p.stop = func() int {
		if stopped {
			return 0
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() { p.stop() })
	line := p.until(t, "msg=serving")
	_, after, _ := strings.Cut(line, "address=")
	address, _, _ := strings.Cut(after, " ")
	p.url = "http://" + address
	return p
}

// until returns the first line that holds text.
func (p *program) until(t *testing.T, text string) string {
	t.Helper()
	var seen []string
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("it ended without saying %q:\n%s", text, strings.Join(seen, "\n"))
			}
			if strings.Contains(line, text) {
				return line
			}
			seen = append(seen, line)
		case <-t.Context().Done():
			t.Fatalf("it never said %q", text)
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d %s %v", url, resp.StatusCode, b, err)
	}
	return string(b)
}

// made makes a peer that asks fast.
func made(t *testing.T, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "peer")
	var words strings.Builder
	args = append(append([]string{"init", "--listen", "127.0.0.1:0"}, args...), dir)
	if code := run(t.Context(), &app{Stdout: io.Discard, Stderr: &words}, args); code != 0 {
		t.Fatalf("status %d: %s", code, &words)
	}
	file := filepath.Join(dir, configName)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := strings.Replace(string(b), "'10s'", "'100ms'", 1)
	if out == string(b) {
		t.Fatalf("no interval in\n%s", b)
	}
	if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// policyFile writes the policy of a log, with its URL.
func policyFile(t *testing.T, l *logtest.Log) string {
	t.Helper()
	text := strings.Replace(l.PolicyText(), l.VKey(), l.VKey()+" "+l.URL(), 1)
	file := filepath.Join(t.TempDir(), "log.policy")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func grow(l *logtest.Log, from, to int, what string) []byte {
	for i := from; i < to; i++ {
		l.Add(fmt.Appendf(nil, "%s %d", what, i))
	}
	return l.Publish()
}

// Two peers see two histories of one log, a third sees only the other peers:
// evidence is at all three, verifies offline, and a restart keeps it.
func TestPeersFindAFork(t *testing.T) {
	a, b := logtest.New(t, logtest.Witnesses(2, 2)), logtest.New(t, logtest.Witnesses(2, 2))
	grow(a, 0, 500, "leaf")
	grow(b, 0, 500, "leaf")
	one := start(t, made(t, "--policy", policyFile(t, a), "--mirror"))
	one.until(t, "msg=mirrored")
	twoDir := made(t, "--policy", policyFile(t, b), "--mirror", "--peer", one.url)
	two := start(t, twoDir)
	two.until(t, "msg=mirrored")
	nowhere := logtest.New(t, logtest.Witnesses(2, 2))
	nowhere.Lie(func(lies *logtest.Lies) { lies.Down = true })
	three := start(t, made(t, "--policy", policyFile(t, nowhere), "--mirror", "--peer", one.url, "--peer", two.url))
	three.until(t, "msg=mirrored") // from the mirrors of the others
	grow(a, 500, 600, "a")
	grow(b, 500, 700, "b")
	two.until(t, "evidence: two histories")
	three.until(t, "evidence: two histories")
	// Against the log and both witnesses: the words come before the rest is done. A
	// witness that cosigned in two seconds is convicted by several pieces.
	var list string
	eventually(t, "all evidence is there", func() bool {
		list = get(t, two.url+"/evidence")
		return strings.Contains(list, `"kind":"log"`) && strings.Contains(list, `"key":"witness.example/w1+`) && strings.Contains(list, `"key":"witness.example/w2+`)
	})
	_, rest, _ := strings.Cut(list, `"sha256":"`)
	hash, _, _ := strings.Cut(rest, `"`)
	e, err := evidence.Parse([]byte(get(t, two.url+"/evidence/"+hash)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Verify(a.Policy()); err != nil {
		t.Errorf("it does not convict: %v", err)
	}
	if metrics := get(t, two.url+"/metrics"); !strings.Contains(metrics, `firn_peer_evidence_total{against="`+a.Origin()+`",kind="log"} 1`) {
		t.Error("the metrics do not say so")
	}
	eventually(t, "the status page says so", func() bool {
		return strings.Contains(get(t, three.url+"/"), "showed two histories")
	})
	if code := two.stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	two = start(t, twoDir)
	after := get(t, two.url+"/evidence")
	for _, part := range strings.Split(list, `"sha256":"`)[1:] {
		if hash, _, _ := strings.Cut(part, `"`); !strings.Contains(after, hash) {
			t.Errorf("after a restart %s is missing:\n%s", hash, after)
		}
	}
}

// Evidence against an index, which somebody else has, is kept, told to the hook and
// submitted, to its own log too, and the log is read on.
func TestEvidenceAgainstAnIndex(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 2))
	grow(l, 0, 5, "leaf")
	key, err := policy.ParseKey(l.VKey())
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(root byte) []byte {
		return l.State(&statement.Revision{Origin: l.Origin(), Size: 5, Root: [32]byte{root}, MapVersion: 1})
	}
	e, err := fraud.FromRevisions(key, leaf(1), leaf(2))
	if err != nil {
		t.Fatal(err)
	}
	b := e.Marshal()
	hash := fmt.Sprintf("%x", sha256.Sum256(b))
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/evidence":
			fmt.Fprintf(w, `{"schema":1,"evidence":[{"sha256":%q}]}`, hash)
		case "/evidence/" + hash:
			w.Write(b)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(other.Close)
	dir := made(t, "--policy", policyFile(t, l), "--peer", other.URL)
	told := filepath.Join(t.TempDir(), "told")
	file := filepath.Join(dir, configName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), "command = []", fmt.Sprintf("command = ['sh', '-c', 'echo $FIRN_EVIDENCE_KIND >%s']", told), 1)
	if edited == string(text) {
		t.Fatalf("no command in\n%s", text)
	}
	if err := os.WriteFile(file, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir)
	p.until(t, "evidence: a wrong index")
	p.until(t, "the log has the evidence")
	eventually(t, "the hook was told", func() bool {
		got, err := os.ReadFile(told)
		return err == nil && string(got) == "index\n"
	})
	note := grow(l, 5, 9, "more")
	eventually(t, "the log is read on", func() bool {
		return strings.Contains(get(t, p.url+"/"+federation.OriginHash(l.Origin())+"/checkpoint"), string(note[:80]))
	})
	if page := get(t, p.url+"/"); !strings.Contains(page, "committed to a wrong index") || strings.Contains(page, "two histories.") {
		t.Errorf("the page says\n%s", page)
	}
}

func TestOneDirectoryHasOnePeer(t *testing.T) {
	l := logtest.New(t)
	dir := made(t, "--policy", policyFile(t, l))
	start(t, dir)
	var words strings.Builder
	if code := run(t.Context(), &app{Stdout: io.Discard, Stderr: &words}, []string{"serve", dir}); code != exitFailed || !strings.Contains(words.String(), "one directory has one peer") {
		t.Errorf("status %d: %s", code, &words)
	}
}

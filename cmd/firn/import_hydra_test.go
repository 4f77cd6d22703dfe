package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// madeHydra serves the jobset p/j with the evaluations 1 to n, two to a page, of
// which the last has long builds, with one failure, and the others ten.
func madeHydra(files map[string][]byte, n, long int) http.HandlerFunc {
	var outs []string
	for name, b := range files {
		if strings.HasSuffix(name, ".narinfo") {
			path, _, _ := strings.Cut(strings.TrimPrefix(string(b), "StorePath: "), "\n")
			outs = append(outs, path)
		}
	}
	slices.Sort(outs)
	builds := func(id int) (list []any) {
		some := outs[10*id : 10*id+10]
		if id == n {
			some = outs[:long]
		}
		for i, out := range some {
			b := map[string]any{"id": 1000*id + i, "finished": 1, "buildstatus": 0, "drvpath": out + ".drv", "buildoutputs": map[string]any{"out": map[string]any{"path": out}}}
			if id == n && i == 0 {
				b["buildstatus"] = 1
			}
			list = append(list, b)
		}
		return list
	}
	eval := func(id int) any {
		return map[string]any{"id": id, "timestamp": 1_700_000_000 + id, "builds": []int{1, 2}, "jobsetevalinputs": map[string]any{"src": map[string]any{"uri": "https://git.example/x", "type": "git", "revision": "abc"}}}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		var v any
		var id int
		switch {
		case r.URL.Path == "/jobset/p/j/evals":
			page := 1
			_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
			first := n - 2*(page-1)
			m := map[string]any{"evals": []any{eval(first)}}
			if first > 1 {
				m["evals"] = []any{eval(first), eval(first - 1)}
			}
			if first > 2 {
				m["next"] = fmt.Sprintf("?page=%d", page+1)
			}
			v = m
		default:
			if _, err := fmt.Sscanf(r.URL.Path, "/eval/%d", &id); err != nil {
				http.NotFound(w, r)
				return
			}
			if v = eval(id); strings.HasSuffix(r.URL.Path, "/builds") {
				v = builds(id)
			}
		}
		if err := json.NewEncoder(w).Encode(v); err != nil {
			panic(err)
		}
	}
}

// bodies returns what the log says, by kind.
func (l *realLog) bodies(t *testing.T) map[statement.Kind][]statement.Body {
	t.Helper()
	b, err := os.ReadFile(l.policy)
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := log.NewClient(l.url, pol, log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[statement.Kind][]statement.Body)
	for e, err := range c.Entries(t.Context(), cp, 0, cp.Size) {
		if err != nil {
			t.Fatal(err)
		}
		if s, err := statement.Parse(e.Leaf); err == nil {
			all[s.Kind] = append(all[s.Kind], s.Body)
		}
	}
	return all
}

// The real program is killed again and again while it imports from a Hydra and its
// cache into a real log; at the end every evaluation is stated once, with its list
// beside it where it is long, and what a Hydra pushes comes too.
func TestImportHydraKilledIsResumed(t *testing.T) {
	const paths, evals, long = 2500, 7, 2400
	files, _, key := madeCache(paths)
	var served, limit atomic.Int64
	due := make(chan struct{}, 1)
	limit.Store(3)
	count := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if served.Add(1) == limit.Load() {
				due <- struct{}{}
			}
			h(w, r)
		}
	}
	hydra := httptest.NewServer(count(madeHydra(files, evals, long)))
	defer hydra.Close()
	cache := httptest.NewServer(count(func(w http.ResponseWriter, r *http.Request) { w.Write(files[r.URL.Path]) }))
	defer cache.Close()
	l := newRealLog(t, key)
	build := filepath.Join(l.state, "build.key")
	firn := filepath.Join(l.bin, "firn")
	if out, err := exec.Command(firn, "key", "new", build).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	identity := filepath.Join(l.state, "identity.key")
	for _, args := range [][]string{{"key", "new", identity}, {"operator", "register", "--name", "importer", "--contact", "importer@example.org", "--identity", identity, "--key", build, "--log", l.url, "--log-policy", l.policy, "--state", l.state}} {
		if out, err := exec.Command(firn, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(firn, append([]string{"import", "hydra", "--json", "--cache", cache.URL, "--trusted-key", key, "--log", l.url, "--log-policy", l.policy, "--state", l.state}, args...)...)
		cmd.Stderr = os.Stderr
		return cmd
	}
	kills := 0
	for ended := false; !ended; {
		cmd := run(hydra.URL, "p/j", "--key", build)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-due:
			kills++
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-done
			served.Store(0)
			limit.Add(400)
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ended = true
		}
	}
	if kills < 3 {
		t.Errorf("killed %d times only", kills)
	}
	l.wantEvals(t, evals, long)
	leaves := len(l.logged(t))
	// Nothing new: the list alone is read, and no leaf is made.
	served.Store(0)
	limit.Store(-1)
	out, err := run(hydra.URL, "p/j", "--key", build).Output()
	var sum struct{ Stated, Accepted, Duplicates int }
	if err2 := json.Unmarshal(out, &sum); err != nil || err2 != nil || sum.Stated+sum.Accepted+sum.Duplicates != 0 || served.Load() > 3 {
		t.Errorf("%v %v, %d requests: %s", err, err2, served.Load(), out)
	}
	// By push: the outputs that no evaluation had.
	spool := t.TempDir()
	for _, b := range files {
		path, _, _ := strings.Cut(strings.TrimPrefix(string(b), "StorePath: "), "\n")
		if !strings.HasPrefix(path, "/nix/store/") {
			continue
		}
		event := filepath.Join(l.state, "event.json")
		text := fmt.Sprintf(`{"event":"buildFinished","build":1,"buildStatus":0,"drvPath":"%s.drv","outputs":[{"name":"out","path":"%s"}]}`, path, path)
		if err := os.WriteFile(event, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		push := exec.Command(firn, "import", "hydra", "--event", "--spool", spool)
		push.Env = append(os.Environ(), "HYDRA_JSON="+event)
		if out, err := push.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v\n%s", err, out)
		}
		if path > "/nix/store/y" {
			break
		}
	}
	if out, err := run("--spool", spool).Output(); err != nil || !bytes.Contains(out, []byte(`"waiting": 0`)) {
		t.Errorf("%v %s", err, out)
	}
	if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
	for path, n := range l.logged(t) {
		if n != 1 {
			t.Errorf("%s is in the log %d times", path, n)
		}
	}
	if n := len(l.logged(t)); n < leaves {
		t.Errorf("%d of %d paths", n, leaves)
	}
}

// wantEvals requires one statement of each kind about each evaluation.
func (l *realLog) wantEvals(t *testing.T, evals, long int) {
	t.Helper()
	all := l.bodies(t)
	seen := make(map[uint64]bool)
	for _, b := range all[statement.KindEval] {
		e := b.(*statement.Eval)
		if seen[e.Number] {
			t.Errorf("evaluation %d is stated twice", e.Number)
		}
		seen[e.Number] = true
		if e.Number == uint64(evals) {
			l.wantList(t, e.Digest, long)
		}
	}
	if len(seen) != evals || len(all[statement.KindClosure]) != evals {
		t.Errorf("%d evaluations and %d closures are stated", len(seen), len(all[statement.KindClosure]))
	}
	for _, b := range all[statement.KindClosure] {
		if c := b.(*statement.Closure); c.Name == fmt.Sprintf("p.j-%d", evals) {
			l.wantList(t, c.Digest, long-1)
		}
	}
}

// wantList requires the log to serve a list of n paths.
func (l *realLog) wantList(t *testing.T, digest nix.Hash, n int) {
	t.Helper()
	ctx := t.Context()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+"/"+log.BlobPath(digest), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || bytes.Count(b, []byte("\n")) != n {
		t.Errorf("%s, %d paths, %v", resp.Status, bytes.Count(b, []byte("\n")), err)
	}
}

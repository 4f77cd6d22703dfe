package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
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
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server"
	"github.com/firn-log/firn/log/statement"
)

// realLog is a firn-log that runs, with the firn that is tested beside it.
type realLog struct {
	bin, url, policy, state string
}

func newRealLog(t *testing.T, cacheKeys ...string) *realLog {
	t.Helper()
	l := &realLog{bin: t.TempDir(), state: t.TempDir()}
	build := exec.Command("go", "build", "-o", l.bin+"/", "../firn-log", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	home := filepath.Join(t.TempDir(), "log")
	vkey, err := server.Init(home, server.InitOptions{Name: "log.example", Mode: statement.ModeOpen, CacheKeys: cacheKeys, Change: func(c *server.Config) { c.Listen = addr }})
	if err != nil {
		t.Fatal(err)
	}
	l.url, l.policy = "http://"+addr, filepath.Join(l.state, "log.policy")
	if err := os.WriteFile(l.policy, []byte("log "+vkey+"\nquorum none\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(l.bin, "firn-log"), "serve", home)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		resp, err := http.Get(l.url + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return l
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("firn-log did not start: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (l *realLog) importCmd(url, key string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(l.bin, "firn"), append([]string{"import", "cache", url, "--json", "--trusted-key", key, "--log", l.url, "--log-policy", l.policy, "--state", l.state}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// logged counts the cache-sig statements in the log by path.
func (l *realLog) logged(t *testing.T) map[string]int {
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
	paths := make(map[string]int)
	for e, err := range c.Entries(t.Context(), cp, 0, cp.Size) {
		if err != nil {
			t.Fatal(err)
		}
		if s, err := statement.Parse(e.Leaf); err == nil && s.Kind == statement.KindCacheSig {
			paths[s.Body.(*statement.CacheSig).Path.String()]++
		}
	}
	return paths
}

// madeCache serves n narinfos of which the first needs all others.
func madeCache(n int) (files map[string][]byte, root, key string) {
	seed := sha256.Sum256([]byte("made"))
	secret := nix.SecretKey{Name: "made-1", Key: ed25519.NewKeyFromSeed(seed[:])}
	files = map[string][]byte{"/nix-cache-info": []byte("StoreDir: /nix/store\n")}
	path := func(i int) nix.StorePath {
		h := sha256.Sum256(fmt.Appendf(nil, "path %d", i))
		p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(h[:20]) + fmt.Sprintf("-p%d", i))
		if err != nil {
			panic(err)
		}
		return p
	}
	for i := range n {
		info := &nix.NarInfo{URL: "nar/x", Compression: "none"}
		info.Path, info.NarHash, info.NarSize = path(i), sha256.Sum256(fmt.Append(nil, i)), 1000
		for _, r := range []int{2*i + 1, 2*i + 2} {
			if r < n {
				info.References = append(info.References, path(r))
			}
		}
		slices.SortFunc(info.References, nix.StorePath.Compare)
		info.Sigs = []string{secret.Sign(info.Fingerprint())}
		files["/"+info.Path.HashPart()+".narinfo"] = info.Marshal()
	}
	return files, path(0).String(), secret.Public().String()
}

// The real program is killed again and again while it imports into a real log; at
// the end every statement is there once, and every path was brought.
func TestImportKilledIsResumed(t *testing.T) {
	const paths = 3000
	files, root, key := madeCache(paths)
	var served atomic.Int64
	due := make(chan struct{}, 1)
	var limit atomic.Int64
	limit.Store(500)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1) == limit.Load() {
			due <- struct{}{}
		}
		w.Write(files[r.URL.Path])
	}))
	defer srv.Close()
	l := newRealLog(t, key)
	kills := 0
	for ended := false; !ended; {
		cmd := l.importCmd(srv.URL, key, root)
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
			limit.Add(600)
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
	logged := l.logged(t)
	for path, n := range logged {
		if n != 1 {
			t.Errorf("%s is in the log %d times", path, n)
		}
	}
	if len(logged) != paths {
		t.Errorf("%d of %d paths are in the log", len(logged), paths)
	}
	served.Store(0)
	limit.Store(-1)
	l.runImport(t, l.importCmd(srv.URL, key, root), func(s importSummary) bool { return s.Known == paths && s.Fetched == 0 })
	if served.Load() != 1 {
		t.Errorf("%d requests with nothing new", served.Load())
	}
}

// References that do not fit in a leaf go along as a blob, which the log serves.
func TestLongReferencesGoAlongAsABlob(t *testing.T) {
	files, _, key := madeCache(1)
	seed := sha256.Sum256([]byte("made"))
	secret := nix.SecretKey{Name: "made-1", Key: ed25519.NewKeyFromSeed(seed[:])}
	info := &nix.NarInfo{URL: "nar/x", Compression: "none"}
	for i := range 2000 {
		h := sha256.Sum256(fmt.Appendf(nil, "reference %d", i))
		p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(h[:20]) + fmt.Sprintf("-reference-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		info.References = append(info.References, p)
	}
	slices.SortFunc(info.References, nix.StorePath.Compare)
	info.Path, info.NarHash, info.NarSize = info.References[0], sha256.Sum256(nil), 1000
	info.Sigs = []string{secret.Sign(info.Fingerprint())}
	files["/"+info.Path.HashPart()+".narinfo"] = info.Marshal()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if files[r.URL.Path] == nil {
			http.NotFound(w, r)
		}
		w.Write(files[r.URL.Path])
	}))
	defer srv.Close()
	l := newRealLog(t, key)
	cmd := l.importCmd(srv.URL, key, info.Path.String())
	cmd.Stderr = nil
	l.runImport(t, cmd, func(s importSummary) bool { return s.Accepted == 1 && s.Troubles["missing"] == 1999 })
	resp, err := http.Get(l.url + "/" + log.BlobPath(statement.PathsDigest(info.References)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, statement.PathsBlob(info.References)) {
		t.Errorf("%s, %d bytes, %v", resp.Status, len(got), err)
	}
}

type importSummary struct {
	Paths, Known, Fetched, Accepted, Duplicates int
	Troubles                                    map[string]int
}

func (l *realLog) runImport(t *testing.T, cmd *exec.Cmd, good func(importSummary) bool) {
	t.Helper()
	out, err := cmd.Output()
	var s importSummary
	if err2 := json.Unmarshal(out, &s); err != nil || err2 != nil || !good(s) {
		t.Errorf("%v, %v: %s", err, err2, out)
	}
}

// The narinfos of the corpus come whole from a cache over HTTP into a real log.
func TestCorpusIntoARealLog(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testreq.Corpus(t), "narinfo", "signed.txt"))
	if err != nil {
		t.Fatal(err)
	}
	const key = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
	files := map[string][]byte{"/nix-cache-info": []byte("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n")}
	var roots strings.Builder
	for _, text := range strings.Split(strings.TrimRight(string(b), "\n"), "\n\n") {
		path := strings.TrimPrefix(text[:strings.IndexByte(text, '\n')], "StorePath: ")
		files["/"+filepath.Base(path)[:32]+".narinfo"] = []byte(text + "\n")
		roots.WriteString(path + "\n")
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if files[r.URL.Path] == nil {
			http.NotFound(w, r)
		}
		w.Write(files[r.URL.Path])
	}))
	defer srv.Close()
	l := newRealLog(t, key)
	cmd := l.importCmd(srv.URL, key, "--from", "-")
	cmd.Stdin, cmd.Stderr = strings.NewReader(roots.String()), nil
	l.runImport(t, cmd, func(s importSummary) bool { return s.Accepted == 499 && s.Fetched == 499 && s.Troubles["lie"] == 0 })
	if logged := l.logged(t); len(logged) != 499 {
		t.Errorf("%d paths are in the log", len(logged))
	}
}

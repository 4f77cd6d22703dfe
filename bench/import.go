package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/server"
)

// importPaths is how many narinfos the target is stated for.
const importPaths = 100_000

// madeCache is a binary cache of made-up paths in memory, of which the first needs
// all others.
type madeCache struct {
	files    map[string][]byte
	root     nix.StorePath
	key      nix.PublicKey
	requests atomic.Int64
}

func (m *madeCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.requests.Add(1)
	b, ok := m.files[strings.TrimPrefix(r.URL.Path, "/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/x-nix-narinfo")
	w.Write(b)
}

// makeCache signs n narinfos. Each refers to itself, to two that nothing before it
// refers to, and to eight others.
func makeCache(n int) (*madeCache, error) {
	pub, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	m := &madeCache{files: map[string][]byte{"nix-cache-info": []byte("StoreDir: /nix/store\nWantMassQuery: 1\n")}, key: nix.PublicKey{Name: "bench-1", Key: pub}}
	signer := nix.SecretKey{Name: "bench-1", Key: secret}
	infos := make([]*nix.PathInfo, n)
	for i := range infos {
		if infos[i], _, err = pathInfo(i, 0); err != nil {
			return nil, err
		}
	}
	m.root = infos[0].Path
	for i, info := range infos {
		refs := []nix.StorePath{info.Path}
		for _, r := range []int{2*i + 1, 2*i + 2} {
			if r < n {
				refs = append(refs, infos[r].Path)
			}
		}
		for r := range 8 {
			if h := sha256.Sum256(fmt.Appendf(nil, "%d %d", i, r)); i+1 < n {
				refs = append(refs, infos[i+1+int(uint32(h[0])<<16|uint32(h[1])<<8|uint32(h[2]))%(n-i-1)].Path)
			}
		}
		slices.SortFunc(refs, func(a, b nix.StorePath) int { return cmp.Compare(a.Base(), b.Base()) })
		info.References = slices.Compact(refs)
		file := nix.NarInfo{PathInfo: *info, URL: "nar/" + nix.EncodeBase32(info.NarHash[:]) + ".nar.zst", Compression: "zstd"}
		file.Sigs = []string{signer.Sign(info.Fingerprint())}
		m.files[info.Path.HashPart()+".narinfo"] = file.Marshal()
	}
	return m, nil
}

// benchImport measures the real firn import cache against the real firn-log, and
// beside it the same narinfos fetched and verified without a log.
func benchImport(ctx context.Context, dir, bin string, cal calibration) ([]row, error) {
	made, err := makeCache(importPaths)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: made}
	go srv.Serve(listener)
	defer srv.Close()
	url := "http://" + listener.Addr().String()

	alone, err := fetchAlone(ctx, url, made)
	if err != nil {
		return nil, fmt.Errorf("without a log: %w", err)
	}
	l, err := startLogWith(ctx, dir, bin, func(c *server.Config) { c.Admission.CacheKeys = []string{made.key.String()} })
	if err != nil {
		return nil, err
	}
	defer l.stop()
	first, err := runImport(ctx, dir, bin, url, l, made)
	if err != nil {
		return nil, err
	}
	made.requests.Store(0)
	again, err := runImport(ctx, dir, bin, url, l, made)
	if err != nil {
		return nil, err
	}
	if first.Accepted != importPaths || again.Known != importPaths || again.Fetched+again.Accepted+again.Duplicates != 0 || made.requests.Load() != 1 {
		return nil, fmt.Errorf("the first run brought %d statements, the second %d, with %d known paths and %d requests",
			first.Accepted, again.Accepted, again.Known, made.requests.Load())
	}
	perSecond := importPaths / first.elapsed.Seconds()
	limit := importPaths / alone.Seconds()
	const target, secondTarget = 3000, 2 * time.Second
	return []row{
		{
			what:  fmt.Sprintf("import of %s signed narinfos from an HTTP cache into a log", count(importPaths)),
			value: fmt.Sprintf("%s/s, %.1f s; firn: %d µs of processor each", count(perSecond), first.elapsed.Seconds(), first.cpu.Microseconds()/importPaths), target: fmt.Sprintf("≥ %s/s", count(target)),
			fraction: fmt.Sprintf("%.2f of ed25519 verify, %.2f of the limit below", perSecond/cal.verifyPerSecond, perSecond/limit), met: perSecond >= target,
		},
		{what: "limit: the same narinfos fetched and verified, without a log", value: count(limit) + "/s"},
		{
			what:  fmt.Sprintf("import again of %s paths, nothing new: one request, no leaf", count(importPaths)),
			value: millis(again.elapsed), target: "≤ " + millis(secondTarget),
			fraction: fmt.Sprintf("%.2f of the target", again.elapsed.Seconds()/secondTarget.Seconds()), met: again.elapsed <= secondTarget,
		},
	}, nil
}

// imported is what a run of firn import said, and what it took.
type imported struct {
	Known, Fetched, Accepted, Duplicates int

	elapsed, cpu time.Duration
}

func runImport(ctx context.Context, dir, bin, url string, l *testLog, made *madeCache) (*imported, error) {
	policy := filepath.Join(dir, "import.policy")
	if err := os.WriteFile(policy, []byte("log "+l.vkey+"\nquorum none\n"), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "firn"), "import", "cache", url, made.root.String(), "--json",
		"--trusted-key", made.key.String(), "--log", l.url, "--log-policy", policy, "--state", filepath.Join(dir, "import-state"))
	cmd.Stderr = os.Stderr
	begin := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("firn import: %w: %s", err, out)
	}
	r := &imported{elapsed: time.Since(begin), cpu: childCPU(cmd)}
	return r, json.Unmarshal(out, r)
}

// fetchAlone reads and verifies all narinfos, as many at once as an import does.
func fetchAlone(ctx context.Context, url string, made *madeCache) (time.Duration, error) {
	c, err := bincache.Open(ctx, url, bincache.ClientOptions{})
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cache.DefaultJobs)
	for name := range made.files {
		part, ok := strings.CutSuffix(name, ".narinfo")
		if !ok {
			continue
		}
		g.Go(func() error {
			info, err := c.NarInfo(ctx, part)
			if err == nil && !made.key.Verify(info.Fingerprint(), info.Sigs[0]) {
				err = fmt.Errorf("%s: wrong signature", info.Path)
			}
			return err
		})
	}
	err = g.Wait()
	return time.Since(begin), err
}

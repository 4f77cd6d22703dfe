package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/nix"
)

const (
	systemPaths  = 3500
	cachedPaths  = 2000
	rehashAtMost = 1.2
)

// benchSystem runs the real firn verify on a system of systemPaths paths that closureOperators
// operators have built, on a binary cache that has some of them, and on content that is read.
func benchSystem(ctx context.Context, dir, bin string) ([]row, error) {
	dir = filepath.Join(dir, "system")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l, err := startLog(ctx, dir, bin)
	if err != nil {
		return nil, err
	}
	defer l.stop()
	policy, err := fillClosure(ctx, l, dir, systemPaths)
	if err != nil {
		return nil, err
	}
	v := &verifier{bin: bin, policy: policy, state: filepath.Join(dir, "state")}
	rows, err := v.system(ctx, filepath.Join(dir, "store"))
	if err != nil {
		return nil, err
	}
	row, err := v.cache(ctx, filepath.Join(dir, "nothing"))
	if err != nil {
		return nil, err
	}
	rehash, err := v.rehash(ctx, filepath.Join(dir, "content"))
	return append(rows, row, rehash), err
}

// verifier runs firn verify.
type verifier struct{ bin, policy, state string }

// run runs it n times, forgetting what it remembers before each if fresh, and returns the
// wall time of each run and the processor time of the last. The output must hold want.
func (v *verifier) run(ctx context.Context, n int, fresh bool, want string, exit int, args ...string) (rate, time.Duration, error) {
	var r rate
	var cpu time.Duration
	for range n {
		if fresh {
			if err := os.RemoveAll(v.state); err != nil {
				return r, 0, err
			}
		}
		cmd := exec.CommandContext(ctx, filepath.Join(v.bin, "firn"), append([]string{"verify", "--policy", v.policy, "--state", v.state}, args...)...)
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		r.latency = append(r.latency, time.Since(begin))
		var failed *exec.ExitError
		if err != nil && (!errors.As(err, &failed) || failed.ExitCode() != exit) {
			return r, 0, fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		if !bytes.Contains(out, []byte(want)) {
			return r, 0, fmt.Errorf("%q is not in the output:\n%s", want, out)
		}
		cpu = childCPU(cmd)
	}
	return r, cpu, nil
}

func (v *verifier) system(ctx context.Context, root string) ([]row, error) {
	path, err := makeClosure(ctx, root, systemPaths)
	if err != nil {
		return nil, err
	}
	want := fmt.Sprintf("%d trusted", systemPaths)
	cold, cpu, err := v.run(ctx, 3, true, want, 0, "--store", root, path)
	if err != nil {
		return nil, err
	}
	warm, _, err := v.run(ctx, 7, false, want, 0, "--store", root, path)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("firn verify of a system, %s paths × %d operators, ", count(systemPaths), closureOperators)
	checks := systemPaths * closureOperators
	signatures := verifying(checks)
	return []row{
		latencyRow(what+"cold", cold, 4*time.Second),
		{
			what: "  of which checking signatures", value: fmt.Sprintf("%s of them, %s of processor time", count(float64(checks)), millis(signatures)),
			fraction: fmt.Sprintf("%.2f of the %s of processor time of the last run", signatures.Seconds()/cpu.Seconds(), millis(cpu)),
		},
		latencyRow(what+"remembered", warm, 500*time.Millisecond),
	}, nil
}

// verifying is the processor time of checking so many Ed25519 signatures of statements.
func verifying(n int) time.Duration {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err) // cannot happen: there is always randomness
	}
	msg := make([]byte, statementBytes)
	sig := ed25519.Sign(priv, msg)
	before := ownCPU()
	for range n {
		ed25519.Verify(pub, msg, sig)
	}
	return ownCPU() - before
}

// cache verifies what a cache has, from which nothing is downloaded; root is a store that is not there.
func (v *verifier) cache(ctx context.Context, root string) (row, error) {
	files := map[string][]byte{"/nix-cache-info": []byte("StoreDir: /nix/store\n")}
	var last nix.StorePath
	for i := range cachedPaths {
		info, _, err := pathInfo(i, closureRefs)
		if err != nil {
			return row{}, err
		}
		last = info.Path
		file := nix.NarInfo{PathInfo: *info, URL: "nar/x.nar", Compression: "none", FileSize: info.NarSize}
		files["/"+info.Path.HashPart()+".narinfo"] = file.Marshal()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return row{}, err
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	})}
	go srv.Serve(listener)
	defer srv.Close()
	r, _, err := v.run(ctx, 3, true, fmt.Sprintf("%d trusted", cachedPaths), 0, "--store", root, "--cache", "http://"+listener.Addr().String(), last.String())
	return latencyRow(fmt.Sprintf("firn verify --cache, %s paths of an HTTP cache on loopback, nothing remembered", count(cachedPaths)), r, 3*time.Second), err
}

// rehash reads the content of a store of 1 GiB, and beside it openssl hashes the same bytes, which lie before
// it as plain files, with as many processes as there are cores. They alternate, and the best of each counts.
func (v *verifier) rehash(ctx context.Context, root string) (row, error) {
	paths, nars, err := makeContent(ctx, root)
	if err != nil {
		return row{}, err
	}
	defer os.RemoveAll(root)
	ours, limit := time.Hour, time.Hour
	for range hashRounds {
		r, _, err := v.run(ctx, 1, false, "contradicted", 3, "--store", root, "--rehash", "--all", paths[len(paths)-1].String())
		if err != nil {
			return row{}, err
		}
		ours = min(ours, r.latency[0])
		begin := time.Now()
		g, ctx := errgroup.WithContext(ctx)
		for part := range slices.Chunk(nars, (len(nars)+runtime.NumCPU()-1)/runtime.NumCPU()) {
			g.Go(func() error {
				return exec.CommandContext(ctx, "openssl", append([]string{"dgst", "-sha256"}, part...)...).Run()
			})
		}
		if err := g.Wait(); err != nil {
			return row{}, fmt.Errorf("running openssl: %w", err)
		}
		limit = min(limit, time.Since(begin))
	}
	ratio := ours.Seconds() / limit.Seconds()
	return row{
		what:   fmt.Sprintf("firn verify --rehash, %d paths of 1 GiB", len(paths)),
		value:  fmt.Sprintf("%.2f s, openssl on all cores %.2f s", ours.Seconds(), limit.Seconds()),
		target: fmt.Sprintf("≤ %.1f × the hashing limit", rehashAtMost), fraction: fmt.Sprintf("%.2f × openssl", ratio), met: ratio <= rehashAtMost,
	}, nil
}

// makeContent makes a store below root with content, in which the last path refers to all others. The paths are those of
// the log, and their content is not, so that each is contradicted and still read.
func makeContent(ctx context.Context, root string) (paths []nix.StorePath, nars []string, err error) {
	store := filepath.Join(root, "nix/store")
	trees, _, err := makeStore(store)
	if err != nil {
		return nil, nil, err
	}
	if nars, err = dump(trees); err != nil {
		return nil, nil, err
	}
	infos := make([]*nix.PathInfo, len(trees))
	for i, tree := range trees {
		info, _, err := pathInfo(i, 0)
		if err != nil {
			return nil, nil, err
		}
		if info.NarHash, info.NarSize, err = nix.HashPath(ctx, tree, nil); err != nil {
			return nil, nil, err
		}
		if i == len(trees)-1 {
			info.References = slices.Clone(paths)
		}
		infos[i], paths = info, append(paths, info.Path)
		if err := os.Rename(tree, filepath.Join(root, info.Path.String())); err != nil {
			return nil, nil, err
		}
	}
	return paths, nars, makeDatabase(ctx, root, infos)
}

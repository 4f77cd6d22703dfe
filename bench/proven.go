package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/nix"
	firnlog "github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server"
	"github.com/firn-log/firn/log/statement"
)

// benchProven measures look-ups that prove to be whole: how long after a
// statement was accepted an answer proves it, under load, with witnesses and an
// auditor; and what the answer about a closure costs.
func benchProven(ctx context.Context, dir, bin string) ([]row, error) {
	l, err := startAuditedLog(ctx, filepath.Join(dir, "audited"), bin)
	if err != nil {
		return nil, err
	}
	defer l.stop()
	rows, err := l.lag(ctx)
	if err != nil {
		return nil, err
	}
	more, err := l.closure(ctx)
	return append(rows, more...), err
}

// auditedLog is a log with three witnesses, of which two must cosign, and an
// auditor, all programs of their own.
type auditedLog struct {
	*testLog
	log   *policy.Policy
	index *policy.Policy
}

func startAuditedLog(ctx context.Context, dir, bin string) (*auditedLog, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	ports, err := freePorts(5)
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	home := filepath.Join(dir, "log")
	l := &auditedLog{testLog: &testLog{url: "http://" + addr}}
	l.vkey, err = server.Init(home, server.InitOptions{Name: "bench.firn.example", Mode: statement.ModeOpen, Change: func(c *server.Config) {
		c.Listen = addr
		c.Witnessing.Policy, c.Witnessing.Index = "witness.policy", "index.policy"
		c.Witnessing.Interval.Duration = 200 * time.Millisecond
		l.origin = c.Origin
	}})
	if err != nil {
		return nil, err
	}
	var stops []func()
	l.stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]() // the log first, then its witnesses
		}
	}
	fail := func(err error) (*auditedLog, error) { l.stop(); return nil, err }
	text := fmt.Sprintf("log %s\n", l.vkey)
	for i, port := range ports[1:4] {
		vkey, stop, err := startFirnWitness(ctx, dir, bin, l.vkey, fmt.Sprintf("witness.example/w%d", i), port)
		if err != nil {
			return fail(err)
		}
		stops = append(stops, stop)
		text += fmt.Sprintf("witness w%d %s http://127.0.0.1:%d\n", i, vkey, port)
	}
	vkey, stop, err := startAuditor(ctx, dir, bin, l.vkey, l.url, ports[4])
	if err != nil {
		return fail(err)
	}
	stops = append(stops, stop)
	auditor := fmt.Sprintf("witness a %s http://127.0.0.1:%d\n", vkey, ports[4])
	text += auditor + "group g 2 w0 w1 w2\nquorum g\n"
	indexText := fmt.Sprintf("log %s\n%squorum a\n", l.vkey, auditor)
	if l.log, err = policy.Parse([]byte(text)); err != nil {
		return fail(err)
	}
	if l.index, err = policy.Parse([]byte(indexText)); err != nil {
		return fail(err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(home, "witness.policy"), []byte(text), 0o644),
		os.WriteFile(filepath.Join(home, "index.policy"), []byte(indexText), 0o644),
	)
	if err != nil {
		return fail(err)
	}
	if stop, err = start(exec.CommandContext(ctx, filepath.Join(bin, "firn-log"), "serve", home), home+".out"); err != nil {
		return fail(err)
	}
	stops = append(stops, stop)
	if err := waitFor(ctx, l.url+"/readyz", 20*time.Second); err != nil {
		return fail(err)
	}
	if l.op, err = l.register(ctx, "bench"); err != nil {
		return fail(err)
	}
	return l, nil
}

// startAuditor makes an auditor of the log and runs the real program on it.
func startAuditor(ctx context.Context, dir, bin, logVKey, logURL string, port int) (vkey string, stop func(), err error) {
	program := filepath.Join(bin, "firn-auditor")
	home := filepath.Join(dir, "auditor")
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	out, err := exec.CommandContext(ctx, program, "init", "--name", "auditor.example/a", "--listen", addr, "--log", logVKey, "--url", logURL, home).Output()
	if err != nil {
		return "", nil, fmt.Errorf("making an auditor: %w", err)
	}
	if stop, err = start(exec.CommandContext(ctx, program, "serve", home), home+".out"); err != nil {
		return "", nil, err
	}
	if err := waitTCP(ctx, addr); err != nil {
		stop()
		return "", nil, err
	}
	vkey, _, _ = strings.Cut(string(bytes.TrimSpace(out)), "\n")
	return vkey, stop, nil
}

// client returns a client of the log that remembers nothing.
func (l *auditedLog) client(h *http.Client) (*firnlog.Client, error) {
	return firnlog.NewClient(l.url, l.log, firnlog.Options{HTTP: h})
}

const (
	lagBatch  = 20 // statements in a request
	lagRounds = 1000
	lagEvery  = 20 * time.Millisecond // a request: 1,000 statements/s
	lagSample = 25                    // one request of so many is followed
)

// lag adds 1,000 statements/s with six keys each for lagRounds requests, and follows
// some until an answer proves them, and until auditors vouch for the revision that holds them.
func (l *auditedLog) lag(ctx context.Context) ([]row, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var answered, vouched rate
	var failed error
	batches, keys := make([][][]byte, lagRounds), make([]string, lagRounds)
	for round := range batches {
		batches[round] = make([][]byte, lagBatch)
		for i := range batches[round] {
			var err error
			if batches[round][i], keys[round], err = l.op.sixKeys(ctx, round*lagBatch+i); err != nil {
				return nil, err
			}
		}
	}
	begin := time.Now()
	for round, leaves := range batches {
		time.Sleep(time.Until(begin.Add(time.Duration(round) * lagEvery)))
		wg.Go(func() {
			_, err := post(http.DefaultClient, l.url, leaves, 0)
			accepted := time.Now()
			var a, v time.Duration
			if err == nil && round%lagSample == 0 {
				a, v, err = l.follow(ctx, keys[round], accepted)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			} else if round%lagSample == 0 {
				answered.latency, vouched.latency = append(answered.latency, a), append(vouched.latency, v)
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	took := time.Since(begin)
	load := fmt.Sprintf("%s statements/s × 6 keys", count(float64(lagBatch*lagRounds)/took.Seconds()))
	out := func(what string, r rate) row {
		p50, p99 := r.quantile(.5), r.quantile(.99)
		return row{
			what: what, value: fmt.Sprintf("p50 %s, p99 %s", millis(p50), millis(p99)), target: "p99 ≤ 2 s",
			fraction: fmt.Sprintf("%.2f of the target; %s", p99.Seconds()/2, load), met: p99 <= 2*time.Second,
		}
	}
	return []row{
		out("accepted → in a proven answer", answered),
		out("accepted → in a revision that the auditor vouches for", vouched),
	}, nil
}

// follow asks for a key until an answer holds it, and until a vouched revision does.
func (l *auditedLog) follow(ctx context.Context, key string, since time.Time) (answered, vouched time.Duration, err error) {
	c, err := l.client(nil) // of its own: answers to two requests may overtake each other
	if err != nil {
		return 0, 0, err
	}
	q := firnlog.Query{Keys: []string{key}, Signers: []statement.KeyID{}}
	for {
		a, err := c.Lookup(ctx, q)
		if err != nil {
			return 0, 0, err
		}
		now := time.Since(since)
		if answered == 0 && len(a.Of(key)) > 0 {
			answered = now
			q.Tail = 1 << 20 // no need to read it again
		}
		if a.Heads[key].Count > 0 {
			if _, err := l.index.Verify(a.Vouched[0], time.Now()); err == nil {
				return answered, now, nil
			}
		}
		if now > time.Minute {
			return 0, 0, fmt.Errorf("%s was not proven within a minute", key)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// sixPath is an output of the i-th build of sixKeys.
func sixPath(i int, output string) (nix.StorePath, nix.Hash, error) {
	modulo := nix.Hash(sha256.Sum256(binary.BigEndian.AppendUint64([]byte("six"), uint64(i))))
	p, err := nix.OutputPath(nix.DefaultStoreDir, modulo, packageName(i), output)
	return p, modulo, err
}

// sixKeys returns a build of four outputs, found under six keys, and one of them.
func (o *operator) sixKeys(ctx context.Context, i int) (leaf []byte, key string, err error) {
	var modulo nix.Hash
	var outputs []statement.BuildOutput
	for _, name := range []string{"dev", "doc", "lib", "out"} {
		var p nix.StorePath
		if p, modulo, err = sixPath(i, name); err != nil {
			return nil, "", err
		}
		key = index.Out(p)
		outputs = append(outputs, statement.BuildOutput{Name: name, Path: p, NarHash: sha256.Sum256([]byte(key)), NarSize: 1000, References: []nix.StorePath{}})
	}
	drv, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(modulo[:20]) + "-" + packageName(i) + ".drv")
	if err != nil {
		return nil, "", err
	}
	s, err := statement.Sign(ctx, o.build, &statement.Build{
		DrvPath: drv, DrvHash: sha256.Sum256(modulo[:]), Modulo: modulo, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir,
		Outputs: outputs, How: statement.HowBuilt, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0", Sandbox: true},
		Started: 1_700_000_000, Finished: 1_700_000_060, BuildID: [16]byte(modulo[:16]),
	}, "", nil)
	if err != nil {
		return nil, "", err
	}
	return s.Leaf(), key, nil
}

// closure measures the proven answer about the paths of a closure in one request.
func (l *auditedLog) closure(ctx context.Context) ([]row, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as cmd/firn does
	keys := make([]string, closurePaths)
	for i := range keys {
		p, _, err := sixPath(i, "out")
		if err != nil {
			return nil, err
		}
		keys[i] = index.Out(p)
	}
	var ask rate
	rec := &recorded{}
	var size int
	for range 9 {
		begin := time.Now()
		b, err := l.ask(ctx, keys)
		if err != nil {
			return nil, err
		}
		ask.latency = append(ask.latency, time.Since(begin))
		size, rec.answer = len(b), b
	}
	c, err := l.client(&http.Client{Transport: rec})
	if err != nil {
		return nil, err
	}
	var check, signed, alone, together rate
	signatures := 0
	for range 15 {
		begin := time.Now()
		a, err := c.Lookup(ctx, firnlog.Query{Keys: keys})
		if err != nil {
			return nil, err
		}
		check.latency = append(check.latency, time.Since(begin))
		all, err := bodiesOf(a)
		if err != nil {
			return nil, err
		}
		if err := l.verifyAll(all, runtime.GOMAXPROCS(0)); err != nil {
			return nil, err
		}
		signed.latency = append(signed.latency, time.Since(begin))
		begin = time.Now()
		if err := l.verifyAll(all, 1); err != nil {
			return nil, err
		}
		alone.latency = append(alone.latency, time.Since(begin))
		begin = time.Now()
		if err := l.verifyAll(all, runtime.GOMAXPROCS(0)); err != nil {
			return nil, err
		}
		together.latency = append(together.latency, time.Since(begin))
		signatures = len(all)
	}
	// What is aimed at is a multiple of this: each signature on its own, divided by the processors.
	best := alone.quantile(.5) / time.Duration(runtime.GOMAXPROCS(0))
	ratio := signed.quantile(.5).Seconds() / best.Seconds()
	parsed, err := lookup.Parse(rec.answer)
	if err != nil {
		return nil, err
	}
	trie, err := parsed.Trie.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	bodies := 0
	for _, b := range parsed.Bodies {
		bodies += len(b.Leaf)
	}
	rows := []row{
		latencyRow(fmt.Sprintf("closure of %s paths, one request, on loopback", count(closurePaths)), ask, 300*time.Millisecond),
		latencyRow("client: all proofs of that answer", check, 150*time.Millisecond),
		{
			what: fmt.Sprintf("client: proofs and %s signatures", count(float64(signatures))), value: "p50 " + millis(signed.quantile(.5)), target: "≤ 1.3 × the signatures alone",
			fraction: fmt.Sprintf("%.2f × %s (%s each, on %d cores); %.2f × %s, the same at once", ratio, millis(best), micros(alone.quantile(.5)/time.Duration(signatures)),
				runtime.GOMAXPROCS(0), signed.quantile(.5).Seconds()/together.quantile(.5).Seconds(), millis(together.quantile(.5))),
			met: ratio <= 1.3,
		},
		{
			what: "bytes of that answer, per path", value: fmt.Sprintf("%d", size/closurePaths),
			fraction: fmt.Sprintf("%d statement, %d trie, %d inclusion and lists", bodies/closurePaths, len(trie)/closurePaths, (size-bodies-len(trie))/closurePaths),
		},
	}
	return rows, nil
}

// bodiesOf returns all statements of an answer, which has some under each key.
func bodiesOf(a *firnlog.Answers) ([]*statement.Statement, error) {
	var all []*statement.Statement
	for _, k := range a.Keys {
		if len(a.Of(k)) == 0 {
			return nil, fmt.Errorf("nothing under %s", k)
		}
		for _, f := range a.Of(k) {
			all = append(all, f.Leaf.Statement)
		}
	}
	return all, nil
}

// verifyAll verifies the signatures of statements on so many processors.
func (l *auditedLog) verifyAll(all []*statement.Statement, processors int) error {
	var g errgroup.Group
	g.SetLimit(processors)
	key := l.op.build.PublicKey()
	for some := range slices.Chunk(all, 100) {
		g.Go(func() error {
			for _, s := range some {
				if err := s.Verify(key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (l *auditedLog) ask(ctx context.Context, keys []string) ([]byte, error) {
	q := lookup.Request{Tail: true}
	for _, k := range keys {
		q.Keys = append(q.Keys, lookup.Asked{Key: k})
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"/v1/lookup", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	return b, err
}

// recorded answers every request with the same bytes, so that only the client's
// work is measured.
type recorded struct{ answer []byte }

// RoundTrip implements http.RoundTripper.
func (r *recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(r.answer)), ContentLength: int64(len(r.answer)), Request: req}, nil
}

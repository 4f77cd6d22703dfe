package log_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// fourOutputs is a build of four outputs, and the key of one of them.
func fourOutputs(t testing.TB, i int) (*statement.Build, string) {
	t.Helper()
	modulo := nix.Hash(sha256.Sum256(fmt.Append(nil, "four outputs ", i)))
	name := fmt.Sprintf("package-%d-1.%d", i, i%17)
	b := &statement.Build{
		DrvHash: sha256.Sum256(modulo[:]), Modulo: modulo, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir, How: statement.HowBuilt,
		Builder: statement.Builder{Implementation: "nix", Version: "2.8.0", Sandbox: true}, Started: 1_700_000_000, Finished: 1_700_000_060,
	}
	for _, output := range []string{"dev", "doc", "lib", "out"} {
		p, err := nix.OutputPath(nix.DefaultStoreDir, modulo, name, output)
		if err != nil {
			t.Fatal(err)
		}
		b.Outputs = append(b.Outputs, statement.BuildOutput{Name: output, Path: p, NarHash: sha256.Sum256([]byte(p.Base())), NarSize: 1000, References: []nix.StorePath{}})
	}
	var err error
	if b.DrvPath, err = nix.DefaultStoreDir.FromBase(nix.EncodeBase32(modulo[:20]) + "-" + name + ".drv"); err != nil {
		t.Fatal(err)
	}
	return b, index.Out(b.Outputs[3].Path)
}

// closureAsked is how many builds BenchmarkClosure asks about, of how many.
const closureAsked, closureAll = 2000, 20_000

// closureAnswer is an answer about 2,000 builds, and what answers every request with it.
type closureAnswer struct {
	client     *log.Client
	keys       []string
	key        statement.PublicKey
	statements []*statement.Statement
	answer     []byte
}

func askClosure(b *testing.B) *closureAnswer {
	b.Helper()
	scratch := &ending{TB: b}
	defer scratch.end() // what the log holds would be looked through by every garbage collection
	l, signer := logtest.New(scratch), logtest.Signer(b, "a")
	c := &closureAnswer{key: signer.PublicKey()}
	for i := range closureAll {
		build, key := fourOutputs(b, i)
		if i < closureAsked {
			c.keys = append(c.keys, key)
		}
		l.Add(logtest.Leaf(b, signer, build))
	}
	l.Publish()
	rec := &recorder{}
	var err error
	if c.client, err = log.NewClient(l.URL(), l.Policy(), log.Options{HTTP: &http.Client{Transport: rec}}); err != nil {
		b.Fatal(err)
	}
	found := c.lookup(b)
	for _, k := range c.keys {
		c.statements = append(c.statements, found.Of(k)[0].Leaf.Statement)
	}
	c.answer = rec.answer
	return c
}

func (c *closureAnswer) lookup(b *testing.B) *log.Answers {
	b.Helper()
	a, err := c.client.Lookup(b.Context(), log.Query{Keys: c.keys})
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// verify verifies all signatures on so many processors.
func (c *closureAnswer) verify(b *testing.B, processors int) {
	b.Helper()
	var wg sync.WaitGroup
	for some := range slices.Chunk(c.statements, (closureAsked+processors-1)/processors) {
		wg.Go(func() {
			for _, s := range some {
				if err := s.Verify(c.key); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// What an answer about 2,000 builds costs who asked, beside the signatures, which
// come on top; and the largest parts of it on one processor.
func BenchmarkClosure(b *testing.B) {
	c := askClosure(b)
	answer, err := lookup.Parse(c.answer)
	if err != nil {
		b.Fatal(err)
	}
	trie, err := answer.Trie.AppendBinary(nil)
	if err != nil {
		b.Fatal(err)
	}
	run := func(what string, f func(b *testing.B)) {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				f(b)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/closureAsked, "ns/statement")
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N)/closureAsked, "cpu-ns/statement")
		})
	}
	run("lookup and signatures", func(b *testing.B) { c.lookup(b); c.verify(b, runtime.GOMAXPROCS(0)) })
	run("signatures", func(b *testing.B) { c.verify(b, runtime.GOMAXPROCS(0)) })
	run("signatures on one", func(b *testing.B) { c.verify(b, 1) })
	run("lookup", func(b *testing.B) { c.lookup(b) })
	run("form of the answer", func(b *testing.B) {
		if _, err := lookup.Parse(c.answer); err != nil {
			b.Fatal(err)
		}
	})
	run("trie", func(b *testing.B) {
		if _, _, err := index.ParsePruned(trie); err != nil {
			b.Fatal(err)
		}
	})
	run("parse", func(b *testing.B) {
		for i := range answer.Bodies {
			if _, err := statement.Parse(answer.Bodies[i].Leaf); err != nil {
				b.Fatal(err)
			}
		}
	})
	run("hashes of the keys", func(b *testing.B) {
		var hashes []index.Hash
		for _, s := range c.statements {
			hashes = index.AppendKeyHashes(hashes[:0], s)
		}
	})
}

// ending is a test that ends before the one that it is a part of.
type ending struct {
	testing.TB
	cleanups []func()
}

func (e *ending) Cleanup(f func()) { e.cleanups = append(e.cleanups, f) }

func (e *ending) end() {
	for _, f := range slices.Backward(e.cleanups) {
		f()
	}
}

// processorTime is what this process has used of all processors: other than the time that
// passes, it does not depend on what else runs.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// recorder remembers the answer to the first request and gives it to all others.
type recorder struct{ answer []byte }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.answer == nil {
		req = req.Clone(req.Context())
		req.Header.Set("Accept-Encoding", "identity")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if r.answer, err = io.ReadAll(resp.Body); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(r.answer)), ContentLength: int64(len(r.answer)), Request: req}, nil
}

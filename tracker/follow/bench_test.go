package follow

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/store"
)

// nothing is a store that keeps nothing.
type nothing struct{ next uint64 }

func (n *nothing) Progress(context.Context, string) (uint64, [32]byte, error) {
	return n.next, [32]byte{}, nil
}
func (n *nothing) Logs(context.Context) ([]store.LogView, error) { return nil, nil }
func (n *nothing) Keys() map[statement.KeyID]statement.PublicKey { return nil }
func (n *nothing) Add(_ context.Context, _ string, entries []store.Entry) error {
	n.next += uint64(len(entries))
	return nil
}
func (n *nothing) Note(context.Context, store.LogView, [32]byte) error { return nil }

// BenchmarkReading replays a log of 10,000 entries into nothing: verifying, when it is known
// that they verify, and beside it the signatures alone, on one core.
func BenchmarkReading(b *testing.B) {
	const n = 10_000
	l := logtest.New(b)
	signer := logtest.Signer(b, "alice")
	s, err := statement.Sign(b.Context(), signer, &statement.Operator{Name: "alice", Contact: "a@example.org", HomeLog: l.Origin(), Identity: signer.PublicKey()}, "", nil)
	if err != nil {
		b.Fatal(err)
	}
	l.Add(s.Leaf())
	for i := range n {
		l.Add(logtest.Leaf(b, signer, logtest.Closure(fmt.Sprint("closure-", i))))
	}
	l.Publish()
	run := func(b *testing.B, dir string) {
		f, err := New(b.Context(), Options{Logs: []Log{{Origin: l.Origin(), URL: l.URL(), Policy: l.Policy()}}, Store: &nothing{}, Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		if err := f.Replay(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("verifying", func(b *testing.B) {
		for b.Loop() {
			run(b, b.TempDir())
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	b.Run("known", func(b *testing.B) {
		dir := b.TempDir()
		run(b, dir)
		for b.Loop() {
			run(b, dir)
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	b.Run("signatures", func(b *testing.B) {
		pub, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			b.Fatal(err)
		}
		msg := make([]byte, 600)
		sig := ed25519.Sign(key, msg)
		for b.Loop() {
			ed25519.Verify(pub, msg, sig)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
}

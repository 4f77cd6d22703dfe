package federation_test

import (
	"testing"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/logtest"
)

// What gossip pays for every message before anything else.
func BenchmarkCheck(b *testing.B) {
	l := logtest.New(b, logtest.Witnesses(4, 3))
	note := grow(l, 0, 10, "leaf")
	p := newPeer(b, l.Policy())
	for b.Loop() {
		if _, err := p.Check(note); err != nil {
			b.Fatal(err)
		}
	}
}

// A growing log: compared with tiles of a folder, and synced to disk.
func BenchmarkOfferLarger(b *testing.B) {
	l := logtest.New(b, logtest.Witnesses(4, 3))
	p := newPeer(b, l.Policy(), l.FileURL())
	n := 0
	for b.Loop() {
		b.StopTimer()
		note := grow(l, n, n+10, "leaf")
		n += 10
		b.StartTimer()
		if out, err := p.Offer(b.Context(), note, "bench"); out != federation.Larger {
			b.Fatal(out, err)
		}
	}
}

// A replay: known, without network or disk.
func BenchmarkOfferKnown(b *testing.B) {
	l := logtest.New(b, logtest.Witnesses(4, 3))
	note := grow(l, 0, 10, "leaf")
	p := newPeer(b, l.Policy())
	p.Offer(b.Context(), note, "bench")
	for b.Loop() {
		if out, err := p.Offer(b.Context(), note, "bench"); out != federation.Known {
			b.Fatal(out, err)
		}
	}
}

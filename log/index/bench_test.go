package index_test

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"

	"github.com/firn-log/firn/log/index"
)

func benchKey(i int) index.Hash {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(i))
	return index.KeyHash(string(b[:]))
}

// million is a map of a million keys with one item each.
var million = sync.OnceValue(func() *index.Memory {
	m := new(index.Memory)
	for i := range 1_000_000 {
		m.Put(benchKey(i), index.Item{Index: uint64(i)})
	}
	m.Root()
	return m
})

// BenchmarkPut adds batches of 1,000 new keys and computes the root; the time is
// for one key.
func BenchmarkPut(b *testing.B) {
	b.ReportAllocs()
	m := new(index.Memory)
	for i := range b.N {
		m.Put(benchKey(i), index.Item{Index: uint64(i)})
		if i%1000 == 999 {
			m.Root()
		}
	}
}

func BenchmarkMemoryOfAMillionKeys(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := new(index.Memory)
		for i := range 1_000_000 {
			m.Put(benchKey(i), index.Item{Index: uint64(i)})
		}
		m.Root()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "B/key")
		runtime.KeepAlive(m)
	}
}

func proof2000(b *testing.B) (khs []index.Hash, proof []byte) {
	b.Helper()
	for i := range 2000 {
		khs = append(khs, benchKey(500*i))
	}
	proof, err := million().Prove(khs).AppendBinary(nil)
	if err != nil {
		b.Fatal(err)
	}
	return khs, proof
}

func BenchmarkProve2000Of1M(b *testing.B) {
	khs, _ := proof2000(b)
	for b.Loop() {
		million().Prove(khs)
	}
}

func BenchmarkVerify2000Of1M(b *testing.B) {
	khs, proof := proof2000(b)
	root := million().Root()
	b.ReportAllocs()
	for b.Loop() {
		n, _, err := index.ParsePruned(proof)
		if err != nil || n.Hash() != root {
			b.Fatal(err)
		}
		for i, kh := range khs {
			h, present, err := n.Find(kh)
			if err != nil || !present {
				b.Fatal(present, err)
			}
			l := index.List{Items: []index.Item{{Index: uint64(500 * i)}}}
			if err := l.Check(h, 1<<30); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(len(proof)), "proof-bytes")
}

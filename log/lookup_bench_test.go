package log_test

import (
	"fmt"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// BenchmarkLongList checks an answer about a list of 100,000 entries of which nobody's bodies are wanted, beside what
// it takes at least: to hash the list.
func BenchmarkLongList(b *testing.B) {
	const n = 100_000
	l := logtest.New(b)
	s := logtest.Signer(b, "a")
	for i := range n {
		l.Add(logtest.Leaf(b, s, logtest.Closure(fmt.Sprint(i))))
	}
	l.Publish()
	l.Revise()
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
	id := s.PublicKey().ID()
	c := l.Client("")
	q := log.Query{Keys: []string{index.Key(id)}, Signers: []statement.KeyID{}}
	cp, answer := c.RawAnswer(b, q)
	b.Run("answer", func(b *testing.B) {
		for b.Loop() {
			a, err := c.CheckRawAnswer(cp, q, answer)
			if err != nil || len(a.Of(q.Keys[0])) != n {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
	})
	b.Run("hash", func(b *testing.B) {
		for b.Loop() {
			var f index.Frontier
			for i := range uint64(n) {
				f.Append(index.Item{Index: i, Signer: id})
			}
			f.Root()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
	})
}

package store

import (
	"testing"
	"time"

	"github.com/firn-log/firn/internal/pgtest"
)

// What AddEntries does with statements whose signatures are verified: builds by three operators
// of outputs that each of them has, of which some differ.
func BenchmarkAddEntries(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) { benchmarkAddEntries(b, openSQLite(b, Options{})) })
	b.Run("PostgreSQL", func(b *testing.B) { benchmarkAddEntries(b, openAt(b, pgtest.New(b).Database(b), Options{})) })
}

func benchmarkAddEntries(b *testing.B, db *DB) {
	const batch = 4000
	s := fill(b, db, 0, 0)
	var spent, cpu time.Duration
	for done := 0; done < b.N; done += batch {
		es := s.entries(batch)
		start, before := time.Now(), cpuTime()
		write(b, s.db, func(tx *Tx) error { return tx.AddEntries(b.Context(), logA, es) })
		spent, cpu = spent+time.Since(start), cpu+cpuTime()-before
	}
	b.ReportMetric(float64(s.built)/spent.Seconds(), "statements/s")
	b.ReportMetric(float64(s.built)/cpu.Seconds(), "statements/cpu-s")
}

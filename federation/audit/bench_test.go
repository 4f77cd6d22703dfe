package audit

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// grow adds n closures of 50 signers to a log in checkpoints of 200, each with a
// revision of the one before, and returns the last one.
func grow(b *testing.B, l *logtest.Log, m *index.Memory, n int) (note []byte) {
	add := func(leaf []byte) { m.Add(l.Add(leaf), leaf) }
	var signers []statement.Signer
	for i := range 50 {
		signers = append(signers, logtest.Signer(b, fmt.Sprint("signer ", i)))
	}
	for i := range n {
		at := int(l.Size()) + i
		add(logtest.Leaf(b, signers[at%50], logtest.Closure(fmt.Sprint(at))))
		if i%200 == 199 {
			note = l.Publish()
			add(l.State(&statement.Revision{Origin: l.Origin(), Size: l.Size(), Root: m.Root(), MapVersion: index.MapVersion}))
		}
	}
	return note
}

// BenchmarkReplay replays a log of 60,000 entries with 300 revisions over HTTP.
func BenchmarkReplay(b *testing.B) {
	l := logtest.New(b)
	note := grow(b, l, new(index.Memory), 60_000)
	size := headOf(b, note).Size
	b.ResetTimer()
	before := cpu(b)
	for b.Loop() {
		a := startAudit(b, l, nil)
		_ = a.Gate(b.Context(), request(b, note)) // too far behind
		a.until("the replay", func() bool { return a.checked() == size })
		a.close()
	}
	n := float64(size) * float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1000/n, "µs-CPU/entry")
}

// cpu is the time that this process has computed, the log included.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCheckpoint measures what a checkpoint of 200 new entries with a revision
// takes on top of 60,000.
func BenchmarkCheckpoint(b *testing.B) {
	l, m := logtest.New(b), new(index.Memory)
	a := startAudit(b, l, nil)
	first := grow(b, l, m, 60_000)
	_ = a.Gate(b.Context(), request(b, first)) // too far behind
	a.until("the replay", func() bool { return a.Status().Behind() == 0 })
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		note := grow(b, l, m, 200)
		b.StartTimer()
		began := time.Now()
		if a.gate(note) != 200 {
			b.Fatal("it is refused")
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/p99")
}

package witness

import (
	"fmt"
	"sync"
	"testing"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

// BenchmarkAddCheckpoint is the witness without HTTP: eight growing logs that
// submit at once.
func BenchmarkAddCheckpoint(b *testing.B) {
	w := newWorld(b)
	w.logs = nil
	bodies := make([][][]byte, 8)
	each := b.N/len(bodies) + 1
	for i := range bodies {
		l := sample.New(fmt.Sprintf("log.example/%d", i))
		l.Grow(uint64(each))
		for size := range uint64(each) {
			bodies[i] = append(bodies[i], l.Request(size, size+1))
		}
		w.logs = append(w.logs, Log{Origin: l.Origin, Keys: []policy.Key{l.Key}})
	}
	w.again()
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, requests := range bodies {
		wg.Go(func() {
			for _, body := range requests {
				if status, response, _ := w.AddCheckpoint(b.Context(), body); status != 200 {
					b.Errorf("status %d: %s", status, response)
					return
				}
			}
		})
	}
	wg.Wait()
	groups, members := w.store.Syncs()
	b.ReportMetric(float64(members)/float64(groups), "checkpoints/sync")
}

package server

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/statement"
)

// maxRecent bounds the entries that recent keeps.
const maxRecent = 1 << 14

// recent keeps what the map wants of the entries added last, so that they need not
// be read and parsed a second time. It may be used concurrently.
type recent struct {
	mu   sync.Mutex // guards what follows
	from uint64     // index of the first of rows
	rows []recentRow
}

type recentRow struct {
	triedb.Row
	revision bool
}

// mapRow returns what the map wants of an entry; st is nil if it cannot be read, and
// it is then under no key.
func mapRow(st *statement.Statement) recentRow {
	if st == nil {
		return recentRow{}
	}
	return recentRow{triedb.Row{Keys: index.StatementKeys(st), Signer: st.Signer}, st.Kind == statement.KindRevision}
}

// mapRows returns what the map wants of entries, on all processors.
func mapRows(leaves [][]byte) []recentRow {
	rows := make([]recentRow, len(leaves))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(leaves)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(leaves)); i = next.Add(1) - 1 {
				if st, err := statement.Parse(leaves[i]); err == nil {
					rows[i] = mapRow(st)
				}
			}
		})
	}
	wg.Wait()
	return rows
}

// add keeps entries from an index on.
func (r *recent) add(first uint64, statements []*statement.Statement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first != r.from+uint64(len(r.rows)) {
		r.from, r.rows = first, nil
	}
	for _, st := range statements {
		r.rows = append(r.rows, mapRow(st))
	}
	if n := len(r.rows) - maxRecent; n > 0 {
		r.drop(n)
	}
}

// take returns the entries from one index to another and forgets those before; nil if
// it does not have them all.
func (r *recent) take(from, to uint64) []recentRow {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from < r.from || to > r.from+uint64(len(r.rows)) || from > to {
		return nil
	}
	rows := slices.Clone(r.rows[from-r.from : to-r.from])
	r.drop(int(from - r.from))
	return rows
}

// drop forgets the first n. The caller holds mu.
func (r *recent) drop(n int) {
	r.rows = slices.Delete(r.rows, 0, n)
	r.from += uint64(n)
}

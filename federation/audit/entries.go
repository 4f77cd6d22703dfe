package audit

import (
	"bytes"
	"context"
	"iter"
	"runtime"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/statement"
)

// Bounds of a batch, the entries that are parsed and taken at once.
const (
	batchSize  = 1024    // entries
	batchBytes = 4 << 20 // of leaves, from which on no more are added
)

// An entry is a leaf with what the map and the audit need of it.
type entry struct {
	at    uint64
	leaf  []byte // of a revision that counts
	row   triedb.Row
	rev   *statement.Revision   // that counts (spec/index.md#revisions), or nil
	reset *statement.IndexReset // that counts, or nil
}

// entries yields the entries of cp from an index on, in batches. While one is taken the
// next ones are fetched and parsed.
func (a *Auditor) entries(ctx context.Context, cp *log.Checkpoint, from uint64) iter.Seq2[[]entry, error] {
	return func(yield func([]entry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		queue := make(chan chan parsed, 2*runtime.GOMAXPROCS(0))
		go a.fetch(ctx, cp, from, queue)
		for out := range queue {
			if p := <-out; !yield(p.entries, p.err) || p.err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// parsed is a batch, or why there are no more.
type parsed struct {
	entries []entry
	err     error
}

// fetch sends the entries of cp from an index on to queue, each batch as soon as it is
// parsed, and closes it. It ends with ctx.
func (a *Auditor) fetch(ctx context.Context, cp *log.Checkpoint, from uint64, queue chan<- chan parsed) {
	defer close(queue)
	send := func(get func() parsed) bool {
		out := make(chan parsed, 1)
		select {
		case queue <- out:
		case <-ctx.Done():
			return false
		}
		go func() { out <- get() }()
		return true
	}
	batch, large := make([]log.Entry, 0, batchSize), 0
	for e, err := range a.client.Entries(ctx, cp, from, cp.Size) {
		if err != nil {
			send(func() parsed { return parsed{err: err} })
			return
		}
		large += len(e.Leaf)
		if batch = append(batch, e); len(batch) < batchSize && large < batchBytes && e.Index+1 < cp.Size {
			continue
		}
		leaves := batch
		if !send(func() parsed { return parsed{entries: a.parse(leaves)} }) {
			return
		}
		batch, large = make([]log.Entry, 0, batchSize), 0
	}
}

func (a *Auditor) parse(leaves []log.Entry) []entry {
	entries := make([]entry, len(leaves))
	for i, l := range leaves {
		entries[i] = a.read(l)
	}
	return entries
}

// read returns what is needed of a leaf. One that is no statement has no keys.
func (a *Auditor) read(l log.Entry) entry {
	e := entry{at: l.Index}
	s, err := statement.Parse(l.Leaf)
	if err != nil {
		return e
	}
	e.row.Signer = s.Signer
	keys := index.StatementKeys(s)
	e.row.Hashes = make([]index.Hash, len(keys))
	for i, k := range keys {
		e.row.Hashes[i] = index.KeyHash(k)
	}
	switch b := s.Body.(type) {
	case *statement.Revision:
		if b.Origin == a.o.Key.Name && b.MapVersion == index.MapVersion && b.Size <= e.at && s.Verify(a.logKey) == nil {
			e.rev, e.leaf = b, bytes.Clone(l.Leaf) // or all that was fetched with it stays
		}
	case *statement.IndexReset:
		if b.Origin == a.o.Key.Name && b.MapVersion == index.MapVersion && b.Size <= e.at && s.Verify(a.logKey) == nil {
			e.reset = b
		}
	}
	return e
}

package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// Memory is a Store for tests. It keeps its tree when it is closed, so that
// the same one may be opened again, and it can be made to fail.
type Memory struct {
	mu     sync.Mutex // guards what follows
	leaves [][]byte
	hashes []tlog.Hash // stored hashes of the leaves
	fault  func(op string) Fault
	wake   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

// A Fault is how one operation of a Memory ("append", "size", "tile",
// "bundle") fails. The zero Fault is none.
type Fault struct {
	Err   error         // what it returns
	Keep  int           // how many leaves of a failing Append are kept all the same
	Until chan struct{} // it waits until this is closed
	Skip  uint64        // an Append returns an index that is this much too large
}

// SetFault lets f decide how each operation fails; nil ends it.
func (m *Memory) SetFault(f func(op string) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// Truncate makes the tree one of size entries, as a restored backup would.
func (m *Memory) Truncate(size uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	leaves := m.leaves[:size:size]
	m.leaves, m.hashes = nil, nil
	m.keep(leaves)
}

// Open begins to sign checkpoints of the tree with c.Signer.
func (m *Memory) Open(_ context.Context, c POSIXConfig) (Store, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.done, m.wake = cancel, make(chan struct{}), make(chan struct{}, 1)
	go m.sign(ctx, c.Signer, c.Interval, m.wake, m.done)
	return m, nil
}

// sign asks for a checkpoint whenever the tree grew, and again while it gets
// none.
func (m *Memory) sign(ctx context.Context, s note.Signer, interval time.Duration, wake <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	var signed uint64
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-t.C:
		}
		m.mu.Lock()
		size := uint64(len(m.leaves))
		root, err := tlog.TreeHash(int64(size), m.reader())
		m.mu.Unlock()
		if err != nil || size == signed {
			continue
		}
		text := policy.Head{Origin: s.Name(), Size: size, Root: root}.Text()
		if _, err := s.Sign([]byte(text)); err == nil {
			signed = size
		}
	}
}

func (m *Memory) reader() tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = m.hashes[x]
		}
		return out, nil
	}
}

// keep adds leaves. The caller holds mu.
func (m *Memory) keep(leaves [][]byte) {
	for _, leaf := range leaves {
		hashes, err := tlog.StoredHashes(int64(len(m.leaves)), leaf, m.reader())
		if err != nil {
			panic(err) // the reader has every hash that is asked for
		}
		m.hashes = append(m.hashes, hashes...)
		m.leaves = append(m.leaves, leaf)
	}
}

// failing returns how op fails, after waiting if it is to wait. The caller
// holds mu.
func (m *Memory) failing(op string) Fault {
	if m.fault == nil {
		return Fault{}
	}
	f := m.fault(op)
	if f.Until != nil {
		m.mu.Unlock()
		<-f.Until
		m.mu.Lock()
	}
	return f
}

// Append implements Store.
func (m *Memory) Append(_ context.Context, leaves [][]byte) (uint64, error) {
	if err := checkBatch(leaves); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.failing("append")
	first := uint64(len(m.leaves)) + f.Skip
	if f.Err != nil {
		m.keep(leaves[:min(f.Keep, len(leaves))])
		return 0, f.Err
	}
	m.keep(leaves)
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return first, nil
}

// Size implements Store.
func (m *Memory) Size(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.failing("size")
	return uint64(len(m.leaves)), f.Err
}

// Tile implements Store.
func (m *Memory) Tile(_ context.Context, level, index uint64, width int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.failing("tile"); f.Err != nil {
		return nil, f.Err
	}
	if TileWidth(level, index, uint64(len(m.leaves))) < width {
		return nil, ErrNotFound
	}
	var b []byte
	for i := range uint64(width) {
		h := m.hashes[tlog.StoredHashIndex(int(8*level), int64(index*Width+i))]
		b = append(b, h[:]...)
	}
	return b, nil
}

// Bundle implements Store.
func (m *Memory) Bundle(_ context.Context, index uint64, width int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.failing("bundle"); f.Err != nil {
		return nil, f.Err
	}
	if TileWidth(0, index, uint64(len(m.leaves))) < width {
		return nil, ErrNotFound
	}
	var b []byte
	for _, leaf := range m.leaves[index*Width : index*Width+uint64(width)] {
		b = AppendFrame(b, leaf)
	}
	return b, nil
}

// Close implements Store.
func (m *Memory) Close(context.Context) error {
	m.cancel()
	<-m.done
	return nil
}

// checkBatch checks the bounds of Append.
func checkBatch(leaves [][]byte) error {
	if len(leaves) == 0 || len(leaves) > MaxBatch {
		return fmt.Errorf("appending %d leaves at once, want 1 to %d", len(leaves), MaxBatch)
	}
	for _, leaf := range leaves {
		if len(leaf) == 0 || len(leaf) > MaxEntry {
			return fmt.Errorf("appending a leaf of %d bytes, want 1 to %d", len(leaf), MaxEntry)
		}
	}
	return nil
}

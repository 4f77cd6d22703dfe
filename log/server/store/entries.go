package store

import (
	"container/list"
	"context"
	"fmt"
	"iter"
)

// bundle is a parsed entry bundle.
type bundle struct {
	entries [][]byte
	size    int
}

func (b *bundle) bytes() int { return b.size }

// Entry returns entry index of the tree's first size entries. The bytes must
// not be changed.
func (t *Tree) Entry(ctx context.Context, size, index uint64) ([]byte, error) {
	if index >= size {
		return nil, fmt.Errorf("entry %d in a tree of %d: %w", index, size, ErrNotFound)
	}
	n, i := index/Width, int(index%Width)
	t.mu.Lock()
	b, ok := t.bundles.get(n)
	t.mu.Unlock()
	if !ok || len(b.entries) <= i {
		var err error
		if b, err = t.bundle(ctx, n, TileWidth(0, n, size)); err != nil {
			return nil, err
		}
		t.mu.Lock()
		t.bundles.put(n, b)
		t.mu.Unlock()
	}
	return b.entries[i], nil
}

// Bundle returns exactly the first width entries of bundle n, framed.
func (t *Tree) Bundle(ctx context.Context, n uint64, width int) ([]byte, error) {
	raw, err := t.store.Bundle(ctx, n, width)
	if err != nil {
		return nil, fmt.Errorf("reading entry bundle %d: %w", n, err)
	}
	entries, err := ParseFrames(raw, Width)
	if err != nil || len(entries) < width {
		return nil, fmt.Errorf("entry bundle %d: %d entries, want %d: %w", n, len(entries), width, err)
	}
	end := 0
	for _, e := range entries[:width] {
		end += 2 + len(e)
	}
	return raw[:end], nil
}

// bundle reads exactly the first width entries of bundle n: what lies behind
// them on disk may belong to a batch that was never finished.
func (t *Tree) bundle(ctx context.Context, n uint64, width int) (*bundle, error) {
	raw, err := t.store.Bundle(ctx, n, width)
	if err != nil {
		return nil, fmt.Errorf("reading entry bundle %d: %w", n, err)
	}
	entries, err := ParseFrames(raw, Width)
	if err != nil {
		return nil, fmt.Errorf("reading entry bundle %d: %w", n, err)
	}
	if len(entries) < width {
		return nil, fmt.Errorf("entry bundle %d holds %d entries, want %d", n, len(entries), width)
	}
	return &bundle{entries: entries[:width:width], size: len(raw)}, nil
}

// Entries reads entries [from, to) in order, without remembering them; to must
// be at most a size that the store has reported.
func (t *Tree) Entries(ctx context.Context, from, to uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for from < to {
			n := from / Width
			b, err := t.bundle(ctx, n, TileWidth(0, n, to))
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range b.entries[from%Width:] {
				if !yield(e, nil) {
					return
				}
				from++
			}
		}
	}
}

// lru keeps the values used last within a total cost.
type lru[K comparable, V any] struct {
	max, used int
	cost      func(V) int
	order     *list.List // of lruItem[K, V], newest in front
	items     map[K]*list.Element
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int, cost func(V) int) *lru[K, V] {
	return &lru[K, V]{max: limit, cost: cost, order: list.New(), items: make(map[K]*list.Element)}
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	e, ok := l.items[k]
	if !ok {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(lruItem[K, V]).value, true
}

func (l *lru[K, V]) put(k K, v V) {
	if e, ok := l.items[k]; ok {
		l.remove(e)
	}
	l.items[k] = l.order.PushFront(lruItem[K, V]{k, v})
	l.used += l.cost(v)
	for l.used > l.max && l.order.Len() > 1 {
		l.remove(l.order.Back())
	}
}

func (l *lru[K, V]) remove(e *list.Element) {
	item := l.order.Remove(e).(lruItem[K, V])
	delete(l.items, item.key)
	l.used -= l.cost(item.value)
}

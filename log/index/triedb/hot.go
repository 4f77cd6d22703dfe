package triedb

import (
	"sync"

	"github.com/firn-log/firn/log/index"
)

// markEvery is how many items of a long list are between two remembered
// frontiers: no more than these are hashed to know the head of any state of it.
const markEvery = 256

// hotKeys remembers frontiers of the lists with at least markEvery items.
// They are of a list that only grows, and so of every state of it.
type hotKeys struct {
	mu   sync.RWMutex
	keys map[index.Hash]*hotKey
}

type hotKey struct {
	mu    sync.Mutex
	marks []index.Frontier // of the first markEvery·(i+1) items
}

func (h *hotKeys) key(kh index.Hash) *hotKey {
	h.mu.RLock()
	k := h.keys[kh]
	h.mu.RUnlock()
	if k != nil {
		return k
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if k = h.keys[kh]; k == nil {
		if h.keys == nil {
			h.keys = make(map[index.Hash]*hotKey)
		}
		k = &hotKey{}
		h.keys[kh] = k
	}
	return k
}

// frontier returns the frontier of the first n items of a list that has at least as many.
func (h *hotKeys) frontier(kh *index.Hash, l list, n uint64) index.Frontier {
	var f index.Frontier
	if n >= markEvery {
		f = h.key(*kh).mark(l, n/markEvery)
	}
	l.items(f.Count(), n, func(it index.Item) { f.Append(it) })
	return f
}

// mark returns the frontier of the first i·markEvery items, i ≥ 1.
func (k *hotKey) mark(l list, i uint64) index.Frontier {
	k.mu.Lock()
	defer k.mu.Unlock()
	if have := uint64(len(k.marks)); have < i {
		var f index.Frontier
		if have > 0 {
			f = k.marks[have-1]
		}
		l.items(f.Count(), i*markEvery, func(it index.Item) {
			if f.Append(it); f.Count()%markEvery == 0 {
				k.marks = append(k.marks, f)
			}
		})
	}
	return k.marks[i-1]
}

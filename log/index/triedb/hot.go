package triedb

import (
	"sync"

	"github.com/firn-log/firn/log/index"
)

// markEvery is how many items of a long list are between two remembered
// frontiers: no more than these are hashed to know the head of any state of it.
const markEvery = 256

// hotKeys remembers frontiers of the lists with at least markEvery items: marks, and the
// longest, which the next state needs. They are of a list that only grows, and so of every
// state of it.
type hotKeys struct {
	mu   sync.RWMutex
	keys map[index.Hash]*hotKey
}

type hotKey struct {
	mu      sync.Mutex
	marks   []index.Frontier // of the first markEvery·(i+1) items
	longest index.Frontier
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
	if n >= markEvery {
		return h.key(*kh).frontier(l, n)
	}
	var f index.Frontier
	l.items(0, n, func(it index.Item) { f.Append(it) })
	return f
}

func (k *hotKey) frontier(l list, n uint64) index.Frontier {
	k.mu.Lock()
	defer k.mu.Unlock()
	var f index.Frontier
	switch i := n / markEvery; {
	case k.longest.Count() <= n:
		f = k.longest
	case i > 0:
		f = k.marks[i-1]
	}
	l.items(f.Count(), n, func(it index.Item) {
		if f.Append(it); f.Count() == markEvery*uint64(len(k.marks)+1) {
			k.marks = append(k.marks, f)
		}
	})
	if f.Count() > k.longest.Count() {
		k.longest = f
	}
	return f
}

package triedb

import (
	"context"
	"fmt"
	"math"

	"github.com/firn-log/firn/log/index"
)

// keepBytes is how much memory older states may take beside what they share with the
// newest.
const keepBytes = 32 << 20

// viewBytes is what a state takes that shares everything.
const viewBytes = 64

// A View is the map of the leaves below one size. It may be used concurrently,
// also while leaves are added, until the DB is closed. It holds memory: do not
// keep more than a few.
type View struct {
	db   *DB
	size uint64
	root *node
	cost int // bytes that only this state and newer ones need
}

// Size returns the number of leaves.
func (v *View) Size() uint64 { return v.size }

// Root returns the root of the map.
func (v *View) Root() index.Hash {
	if v.root == nil {
		return index.EmptyRoot
	}
	return v.root.hash
}

// keep makes v the newest state and forgets old ones. The caller holds mu.
func (db *DB) keep(v *View) {
	db.views = append(db.views, v)
	bytes := 0
	for i := len(db.views) - 1; i > 0; i-- {
		if bytes += db.views[i].cost + viewBytes; bytes > keepBytes && i < len(db.views)-1 {
			db.views = append([]*View(nil), db.views[i:]...)
			return
		}
	}
}

// View returns the state below size. States that were committed lately are there at once (the
// last two always); any other one is computed, one at a time, which takes as long as
// a Commit of what was added until the next one that is there, and the one computed last is kept. The error
// is ErrFuture above the last Commit; ErrBusy if ctx ends while another one is being computed, so
// that one that has ended already does not wait; and that of ctx if it ends later.
func (db *DB) View(ctx context.Context, size uint64) (*View, error) {
	if v, err := db.find(size); v != nil || err != nil {
		return v, err
	}
	select {
	case db.slot <- struct{}{}:
	default:
		select {
		case db.slot <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("index at size %d: %w", size, ErrBusy)
		}
	}
	defer func() { <-db.slot }()
	if v, err := db.find(size); v != nil || err != nil {
		return v, err
	}
	v, err := db.compute(ctx, size)
	if err != nil {
		return nil, fmt.Errorf("index at size %d: %w", size, err)
	}
	return v, nil
}

// find returns a state that is known; nil if it must be computed.
func (db *DB) find(size uint64) (*View, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, fmt.Errorf("index at size %d: %w", size, ErrClosed)
	}
	newest := db.views[len(db.views)-1].size
	switch {
	case size > newest:
		return nil, fmt.Errorf("index at size %d: %w: it is at %d", size, ErrFuture, newest)
	case size == 0:
		return &View{db: db}, nil
	case db.old != nil && db.old.size == size:
		return db.old, nil
	}
	for i := len(db.views) - 1; i >= 0; i-- {
		if db.views[i].size == size {
			return db.views[i], nil
		}
	}
	return nil, nil
}

func (db *DB) compute(ctx context.Context, size uint64) (*View, error) {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil, ErrClosed
	}
	base := db.views[len(db.views)-1]
	for _, v := range db.views {
		if v.size > size {
			base = v
			break
		}
	}
	db.mu.Unlock()
	set, err := db.acquire()
	if err != nil {
		return nil, err
	}
	defer db.release(set)
	changed, all := changedKeys(set, size, base.size)
	b := newBuilder(db, set, size, 1)
	root, err := b.rebase(ctx, base.root, changed, all)
	if err != nil {
		return nil, err
	}
	v := &View{db: db, size: size, root: root}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.old = v
	return v, nil
}

// reader reads the state of v until release is called.
func (v *View) reader() (rd *reader, release func(), err error) {
	set, err := v.db.acquire()
	if err != nil {
		return nil, nil, fmt.Errorf("index at size %d: %w", v.size, err)
	}
	rd = newReader(set, v.size, &v.db.hot)
	return rd, func() { rd.done(); v.db.release(set) }, nil
}

// Head returns the head of the list of a key hash, and whether it has one.
func (v *View) Head(kh index.Hash) (index.Head, bool, error) {
	rd, release, err := v.reader()
	if err != nil {
		return index.Head{}, false, err
	}
	defer release()
	l := rd.list(kh)
	if len(l.segments) == 0 {
		return index.Head{}, false, nil
	}
	return rd.head(&kh, l), true, nil
}

// List returns the items of a key hash from a position on, at most limit, the
// frontier of those before, and whether more follow. A key hash without a list
// has no items; a position beyond the end of a list is an error.
func (v *View) List(kh index.Hash, from uint64, limit int) (before index.Frontier, items []index.Item, more bool, err error) {
	rd, release, err := v.reader()
	if err != nil {
		return index.Frontier{}, nil, false, err
	}
	defer release()
	l := rd.list(kh)
	n := l.count()
	if from > n || limit < 0 {
		return index.Frontier{}, nil, false, fmt.Errorf("at most %d items from position %d of a list of %d", limit, from, n)
	}
	end := min(n, from+uint64(limit))
	l.items(from, end, func(it index.Item) { items = append(items, it) })
	return rd.hot.frontier(&kh, l, from), items, end < n, nil
}

// Prefix returns all key hashes with these first bits (0 to 256), in order. The
// error is ErrTooMany if they are more than limit.
func (v *View) Prefix(bits int, prefix index.Hash, limit int) ([]index.KeyHead, error) {
	if bits < 0 || bits > 256 || limit < 0 {
		return nil, fmt.Errorf("at most %d keys with a prefix of %d bits", limit, bits)
	}
	rd, release, err := v.reader()
	if err != nil {
		return nil, err
	}
	defer release()
	limit = min(limit, math.MaxInt-1)
	leaves := rd.gather(newPrefix(prefix, bits), limit+1)
	if len(leaves) > limit {
		return nil, fmt.Errorf("keys with this prefix of %d bits: %w: above %d", bits, ErrTooMany, limit)
	}
	keys := make([]index.KeyHead, len(leaves))
	for i, l := range leaves {
		keys[i] = index.KeyHead{Key: l.kh, Head: l.head}
	}
	return keys, nil
}

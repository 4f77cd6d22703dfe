package federation

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// Bounds of looking for lists of paths (spec/federation.md#lists).
const (
	maxWanted    = 10_000 // lists that are looked for at once; no further entry is read meanwhile
	listTries    = 12     // after which one that a log need not have is given up
	minListPause = 10 * time.Second
	maxListPause = time.Hour
)

// lists looks for the lists of paths that the entries of a mirror name. It is used by the
// goroutine that runs the mirror.
type lists struct {
	m     *Mirror
	state listState
	due   map[nix.Hash]time.Time // when each is asked for again; missing: now

	mu     sync.Mutex // guards what follows
	wanted int
}

// listState is the file beside the mirror: what was read, and what is looked for.
type listState struct {
	Schema int                `json:"schema"`
	Read   uint64             `json:"read"` // entries whose lists are held, wanted or given up
	Wanted map[string]*wanted `json:"wanted"`
}

// wanted is a list that is not held.
type wanted struct {
	// Needed is set if the log must have it: it has admitted a cache-sig that nobody can
	// verify otherwise.
	Needed bool `json:"needed,omitempty"`
	Tries  int  `json:"tries"` // how often everybody said that it is not there
}

func (l *lists) file() string { return l.m.o.Dir + ".lists" }

// open reads the state. One that cannot be read is begun anew, which costs reading the
// entries again.
func (l *lists) open() error {
	l.due = make(map[nix.Hash]time.Time)
	l.state = listState{}
	b, err := readFile(l.file(), 4<<20)
	if err != nil && !errors.Is(err, errNotFound) {
		return err
	}
	whole := l.m.have != nil // otherwise it is about a mirror that was removed
	if json.Unmarshal(b, &l.state) != nil || !whole || l.state.Schema != 1 || l.state.Wanted == nil || l.state.Read > l.m.have.head.Size {
		l.state = listState{Schema: 1, Wanted: make(map[string]*wanted)}
	}
	for hex, w := range l.state.Wanted {
		if _, err := nix.ParseHex(hex); err != nil || w == nil {
			delete(l.state.Wanted, hex)
		}
	}
	l.count()
	return nil
}

func (l *lists) save() error {
	l.count()
	b, err := json.Marshal(&l.state)
	if err != nil {
		return err
	}
	return durable.WriteFile(l.file(), b, 0o644)
}

func (l *lists) count() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = len(l.state.Wanted)
	l.m.o.Hub.o.Metrics.lists.WithLabelValues(l.m.o.Origin).Set(float64(l.wanted))
}

// PullLists looks for the lists that the entries in the mirror name: those of new
// entries, and those that it did not find before and whose time has come. Lists are
// verified by their hash and their form; anything else is not kept.
func (m *Mirror) PullLists(ctx context.Context) error {
	size, _ := m.Size()
	l := &m.lists
	for {
		before := l.state.Read
		if err := l.read(ctx, size); err != nil {
			return fmt.Errorf("mirror of %s: lists of paths: %w", m.o.Origin, err)
		}
		fetched, err := l.fetch(ctx)
		if saved := l.save(); err == nil {
			err = saved
		}
		if err != nil {
			return fmt.Errorf("mirror of %s: lists of paths: %w", m.o.Origin, err)
		}
		if l.state.Read == size || l.state.Read == before && !fetched {
			return nil
		}
	}
}

// next returns when lists are to be asked for again, and whether there are any.
func (l *lists) next() (time.Time, bool) {
	var first time.Time
	for hex := range l.state.Wanted {
		h, _ := nix.ParseHex(hex)
		if at := l.due[h]; first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first, len(l.state.Wanted) > 0
}

// read notes the lists that entries up to size name, until too many are wanted.
func (l *lists) read(ctx context.Context, size uint64) error {
	for l.state.Read < size && len(l.state.Wanted) < maxWanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := l.state.Read / tileWidth
		width := min(size-n*tileWidth, tileWidth)
		b, err := l.m.local(tilePath(entriesLevel, n, int(width)), maxBundle)
		if err != nil {
			return err
		}
		leaves, err := log.ParseLeaves(b)
		if err != nil || uint64(len(leaves)) != width {
			return fmt.Errorf("bundle %d is gone from the mirror", n)
		}
		for _, leaf := range leaves[l.state.Read-n*tileWidth:] {
			l.note(leaf)
		}
		l.state.Read = n*tileWidth + width
	}
	return nil
}

// note notes the lists that a leaf names and that are not held.
func (l *lists) note(leaf []byte) {
	st, err := statement.Parse(leaf)
	if err != nil {
		return // nobody reads it either
	}
	for _, b := range statement.Blobs(st.Body) {
		if b.Class != statement.BlobRefs && b.Class != statement.BlobDrvs {
			continue
		}
		if _, err := os.Lstat(l.m.file(log.BlobPath(b.Hash))); err == nil {
			continue
		}
		w := l.state.Wanted[b.Hash.Hex()]
		if w == nil {
			w = &wanted{}
			l.state.Wanted[b.Hash.Hex()] = w
		}
		w.Needed = w.Needed || st.Kind == statement.KindCacheSig
	}
}

// fetch asks for the lists whose time has come, and tells whether any of them is not
// wanted any more. An error is the disk's.
func (l *lists) fetch(ctx context.Context) (progress bool, err error) {
	now := l.m.o.Hub.o.Now()
	type outcome struct {
		hash nix.Hash
		err  error
	}
	var mu sync.Mutex
	var all []outcome
	g, fetching := errgroup.WithContext(ctx)
	g.SetLimit(pulls)
	for hex := range l.state.Wanted {
		h, _ := nix.ParseHex(hex)
		if l.due[h].After(now) {
			continue
		}
		if fetching.Err() != nil {
			break
		}
		g.Go(func() error {
			b, err := l.find(fetching, h)
			if err == nil {
				if err := l.m.keep(log.BlobPath(h), b); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, outcome{h, err})
			return nil
		})
	}
	err = g.Wait()
	if ctx.Err() != nil {
		return progress, ctx.Err()
	}
	for _, o := range all {
		progress = l.settle(o.hash, o.err, now) || progress
	}
	return progress, err
}

// settle decides about a list that was asked for, and tells whether it is not wanted any
// more.
func (l *lists) settle(h nix.Hash, err error, now time.Time) (done bool) {
	w := l.state.Wanted[h.Hex()]
	if err != nil {
		w.Tries++
		if w.Needed || w.Tries < listTries || !errors.Is(err, errNotFound) {
			pause := min(minListPause<<min(w.Tries-1, 16), maxListPause)
			l.due[h] = now.Add(jitter(pause))
			return false
		}
	}
	delete(l.state.Wanted, h.Hex())
	delete(l.due, h)
	return true
}

// find asks one source after the other. An error matches errNotFound if none of them has
// the list.
func (l *lists) find(ctx context.Context, h nix.Hash) ([]byte, error) {
	var failed error
	for _, url := range l.m.o.URLs {
		path := url + log.BlobPath(h)
		b, err := l.m.listFetch.get(ctx, path, statement.MaxBlob)
		switch {
		case errors.Is(err, errNotFound), errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && sha256.Sum256(b) != h:
			err = errors.New("it does not hash to its name")
		case err == nil:
			_, err = statement.ParsePathsBlob(nix.DefaultStoreDir, b)
		}
		if err == nil {
			return b, nil
		}
		failed = err
		if ctx.Err() == nil {
			l.m.o.Hub.o.Logger.Warn("reading a list of paths", "origin", l.m.o.Origin, "from", path, "error", err)
		}
	}
	if failed == nil {
		failed = errNotFound
	}
	return nil, failed
}

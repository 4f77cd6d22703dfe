package federation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/firn-log/firn/internal/durable"
)

// MirrorOptions are what a Mirror is made from.
type MirrorOptions struct {
	Hub    *Hub
	Origin string
	Dir    string // the static tree, made if missing: checkpoint and tile/
	// URLs are where tiles are read, in this order; not the mirror itself.
	URLs []string
}

// A Mirror keeps a whole log: every tile and every entry up to the best cosigned
// checkpoint of the hub, as a static tree (c2sp.org/tlog-tiles). Not one byte is
// kept that was not verified against that checkpoint, and the checkpoint is
// written after everything below it is durable: whatever is killed, what the tree
// shows is whole. It goes on serving when the log is gone.
type Mirror struct {
	o         MirrorOptions
	fetch     fetcher
	listFetch fetcher // of lists of paths, which may be longer than tiles
	lists     lists

	mu   sync.Mutex // guards what follows
	have *signed    // the checkpoint in Dir
	err  error      // of the last pull, nil if it ended well

	dirs   sync.Mutex
	opened map[string]bool // folders that this process writes in; guarded by dirs
}

// A WrongTileError says that a source served a tile or bundle that is not in the
// tree of the checkpoint. Nothing of it was kept, and it proves nothing against the log.
type WrongTileError struct {
	URL, Path, Reason string
}

func (e *WrongTileError) Error() string { return fmt.Sprintf("%s%s: %s", e.URL, e.Path, e.Reason) }

// NewMirror opens the mirror in o.Dir and offers what it holds to the hub. One
// process has the folder; the caller sees to that.
func NewMirror(ctx context.Context, o MirrorOptions) (*Mirror, error) {
	l, ok := o.Hub.Log(o.Origin)
	if !ok {
		return nil, fmt.Errorf("mirror of %s: %w", o.Origin, ErrUnknownOrigin)
	}
	for i, u := range o.URLs {
		o.URLs[i] = strings.TrimSuffix(u, "/") + "/"
	}
	m := &Mirror{o: o, fetch: fetcher{o.Hub.o.HTTP, o.Hub.o.Timeout}, listFetch: fetcher{o.Hub.o.HTTP, 6 * o.Hub.o.Timeout}, opened: make(map[string]bool)}
	m.lists.m = m
	if err := durable.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("mirror of %s: %w", o.Origin, err)
	}
	if err := durable.SweepTemp(o.Dir); err != nil {
		return nil, fmt.Errorf("mirror of %s: %w", o.Origin, err)
	}
	note, err := os.ReadFile(filepath.Join(o.Dir, "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		if err := m.lists.open(); err != nil {
			return nil, fmt.Errorf("mirror of %s: %w", o.Origin, err)
		}
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mirror of %s: %w", o.Origin, err)
	}
	m.have, _, err = readSigned(l.Policy, note, o.Hub.o.Now())
	if err != nil {
		return nil, fmt.Errorf("mirror of %s: its own checkpoint: %w", o.Origin, err)
	}
	if m.have.head.Origin != o.Origin {
		return nil, fmt.Errorf("mirror of %s: the folder holds %s", o.Origin, m.have)
	}
	if err := m.lists.open(); err != nil {
		return nil, fmt.Errorf("mirror of %s: %w", o.Origin, err)
	}
	if _, err := o.Hub.Offer(ctx, note, "mirror in "+o.Dir); err != nil {
		o.Hub.o.Logger.Warn("what the mirror holds", "origin", o.Origin, "error", err)
	}
	return m, nil
}

// Size returns how many entries the mirror has, and why it does not get on, nil
// if it does.
func (m *Mirror) Size() (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.have == nil {
		return 0, m.err
	}
	return m.have.head.Size, m.err
}

// Pauses after a pull that failed.
const (
	minPause = time.Second
	maxPause = 10 * time.Minute
)

// Run follows the hub until ctx ends.
func (m *Mirror) Run(ctx context.Context) {
	pause := minPause
	for ctx.Err() == nil {
		changed := m.o.Hub.Changed(m.o.Origin)
		err := m.Pull(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.o.Hub.o.Logger.Warn("mirroring", "origin", m.o.Origin, "error", err)
			if sleep(ctx, jitter(pause)) != nil {
				return
			}
			pause = min(2*pause, maxPause)
			continue
		}
		pause = minPause
		if err := m.PullLists(ctx); err != nil && ctx.Err() == nil {
			m.o.Hub.o.Logger.Warn("mirroring", "origin", m.o.Origin, "error", err)
		}
		m.await(ctx, changed)
	}
}

// await returns when there is a newer checkpoint, or a list is to be asked for again.
func (m *Mirror) await(ctx context.Context, changed <-chan struct{}) {
	if at, any := m.lists.next(); any {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(at.Sub(m.o.Hub.o.Now()), minPause))
		defer cancel()
	}
	select {
	case <-changed:
	case <-ctx.Done():
	}
}

// Pull brings the mirror to the best checkpoint of the hub. If it is interrupted,
// or a source fails, what was verified stays and the next pull goes on from there.
func (m *Mirror) Pull(ctx context.Context) error {
	err := m.pull(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
	if m.have != nil {
		m.o.Hub.o.Metrics.mirrored.WithLabelValues(m.o.Origin).Set(float64(m.have.head.Size))
	}
	return err
}

func (m *Mirror) pull(ctx context.Context) error {
	o := m.o.Hub.byName[m.o.Origin]
	o.mu.Lock()
	target, convicted := o.best, o.convicted
	o.mu.Unlock()
	m.mu.Lock()
	have := m.have
	m.mu.Unlock()
	if convicted || target == nil || target.head.Size == 0 {
		return nil // what is there stays; no further entry of a convicted log is taken
	}
	var size uint64
	if have != nil {
		size = have.head.Size
		switch {
		case target.head.Size < size:
			return nil
		case target.text == have.text:
			merged, news := have.merge(o.Policy, target, m.o.Hub.o.Now())
			if !news {
				return nil
			}
			return m.publish(merged)
		}
	}
	p := &pull{m: m, target: target, level: levels(target.head.Size)}
	if err := p.goesOn(ctx, have); err != nil {
		return err
	}
	if err := p.edge(ctx); err != nil {
		return err
	}
	for level := len(p.level) - 2; level >= 0; level-- {
		if err := p.tiles(ctx, level, size); err != nil {
			return err
		}
	}
	if err := p.bundles(ctx, size); err != nil {
		return err
	}
	if err := m.publish(target); err != nil {
		return err
	}
	m.o.Hub.o.Logger.Info("mirrored", "origin", m.o.Origin, "size", target.head.Size)
	return m.dropPartial(size, target.head.Size)
}

// publish writes the checkpoint; everything below it is durable.
func (m *Mirror) publish(s *signed) error {
	if err := durable.WriteFile(filepath.Join(m.o.Dir, "checkpoint"), s.note, 0o644); err != nil {
		return fmt.Errorf("mirror of %s: %w", m.o.Origin, err)
	}
	m.mu.Lock()
	m.have = s
	m.mu.Unlock()
	return nil
}

// goesOn checks that the tree in the folder is the beginning of the target: a
// mirror holds one history, and its tiles are never those of two.
func (p *pull) goesOn(ctx context.Context, have *signed) error {
	if have == nil || have.head.Size == 0 {
		return nil
	}
	o := p.m.o.Hub.byName[p.m.o.Origin]
	rel, err := o.src.relate(ctx, have, p.target, p.m.o.Hub.wrongTile(o))
	if err != nil {
		return err
	}
	if !rel.same {
		return fmt.Errorf("mirror of %s: the tree of size %d does not begin with the one in the folder, of size %d", p.m.o.Origin, p.target.head.Size, have.head.Size)
	}
	return nil
}

// dropPartial removes the partial tiles and bundles that the growth from old to
// size has made full, and those of sizes that were never reached: readers take the
// full one instead (c2sp.org/tlog-tiles). Partial ones that nothing has filled
// stay, because some size that was shown implies them.
func (m *Mirror) dropPartial(old, size uint64) error {
	for level := range levels(size) {
		shift := level * tileHeight
		for n := old >> shift / tileWidth; n < size>>shift/tileWidth; n++ {
			if err := m.drop(tilePath(level, n, tileWidth) + ".p"); err != nil {
				return err
			}
			if level > 0 {
				continue
			}
			if err := m.drop(tilePath(entriesLevel, n, tileWidth) + ".p"); err != nil {
				return err
			}
		}
	}
	return nil
}

// drop removes a folder of the mirror.
func (m *Mirror) drop(path string) error {
	dir := m.file(path)
	m.dirs.Lock()
	defer m.dirs.Unlock()
	delete(m.opened, dir)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("mirror of %s: %w", m.o.Origin, err)
	}
	return nil
}

func (m *Mirror) file(path string) string { return filepath.Join(m.o.Dir, filepath.FromSlash(path)) }

// keep writes a verified file, durably.
func (m *Mirror) keep(path string, b []byte) error {
	file := m.file(path)
	if err := m.open(filepath.Dir(file)); err != nil {
		return fmt.Errorf("mirror of %s: %w", m.o.Origin, err)
	}
	if err := durable.WriteFile(file, b, 0o644); err != nil {
		return fmt.Errorf("mirror of %s: %w", m.o.Origin, err)
	}
	return nil
}

// open makes a folder and, the first time that this process writes there, removes
// what an interrupted write has left.
func (m *Mirror) open(dir string) error {
	m.dirs.Lock()
	defer m.dirs.Unlock()
	if m.opened[dir] {
		return nil
	}
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := durable.SweepTemp(dir); err != nil {
		return err
	}
	m.opened[dir] = true
	return nil
}

// local reads a file of the mirror, nil if it is not there.
func (m *Mirror) local(path string, limit int64) ([]byte, error) {
	b, err := readFile(m.file(path), limit)
	if errors.Is(err, errNotFound) || errors.Is(err, errGarbage) {
		return nil, nil
	}
	return b, err
}

package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

// POSIXConfig is how OpenPOSIX opens a folder.
type POSIXConfig struct {
	Dir string
	// Signer signs the checkpoints of the tree; its name is the origin. It is
	// called from one goroutine of the store, also for the same size again, and
	// decides by itself whether to sign. What the store does with the signature
	// stays inside the store.
	Signer note.Signer
	// Interval is the shortest time between two checkpoints, at least 100 ms.
	Interval time.Duration
	// BatchAge is how long Tessera gathers what one Append gives it, leaf by
	// leaf. A batch that is gathered whole is written once.
	BatchAge time.Duration
}

// LogTo leads what Tessera warns of into l, for the whole program: it has no
// logger of its own that could be given to it.
func LogTo(l *slog.Logger) {
	l = slog.New(warnings{l.Handler(), new(said)}).With("from", "tessera")
	klog.SetSlogLogger(l)
	slog.SetDefault(l)
}

// warnings drops what is less than a warning, and what was said less than a
// minute ago: Tessera repeats itself at every interval.
type warnings struct {
	slog.Handler
	said *said
}

// said is what was warned of last, and when.
type said struct {
	mu   sync.Mutex // guards what follows
	what string
	at   time.Time
}

// Handle implements slog.Handler.
func (w warnings) Handle(ctx context.Context, r slog.Record) error {
	w.said.mu.Lock()
	repeated := r.Message == w.said.what && r.Time.Sub(w.said.at) < time.Minute
	if !repeated {
		w.said.what, w.said.at = r.Message, r.Time
	}
	w.said.mu.Unlock()
	if repeated {
		return nil
	}
	return w.Handler.Handle(ctx, r)
}

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs), w.said}
}

func (w warnings) WithGroup(name string) slog.Handler {
	return warnings{w.Handler.WithGroup(name), w.said}
}

type posixStore struct {
	dir      string
	add      tessera.AddFn
	shutdown func(context.Context) error
	reader   tessera.LogReader
	cancel   context.CancelFunc

	mu     sync.Mutex // held by Append and Close
	closed bool
}

// OpenPOSIX opens the tree in a folder, or begins one. The caller holds a lock
// on the folder: Tessera v1.0.4 gives one index twice when one process opens
// a folder twice, because its fcntl locks belong to the process.
func OpenPOSIX(ctx context.Context, c POSIXConfig) (Store, error) {
	driver, err := posix.New(ctx, posix.Config{Path: c.Dir})
	if err != nil {
		return nil, fmt.Errorf("opening tree in %s: %w", c.Dir, err)
	}
	// Tessera's goroutines end with this context, and a leaf added after that
	// would wait for ever: it ends only in Close, after the last Append.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	opts := tessera.NewAppendOptions().
		WithCheckpointSigner(emptyTree{c.Signer}).
		WithBatching(MaxBatch, c.BatchAge).
		WithCheckpointInterval(c.Interval).
		WithCheckpointRepublishInterval(0)
	appender, shutdown, reader, err := tessera.NewAppender(life, driver, opts)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening tree in %s: %w", c.Dir, err)
	}
	return &posixStore{dir: c.Dir, add: appender.Add, shutdown: shutdown, reader: reader, cancel: cancel}, nil
}

func (p *posixStore) Append(ctx context.Context, leaves [][]byte) (uint64, error) {
	if err := checkBatch(leaves); err != nil {
		return 0, err
	}
	// Hashing comes first, so that all of them are added within BatchAge.
	entries := make([]*tessera.Entry, len(leaves))
	for i, leaf := range leaves {
		entries[i] = tessera.NewEntry(leaf)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, errors.New("appending to a tree that was closed")
	}
	if err := p.writable(); err != nil {
		return 0, err
	}
	ctx = context.WithoutCancel(ctx)
	futures := make([]tessera.IndexFuture, len(entries))
	for i, e := range entries {
		futures[i] = p.add(ctx, e)
	}
	return await(futures)
}

// await waits for every future, so that nothing is on its way when it returns.
func await(futures []tessera.IndexFuture) (first uint64, err error) {
	for i, f := range futures {
		index, e := f()
		switch {
		case e != nil:
			err = errors.Join(err, skipRepeated(err, e))
		case i == 0:
			first = index.Index
		case err == nil && index.Index != first+uint64(i):
			err = fmt.Errorf("leaf %d of a batch got index %d, want %d", i, index.Index, first+uint64(i))
		}
	}
	if err != nil {
		return 0, fmt.Errorf("appending to the tree: %w", err)
	}
	return first, nil
}

// skipRepeated drops e if err already says the same: one failed batch fails
// every leaf in it.
func skipRepeated(err, e error) error {
	if err != nil {
		return nil
	}
	return e
}

// writable does first what Tessera does first, because Tessera panics where it
// cannot open its lock file. No batch is on its way, so closing the file takes
// no lock away.
func (p *posixStore) writable() error {
	f, err := os.OpenFile(filepath.Join(p.dir, ".state", "treeState.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func (p *posixStore) Size(ctx context.Context) (uint64, error) {
	return p.reader.IntegratedSize(ctx)
}

func (p *posixStore) Tile(ctx context.Context, level, index uint64, width int) ([]byte, error) {
	b, err := p.reader.ReadTile(ctx, level, index, uint8(width%Width))
	if err != nil {
		return nil, notFound(err)
	}
	if len(b) < width*sha256.Size {
		return nil, fmt.Errorf("tile %d/%d holds %d bytes, want %d", level, index, len(b), width*sha256.Size)
	}
	return b[:width*sha256.Size], nil
}

func (p *posixStore) Bundle(ctx context.Context, index uint64, width int) ([]byte, error) {
	b, err := p.reader.ReadEntryBundle(ctx, index, uint8(width%Width))
	return b, notFound(err)
}

func notFound(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return ErrNotFound
	}
	return err
}

func (p *posixStore) Close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	err := p.shutdown(ctx)
	p.cancel()
	return err
}

// emptyTree is a signer that never lets its key sign a tree of size 0: Tessera
// wants a checkpoint of the empty tree when it begins one, and a witness that
// saw one signed may refuse every later one. Tessera keeps to itself what it
// gets here, and reads only its text.
type emptyTree struct{ note.Signer }

func (s emptyTree) Sign(msg []byte) ([]byte, error) {
	if string(msg) == s.Name()+"\n0\n"+emptyRoot+"\n" {
		return make([]byte, 64), nil
	}
	return s.Signer.Sign(msg)
}

var emptyRoot = func() string {
	h := sha256.Sum256(nil)
	return base64.StdEncoding.EncodeToString(h[:])
}()

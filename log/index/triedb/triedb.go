// Package triedb is the map of a log on disk: from the hash of a key to the list
// of the entries under it, with the root and the proofs of spec/index.md.
//
// A [DB] is fed the keys of the leaves in order (Append) and says at each Commit
// what the root of the map is. A [View] is the map of the leaves below one size
// and answers with proofs. Indexes only grow, so that the map at a size is what
// the files hold below it: nothing is ever overwritten.
//
// Everything here is derived from the log and can be built again from it. What
// was appended is durable when it is flushed, now and then, and after a crash
// the caller appends again from Size on. Files that are not what was written are
// refused with ErrDamaged when they are opened; they are removed with [Remove]
// and everything is appended again. They are mapped into memory: whoever shortens one
// that is open ends the process.
//
// Inside: items are in sorted runs, each of an adjacent range of leaves: the
// newest in memory, older ones in files that are merged in the background
// (run.go, merge.go). Above the runs is a tree in memory that knows the hashes of
// the trie down to buckets of a few keys (tree.go); what is below is
// hashed from the runs when it is asked for. The files are this package's own
// and no interface: a change of their form is a new number in formatLine, and they
// are built again.
package triedb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

var (
	// ErrDamaged says that a file is not what was written, or that the folder is
	// that of another log. What to do is to Remove the folder and to append again.
	ErrDamaged = errors.New("the index is damaged and must be removed and built again from the log")
	// ErrBusy says that an older state would have to be computed while another
	// one is.
	ErrBusy = errors.New("another older state of the index is being computed")
	// ErrFuture says that a state was asked for that is not committed yet.
	ErrFuture = errors.New("the index has not come that far")
	// ErrClosed says that the DB was closed.
	ErrClosed = errors.New("the index is closed")
	// ErrTooMany says that more was asked for than the limit allows.
	ErrTooMany = errors.New("more keys than asked for")
)

const (
	// flushAt is the number of items in memory at which they go to a file.
	flushAt = 256 << 10
	// holdAtMost is how many times flushAt are in memory at most, while files
	// are being written.
	holdAtMost = 4
	lockName   = "lock"
)

// A Row is what the map holds of one leaf: its keys, in any order, and who
// signed it. A leaf that is under no key has the zero Row.
type Row struct {
	Keys   []string
	Hashes []index.Hash // of further keys, for whoever has hashed them on many cores
	Signer statement.KeyID
}

// Options are how a DB is opened. The zero value is good.
type Options struct {
	// Logger hears of what fails in the background. Nil is slog.Default().
	Logger *slog.Logger
	// Progress, if not nil, is called now and then while Open reads everything, with how
	// much is done of total. It is not called concurrently.
	Progress func(done, total int)
	// BeforeFlush, if not nil, is called before a file holds the leaves below size, so that
	// what belongs to them can be durable first. An error puts the file off. It is not
	// called concurrently, and must not call the DB.
	BeforeFlush func(size uint64) error

	flushAt int // tests: instead of the constant
}

// A DB is a map on disk. Append and Commit are for one writer and wait for each
// other; everything else may be called concurrently with them.
type DB struct {
	dir, origin string
	opts        Options
	lock        *durable.Lock
	next        atomic.Uint64 // Size
	hot         hotKeys

	write   sync.Mutex // held by Append, Commit and Close; guards pending
	pending pending

	files sync.Mutex // held while the manifest is replaced; before mu

	mu      sync.Mutex
	set     *runSet
	views   []*View // committed, oldest first, never empty
	old     *View   // computed last
	seq     uint64  // number of the last file
	failure error   // of the last flush, nil if it succeeded
	damage  error   // found by a merge
	closed  bool
	flushed *sync.Cond // a flush has ended

	slot    chan struct{} // held while an older state is computed
	flushes chan struct{} // asks the flusher to look
	merges  chan struct{} // asks the merger to look
	stop    chan struct{} // closed by Close
	workers sync.WaitGroup
}

// Open opens the map of the log with this origin in dir, or makes one. It reads and checks
// everything that is there: seconds per ten million keys. Size can be viewed
// afterwards. The error is ErrDamaged if dir should be removed, and a
// *durable.LockedError if another process has it open.
func Open(dir, origin string, o Options) (*DB, error) {
	if origin == "" || strings.ContainsAny(origin, "\n\r") {
		return nil, fmt.Errorf("opening the index in %s: %q is no origin", dir, origin)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.flushAt == 0 {
		o.flushAt = flushAt
	}
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := durable.Acquire(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("opening the index in %s: %w", dir, err)
	}
	db := &DB{
		dir: dir, origin: origin, opts: o, lock: lock, set: &runSet{},
		slot:    make(chan struct{}, 1),
		flushes: make(chan struct{}, 1),
		merges:  make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	db.flushed = sync.NewCond(&db.mu)
	if err := db.load(); err != nil {
		for _, r := range db.set.runs {
			r.unmap()
		}
		return nil, errors.Join(err, lock.Unlock())
	}
	db.workers.Go(db.flusher)
	db.workers.Go(db.merger)
	wake(db.merges)
	return db, nil
}

// Size returns the index of the leaf that Append takes next.
func (db *DB) Size() uint64 { return db.next.Load() }

// Append takes the next leaves: the first is the one with index Size. It waits
// for the disk if that cannot keep up. After an error Size says how many were
// taken; they can be viewed, and Append may be tried again.
func (db *DB) Append(rows []Row) error {
	db.write.Lock()
	defer db.write.Unlock()
	for _, row := range rows {
		if err := db.room(); err != nil {
			return fmt.Errorf("adding leaf %d to the index: %w", db.Size(), err)
		}
		if err := db.pending.add(db.next.Load(), row); err != nil {
			return err
		}
		db.next.Add(1)
	}
	return nil
}

// room makes room for one more row, and says why there is none.
func (db *DB) room() error {
	if len(db.pending.records) >= db.opts.flushAt {
		db.seal()
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for waited := false; ; waited = true {
		switch {
		case db.closed:
			return ErrClosed
		case db.damage != nil:
			return db.damage
		case db.set.inMemory() <= (holdAtMost-1)*db.opts.flushAt:
			return nil
		case waited && db.failure != nil:
			return db.failure
		}
		wake(db.flushes)
		db.flushed.Wait()
	}
}

// Commit makes the state of Size one that can be viewed and returns its root.
// It hashes what changed since the last Commit; after very many leaves that is
// everything, so that whoever builds an index from the start commits seldom.
func (db *DB) Commit() (index.Hash, error) {
	db.write.Lock()
	defer db.write.Unlock()
	base, err := db.newest()
	if err != nil {
		return index.Hash{}, fmt.Errorf("committing the index: %w", err)
	}
	size := db.Size()
	if base.size == size {
		return base.Root(), nil
	}
	v, err := db.commit(base, size)
	if err != nil {
		return index.Hash{}, fmt.Errorf("committing the index: %w", err)
	}
	return v.Root(), nil
}

// newest returns the last state that was committed, and why nothing follows it.
func (db *DB) newest() (*View, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, ErrClosed
	}
	return db.views[len(db.views)-1], db.damage
}

func (db *DB) commit(base *View, size uint64) (*View, error) {
	added := db.sealOnly()
	set, err := db.acquire()
	if err != nil {
		return nil, err
	}
	changed, all := changedKeys(set, base.size, size)
	b := newBuilder(db, set, size, cores())
	root, err := b.rebase(context.Background(), base.root, changed, all)
	db.release(set)
	if err != nil {
		return nil, err
	}
	v := &View{db: db, size: size, root: root, cost: int(b.made.Load()) * nodeBytes}
	db.mu.Lock()
	db.keep(v)
	db.mu.Unlock()
	if added {
		db.tidy()
	}
	return v, nil
}

// Close writes what is only in memory and ends everything. Views of db cannot
// be used afterwards; what is being read is read to its end.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	db.flushed.Broadcast()
	db.mu.Unlock()
	close(db.stop)
	db.workers.Wait()
	db.write.Lock()
	defer db.write.Unlock()
	db.sealOnly()
	err := db.flush()
	if err != nil {
		err = fmt.Errorf("closing the index: %w", err)
	}
	db.mu.Lock()
	db.replaceSet(&runSet{})
	db.views, db.old = nil, nil
	db.mu.Unlock()
	return errors.Join(err, db.lock.Unlock())
}

// Remove removes the index in dir, and dir if nothing else is in it. It is not
// an error if there is none; it is if a process has it open.
func Remove(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := durable.Acquire(filepath.Join(dir, lockName))
	if err != nil {
		return fmt.Errorf("removing the index in %s: %w", dir, err)
	}
	err = removeFiles(dir)
	if err == nil {
		err = os.Remove(filepath.Join(dir, lockName))
	}
	if err = errors.Join(err, lock.Unlock()); err != nil {
		return err
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		return err
	}
	return os.Remove(dir)
}

// removeFiles removes the manifest first: what is left after a crash has none
// and is refused.
func removeFiles(dir string) error {
	if err := os.Remove(filepath.Join(dir, manifestName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	if err := durable.SweepTemp(dir); err != nil {
		return err
	}
	names, err := runFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

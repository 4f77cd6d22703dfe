package witness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/place"
	"github.com/firn-log/firn/log/policy"
)

// Errors of a store.
var (
	// ErrMoved is returned once the witness has been moved away: it never signs
	// here again.
	ErrMoved = errors.New("this witness has been moved to another place and signs nothing here any more")
	// ErrClosed is returned while and after the store closes.
	ErrClosed = errors.New("the store is closed")

	errOtherOrigin = errors.New("a checkpoint of another origin")
	errShrinks     = errors.New("a checkpoint that does not continue the one before")
)

// A StorageError says that the disk did not take something. Nothing of it was
// acknowledged; the store goes on when the disk does.
type StorageError struct{ Err error }

func (e *StorageError) Error() string { return "keeping a checkpoint: " + e.Err.Error() }
func (e *StorageError) Unwrap() error { return e.Err }

// rotateAt is the size of a journal in bytes at which a snapshot is made, or
// twice the size of the snapshot if that is more.
const rotateAt = 8 << 20

// A Store keeps what a witness has cosigned: for each origin the latest
// checkpoint with its signatures, and whether it is refused. What Update
// returned is durable. One process has a store; its methods may be called
// concurrently. It implements spec/witness.md#directory.
type Store struct {
	dir  string
	lock *durable.Lock
	here place.Place

	mu      sync.RWMutex // guards the two maps and doubt
	entries map[string]*entry
	byHash  map[string]*entry
	doubt   string // why this may be an older copy; "" if it is known to be the newest

	moved     atomic.Bool
	restored  atomic.Bool  // a doubt was ended by peers
	preparing atomic.Int64 // requests that will be queued in a moment
	queue     chan *commit
	closing   chan struct{}
	stopped   chan struct{}
	stop      sync.Once

	groups, members atomic.Uint64 // made durable since start

	// What follows belongs to the goroutine that writes.
	place        place.Place
	generation   uint64
	journal      *journal
	snapshotSize int64
	rotateAt     int64
	broken       error // a write failed: a new snapshot comes before anything else
	syncTime     time.Duration
}

// commit is something to be made durable.
type commit struct {
	records []byte
	apply   func() // called when it is durable
	rotate  bool   // make a snapshot afterwards
	done    chan error
}

// CreateStore makes an empty store in dir, which exists, and binds it to this
// place. It refuses a folder that has one.
func CreateStore(dir string) error { return createStore(dir, nil) }

// ImportStore is CreateStore with what Export returned elsewhere. It must be done
// at most once with one export.
func ImportStore(dir string, exported []byte) error {
	snap, err := parseSnapshot(exported)
	if err == nil {
		s := &Store{entries: make(map[string]*entry), byHash: make(map[string]*entry)}
		err = readRecords(snap.records, s.apply)
		if err == nil && s.Moved() {
			err = errors.New("it is that of a witness that was moved away")
		}
	}
	if err != nil {
		return fmt.Errorf("reading the exported state of a witness: %w", err)
	}
	return createStore(dir, snap.records)
}

// Export returns the state of a store that was moved, for ImportStore.
func (s *Store) Export() ([]byte, error) {
	if !s.Moved() {
		return nil, errors.New("a witness that may still sign here is not to be copied")
	}
	elsewhere := snapshot{
		place:      place.Place{Machine: noPlace, FileSystem: noPlace, Directory: noPlace},
		generation: 1, records: s.originRecords(),
	}
	return elsewhere.marshal(), nil
}

func createStore(dir string, records []byte) error {
	here, err := place.Find(dir)
	if err != nil {
		return err
	}
	snap := snapshot{place: here, generation: 1, records: records}
	if err := durable.CreateFile(filepath.Join(dir, journalName(1)), nil, 0o600); err != nil {
		return err
	}
	return durable.CreateFile(filepath.Join(dir, stateName), snap.marshal(), 0o600)
}

// OpenStore locks and opens the store in dir. A store whose files are missing,
// or which was made in another place, is opened with a [Store.Doubt]; a damaged
// one is refused; a second one gets a *durable.LockedError.
func OpenStore(dir string) (*Store, error) {
	lock, err := durable.Acquire(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, lock: lock, entries: make(map[string]*entry), byHash: make(map[string]*entry),
		queue: make(chan *commit, 1024), closing: make(chan struct{}), stopped: make(chan struct{}), rotateAt: rotateAt,
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	go s.write()
	return s, nil
}

func (s *Store) open() error {
	if err := durable.SweepTemp(s.dir); err != nil {
		return err
	}
	var err error
	if s.here, err = place.Find(s.dir); err != nil {
		return err
	}
	if s.place, err = s.load(); err != nil {
		return err
	}
	if what := s.place.Differs(s.here); what != "" && s.doubt == "" {
		s.doubt = what + " changed since this witness cosigned last, so this may be an older copy of it"
	}
	if err := s.lastGeneration(); err != nil {
		return err
	}
	return s.rotate()
}

// lastGeneration makes sure that no generation is used twice, whatever files
// are there.
func (s *Store) lastGeneration() error {
	all, err := s.generations()
	for _, g := range all {
		s.generation = max(s.generation, g)
	}
	return err
}

// generations returns those of the journals that are there, in no order.
func (s *Store) generations() ([]uint64, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), journalPrefix); ok {
			if g, err := policy.ParseDecimal(number); err == nil {
				all = append(all, g)
			}
		}
	}
	return all, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// Doubt says in words why this may be an older copy of the witness, or "". In
// doubt nothing may be cosigned (spec/witness.md#restore).
func (s *Store) Doubt() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.doubt
}

// Confirm makes durable that this copy is the newest one and ends the doubt.
// byPeers says that peers have said so, who can know only of the origins they
// were asked about.
func (s *Store) Confirm(byPeers bool) error {
	err := s.commit(&commit{rotate: true, apply: func() {
		s.place = s.here
		if byPeers {
			s.restored.Store(true)
		}
	}})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubt = ""
	return nil
}

// Move makes durable that this witness never signs here again. It cannot be
// undone.
func (s *Store) Move() error {
	return s.commit(&commit{records: appendRecord(nil, recordMoved), apply: func() { s.moved.Store(true) }})
}

// Moved reports whether Move was called, in this process or an earlier one.
func (s *Store) Moved() bool { return s.moved.Load() }

// Restored reports whether peers have ever ended a doubt about this store. Of
// what was cosigned for origins that it has no state of, it knows nothing.
func (s *Store) Restored() bool { return s.restored.Load() }

// entry returns the entry of an origin and makes it if there is none.
func (s *Store) entry(origin string) *entry {
	s.mu.RLock()
	e := s.entries[origin]
	s.mu.RUnlock()
	if e != nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[origin]; e != nil {
		return e
	}
	e = newEntry(origin)
	s.entries[origin] = e
	s.byHash[OriginHash(origin)] = e
	return e
}

// Latest returns what is durable about an origin.
func (s *Store) Latest(origin string) State {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.entries[origin]; e != nil {
		return *e.state.Load()
	}
	return State{}
}

// ByHash is Latest by the SHA-256 of an origin in lower-case hexadecimal.
func (s *Store) ByHash(hash string) State {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.byHash[hash]; e != nil {
		return *e.state.Load()
	}
	return State{}
}

// Update replaces the note of an origin by what check returns for its current
// state, and returns when that is durable. No other update of the origin comes
// between. If check fails, nothing changes and its error is returned, with the
// state that it saw. ctx ends the waiting for one's turn, not for the disk.
func (s *Store) Update(ctx context.Context, origin string, check func(State) (note []byte, err error)) (State, error) {
	e := s.entry(origin)
	select {
	case e.busy <- struct{}{}:
		defer func() { <-e.busy }()
	case <-ctx.Done():
		return *e.state.Load(), ctx.Err()
	}
	s.preparing.Add(1)
	old := *e.state.Load()
	next, err := prepare(origin, old, check)
	if err != nil {
		s.preparing.Add(-1)
		return old, err
	}
	c := &commit{records: appendRecord(nil, recordCheckpoint, string(next.Note)), apply: func() { e.state.Store(&next) }}
	err = s.enqueue(c)
	s.preparing.Add(-1)
	if err == nil {
		err = s.wait(c)
	}
	if err != nil {
		return old, err
	}
	return next, nil
}

// prepare returns the state after old. Whatever check says, a tree never
// shrinks and never has two roots at one size.
func prepare(origin string, old State, check func(State) ([]byte, error)) (State, error) {
	note, err := check(old)
	if err != nil {
		return old, err
	}
	next, err := old.withNote(origin, note)
	if err == nil && old.Note != nil && (next.Size < old.Size || next.Size == old.Size && next.Root != old.Root) {
		err = errShrinks
	}
	return next, err
}

// Refuse makes durable that an origin is refused for good because of the
// evidence with this name. An origin that is refused already stays so.
func (s *Store) Refuse(ctx context.Context, origin, evidence string) error {
	e := s.entry(origin)
	select {
	case e.busy <- struct{}{}:
		defer func() { <-e.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	next := *e.state.Load()
	if next.Refused != "" {
		return nil
	}
	next.Refused = evidence
	return s.commit(&commit{
		records: appendRecord(nil, recordRefused, origin, "\n", evidence),
		apply:   func() { e.state.Store(&next) },
	})
}

// Each calls f with every origin that has a state, in no order, until it
// returns false.
func (s *Store) Each(f func(origin string, st State) bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for origin, e := range s.entries {
		if !f(origin, *e.state.Load()) {
			return
		}
	}
}

// Close finishes what was queued and releases the store.
func (s *Store) Close() error {
	var err error
	s.stop.Do(func() {
		close(s.closing)
		<-s.stopped
		if s.journal != nil {
			err = s.journal.f.Close()
		}
		err = errors.Join(err, s.lock.Unlock())
	})
	return err
}

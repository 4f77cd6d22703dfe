package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/server/store"
	"github.com/firn-log/firn/log/statement"
)

// mapper keeps the map of the index (spec/index.md). It follows the public
// checkpoint: it takes in every entry below its size, and has the log state the
// root of the map as a revision; the next checkpoint holds that, and lookups are
// answered with it (spec/log.md#revisions).
type mapper struct {
	db  *triedb.DB
	log *slog.Logger

	// For the goroutine that follows alone.
	found     bool       // what follows is known
	revisions []revision // that lookups may be answered with, oldest first
	stated    uint64     // size of the newest revision in the tree
	news      uint64     // one above the last entry in the map that is no revision

	mu      sync.Mutex // guards what follows
	current *answering // nil: lookups cannot be answered yet
	changed chan struct{}
	late    error        // why the map does not follow now, or nil
	broken  *brokenError // why lookups are not answered any more, or nil
}

// revision is a revision in the tree that is not withdrawn.
type revision struct {
	index   uint64
	size    uint64
	root    index.Hash
	leaf    []byte
	checked bool // the map has this root
}

// answering is what lookups are answered with.
type answering struct {
	revision revision
	view     *triedb.View // of its size
	vouched  published    // vouched for by the quorum of auditors; Size 0 if nobody does

	// Of one public checkpoint that holds them.
	checkpoint published
	inclusion  []tlog.Hash // of the revision
	vouch      []tlog.Hash // from vouched to checkpoint
}

// under returns a with proofs for a checkpoint that is not older.
func (a *answering) under(ctx context.Context, tree *store.Tree, cp published) (*answering, error) {
	b := *a
	b.checkpoint, b.vouch = cp, nil
	var err error
	if b.inclusion, err = tree.Inclusion(ctx, cp.head.Size, a.revision.index); err != nil {
		return nil, err
	}
	if size := a.vouched.head.Size; size > 0 && size < cp.head.Size {
		b.vouch, err = tree.Consistency(ctx, size, cp.head.Size)
	}
	return &b, err
}

// brokenError is why the index is not trusted any more: a revision in the log
// does not have the root that the map has.
type brokenError struct {
	revision revision
	root     index.Hash
	dir      string
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("the index is wrong: its first %d entries give the root %v, and the revision that this log stated as entry %d says %v; "+
		"lookups are not answered until firn-log is stopped, %s removed, and firn-log started again; "+
		"if that does not help, the revision is wrong and is taken back with firn-log reset-index",
		e.revision.size, e.root, e.revision.index, e.revision.root, e.dir)
}

func newMapper(db *triedb.DB, log *slog.Logger) *mapper {
	return &mapper{db: db, log: log, changed: make(chan struct{})}
}

// answer returns what lookups are answered with, nil if there is nothing yet, a
// channel that is closed when it changes, and why there will be nothing, or nil.
func (m *mapper) answer() (*answering, <-chan struct{}, *brokenError) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current, m.changed, m.broken
}

// set changes what lookups are answered with.
func (m *mapper) set(a *answering, broken *brokenError) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current, m.broken = a, broken
	close(m.changed)
	m.changed = make(chan struct{})
}

// fail notes why the map does not follow now; nil if it does.
func (m *mapper) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.late = err
}

// health returns why the map does not follow, or nil.
func (m *mapper) health() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	return m.late
}

// openMap opens the map, and begins a new one if it is damaged, of another tree, or
// to be made anew.
func (s *Server) openMap() error {
	dir := s.path(mapName)
	if s.resets.waiting() {
		if err := triedb.Remove(dir); err != nil {
			return err
		}
	}
	o := triedb.Options{Logger: s.log, Progress: func(done, total int) { s.log.Info("reading the index", "done", done, "total", total) }}
	db, err := triedb.Open(dir, s.config.Origin, o)
	if size := s.db.State().Size; err == nil && db.Size() > size {
		err = errors.Join(fmt.Errorf("%w: it knows %d entries, and the tree has only %d", triedb.ErrDamaged, db.Size(), size), db.Close())
	}
	if errors.Is(err, triedb.ErrDamaged) {
		s.log.Warn("the index is damaged and is made anew", "error", err)
		if err := triedb.Remove(dir); err != nil {
			return err
		}
		db, err = triedb.Open(dir, s.config.Origin, o)
	}
	if err != nil {
		return fmt.Errorf("opening the index: %w", err)
	}
	s.mapper = newMapper(db, s.log)
	return nil
}

// errLater says that a revision cannot be added now, and that this is reported
// elsewhere.
var errLater = errors.New("nothing is taken now")

// follow keeps the map at the public checkpoint until ctx ends.
func (s *Server) follow(ctx context.Context) {
	for {
		cp, changed := s.publisher.watch()
		vouched := s.vouching.watch()
		var again <-chan time.Time
		err := s.followTo(ctx, cp)
		var broken *brokenError
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &broken):
			s.log.Error("lookups are not answered any more", "error", err)
			s.mapper.set(nil, broken)
			<-ctx.Done()
			return
		case errors.Is(err, errLater):
			again = time.After(time.Second)
		case err != nil:
			s.log.Error("the index does not follow the log", "error", err)
			s.mapper.fail(err)
			again = time.After(5 * time.Second)
		default:
			s.mapper.fail(nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-vouched:
		case <-again:
		}
	}
}

// followTo takes in what a public checkpoint holds, answers with the newest
// revision that it holds, and states a revision of it if there is news.
func (s *Server) followTo(ctx context.Context, cp published) error {
	m := s.mapper
	size := cp.head.Size
	if size == 0 {
		return nil
	}
	if s.resets.waiting() {
		return errLater // there is a revision that is wrong
	}
	if !m.found {
		if err := s.findRevisions(ctx, size); err != nil {
			return err
		}
	}
	if err := s.checkRevisions(ctx, size); err != nil {
		return err
	}
	began := time.Now()
	grown := m.db.Size() < size
	root, err := s.takeInto(ctx, size)
	if err != nil {
		return err
	}
	if grown {
		s.metrics.mapping.Observe(time.Since(began).Seconds())
	}
	if err := s.answerWith(ctx, cp); err != nil {
		return err
	}
	if m.db.Size() == size && size > m.stated && m.news > m.stated {
		return s.stateRevision(ctx, size, root)
	}
	return nil
}

// findRevisions finds out which revisions the tree has: the newest one below size,
// and the newest of all, which no checkpoint may hold yet. Nothing is on its way to
// the tree.
func (s *Server) findRevisions(ctx context.Context, size uint64) error {
	m := s.mapper
	m.revisions, m.stated = nil, 0
	end := s.db.State().Size
	var at []uint64
	newest := true
	err := s.db.Revisions(ctx, end, func(r revisionAt) bool {
		m.stated = max(m.stated, r.Size)
		below := r.Index < size
		if (newest || below) && !s.resets.withdraw(r.Index, r.Size) {
			at = append(at, r.Index)
		}
		newest = false
		return !below
	})
	if err != nil {
		return err
	}
	for _, i := range slices.Backward(at) {
		leaf, err := s.tree.Entry(ctx, end, i)
		if err != nil {
			return err
		}
		st, err := statement.Parse(leaf)
		if err != nil || !s.isOwnRevision(st) {
			return fmt.Errorf("entry %d is not the revision that %s says it is: %w", i, indexName, err)
		}
		b := st.Body.(*statement.Revision)
		m.revisions = append(m.revisions, revision{index: i, size: b.Size, root: b.Root, leaf: leaf})
	}
	if err := s.findNews(ctx); err != nil {
		return err
	}
	m.found = true
	return nil
}

// findNews looks for an entry from the size of the last revision on, of those that
// the map has already, that is no revision.
func (s *Server) findNews(ctx context.Context) error {
	m := s.mapper
	m.news = 0
	i := m.stated
	for leaf, err := range s.tree.Entries(ctx, m.stated, max(m.stated, m.db.Size())) {
		if err != nil {
			return err
		}
		i++
		if st, err := statement.Parse(leaf); err != nil || st.Kind != statement.KindRevision {
			m.news = i
			return nil
		}
	}
	return nil
}

// checkRevisions compares with the map what the log had stated before this start.
func (s *Server) checkRevisions(ctx context.Context, size uint64) error {
	m := s.mapper
	for i := range m.revisions {
		r := &m.revisions[i]
		if r.checked || r.size > size {
			continue
		}
		if m.db.Size() < r.size {
			if _, err := s.takeInto(ctx, r.size); err != nil {
				return err
			}
		}
		v, err := m.db.View(ctx, r.size)
		if err != nil {
			return err
		}
		if v.Root() != r.root {
			return &brokenError{*r, v.Root(), s.path(mapName)}
		}
		r.checked = true
	}
	return nil
}

// takeInto takes the entries below size into the map, and returns the root of all
// that it has.
func (s *Server) takeInto(ctx context.Context, size uint64) (index.Hash, error) {
	const batch = 4096
	m := s.mapper
	at := m.db.Size()
	if size <= at {
		return m.db.Commit()
	}
	var rows []triedb.Row
	add := func(r recentRow) error {
		at++
		if !r.revision {
			m.news = at
		}
		if rows = append(rows, r.Row); len(rows) < batch && at < size {
			return nil
		}
		err := m.db.Append(rows)
		rows = rows[:0]
		return err
	}
	if known := s.recent.take(at, size); known != nil {
		for _, r := range known {
			if err := add(r); err != nil {
				return index.Hash{}, err
			}
		}
		return m.db.Commit()
	}
	var leaves [][]byte
	for leaf, err := range s.tree.Entries(ctx, at, size) {
		if err != nil {
			return index.Hash{}, err
		}
		if leaves = append(leaves, leaf); len(leaves) < batch && at+uint64(len(leaves)) < size {
			continue
		}
		for _, r := range mapRows(leaves) {
			if err := add(r); err != nil {
				return index.Hash{}, err
			}
		}
		leaves = leaves[:0]
	}
	return m.db.Commit()
}

// isOwnRevision reports whether a statement is a revision of this log's index in the
// map version that is answered with.
func (s *Server) isOwnRevision(st *statement.Statement) bool {
	r, ok := st.Body.(*statement.Revision)
	return ok && r.MapVersion == index.MapVersion && r.Origin == s.config.Origin && st.Signer == s.key.statement.PublicKey().ID()
}

// stateRevision adds the revision of a size to the log, unless the log has ended or it is too late.
func (s *Server) stateRevision(ctx context.Context, size uint64, root index.Hash) error {
	st, err := statement.Sign(ctx, s.key.statement, &statement.Revision{Origin: s.config.Origin, Size: size, Root: root, MapVersion: index.MapVersion}, "", nil)
	if err != nil {
		return fmt.Errorf("signing a revision: %w", err)
	}
	e := newEntry(st, st.Leaf())
	s.seq.mu.Lock()
	over, late, why := s.seq.ended != nil || s.seq.frozen != nil, s.tooLate(size), s.seq.why()
	if why == nil && !late {
		s.seq.enqueue(e, nil)
	}
	s.seq.mu.Unlock()
	switch {
	case over, late:
		return nil
	case why != nil:
		return errLater
	}
	i, err := e.wait(ctx)
	if err != nil {
		s.mapper.found = false // it may be in the tree
		var disk *storageError
		if errors.As(err, &disk) {
			return errLater
		}
		return fmt.Errorf("adding a revision: %w", err)
	}
	s.log.Debug("stated a revision", "size", size, "index", i)
	s.mapper.stated = size
	s.mapper.revisions = append(s.mapper.revisions, revision{index: i, size: size, root: root, leaf: e.leaf, checked: true})
	return nil
}

// answerWith has lookups answered under a checkpoint.
func (s *Server) answerWith(ctx context.Context, cp published) error {
	m := s.mapper
	old, _, _ := m.answer()
	r, vouched, ok := m.choose(old, cp, s.vouching.newest(cp))
	if !ok {
		return nil
	}
	a := &answering{revision: r, vouched: vouched}
	var err error
	if old != nil && old.revision.index == r.index {
		a.view = old.view
	} else if a.view, err = m.db.View(ctx, r.size); err != nil {
		return err
	}
	if a, err = a.under(ctx, s.tree, cp); err != nil {
		return err
	}
	m.set(a, nil)
	m.revisions = slices.DeleteFunc(m.revisions, func(x revision) bool {
		return x.index < r.index && x.size+lookup.MaxTail < cp.head.Size
	})
	return nil
}

// choose returns the revision to answer with under cp: the newest that the auditors
// vouch for, unless it is too far behind, and otherwise the newest. It is never an
// older one than before: lists only grow, and clients remember how long they were.
func (m *mapper) choose(old *answering, cp, vouched published) (revision, published, bool) {
	newest, ok := m.newestBelow(cp.head.Size)
	if !ok {
		return revision{}, published{}, false
	}
	v, ok := m.newestBelow(vouched.head.Size)
	if !ok || cp.head.Size-v.size > lookup.MaxTail {
		return newest, published{}, true
	}
	if old != nil && old.revision.index > v.index {
		return old.revision, published{}, true // until they have come so far
	}
	return v, vouched, true
}

// newestBelow returns the newest revision in the first size entries that the map
// agrees with.
func (m *mapper) newestBelow(size uint64) (revision, bool) {
	for _, r := range slices.Backward(m.revisions) {
		if r.index < size && r.checked {
			return r, true
		}
	}
	return revision{}, false
}

// resets are what the log has taken back of its index.
type resets struct {
	mu      sync.Mutex
	pending bool // the next thing that the log says is an index-reset
	list    []resetAt
}

// resetAt is an index-reset in the tree.
type resetAt struct {
	index, size uint64
	leaf        []byte
}

func (r *resets) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending
}

// withdraw reports whether the revision of a size, at an index, was taken back.
func (r *resets) withdraw(index, size uint64) bool {
	return r.any(func(x resetAt) bool { return x.index > index && x.size >= size })
}

func (r *resets) any(f func(resetAt) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.list, f)
}

func (r *resets) add(x resetAt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, x)
	slices.SortFunc(r.list, func(a, b resetAt) int { return cmp.Compare(a.index, b.index) })
}

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
// answered with it.
type mapper struct {
	db  *triedb.DB
	log *slog.Logger

	// For the goroutine that follows alone.
	revisions []revision // in the tree, oldest first: those not older than current's
	news      bool       // an entry that is no revision was added since the last one

	mu      sync.Mutex // guards what follows
	current *answering // nil: lookups cannot be answered yet
	changed chan struct{}
	broken  error // why the map does not follow, or nil
}

// revision is a revision in the tree.
type revision struct {
	index uint64
	size  uint64
	root  index.Hash
	leaf  []byte
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

func newMapper(db *triedb.DB, log *slog.Logger) *mapper {
	return &mapper{db: db, log: log, changed: make(chan struct{})}
}

// answer returns what lookups are answered with, nil if there is nothing yet,
// and a channel that is closed when it changes.
func (m *mapper) answer() (*answering, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current, m.changed
}

func (m *mapper) set(a *answering) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current, m.broken = a, nil
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *mapper) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

// health returns why the map does not follow, or nil.
func (m *mapper) health() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.broken
}

// openMap opens the map, and begins a new one if it is damaged.
func (s *Server) openMap() error {
	dir := s.path(mapName)
	o := triedb.Options{Logger: s.log, Progress: func(done, total int) { s.log.Info("reading the index", "done", done, "total", total) }}
	db, err := triedb.Open(dir, s.config.Origin, o)
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
	var done uint64
	for {
		cp, changed := s.publisher.watch()
		vouched := s.vouching.watch()
		var again <-chan time.Time
		err := s.followTo(ctx, cp, cp.head.Size > done)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			done = cp.head.Size
		case errors.Is(err, errLater):
			again = time.After(time.Second)
		default:
			s.log.Error("the index does not follow the log", "error", err)
			s.mapper.fail(err)
			again = time.After(5 * time.Second)
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

// followTo takes in what a public checkpoint holds, states a revision of it if
// there is news, and answers with the newest revision that it holds.
func (s *Server) followTo(ctx context.Context, cp published, grown bool) error {
	m := s.mapper
	if cp.head.Size == 0 {
		return nil
	}
	if m.revisions == nil {
		if err := s.findRevision(ctx, cp.head.Size); err != nil {
			return err
		}
	}
	var stated error
	if grown {
		began := time.Now()
		if err := s.takeInto(ctx, cp.head.Size); err != nil {
			return err
		}
		root, err := m.db.Commit()
		if err != nil {
			return err
		}
		s.metrics.mapping.Observe(time.Since(began).Seconds())
		if m.news && cp.head.Size == m.db.Size() {
			stated = s.stateRevision(ctx, cp.head.Size, root)
		}
	}
	return errors.Join(s.answerWith(ctx, cp), stated)
}

// findRevision looks for the last revision below size, after a start. None is
// found if there is none among the last entries: then the next one is waited for.
func (s *Server) findRevision(ctx context.Context, size uint64) error {
	m := s.mapper
	const window, limit = 256, 1 << 16
	var last revision
	news := true
	for end := size; end > 0 && size-end < limit && last.leaf == nil; {
		begin := end - min(end, window)
		at, reset := begin, false
		for leaf, err := range s.tree.Entries(ctx, begin, end) {
			if err != nil {
				return err
			}
			if r, ok := s.revisionOf(at, leaf); ok {
				last, news, reset = r, false, false
			} else if news = true; s.resets(leaf) {
				last, reset = revision{}, true
			}
			at++
		}
		if reset {
			break
		}
		end = begin
		news = news || last.leaf == nil || last.index > last.size
	}
	m.revisions = []revision{}
	if last.leaf == nil {
		m.news = true
		return nil
	}
	ahead := m.db.Size() > last.size
	if err := s.takeTo(ctx, last); err != nil {
		m.revisions = nil
		return err
	}
	m.revisions = append(m.revisions, last)
	m.news = ahead && news // else takeInto sees what is new
	return nil
}

// resets reports whether a leaf is an index-reset of this log and map version.
func (s *Server) resets(leaf []byte) bool {
	st, err := statement.Parse(leaf)
	return err == nil && s.isReset(st)
}

func (s *Server) isReset(st *statement.Statement) bool {
	r, ok := st.Body.(*statement.IndexReset)
	return ok && r.Origin == s.config.Origin && r.MapVersion == index.MapVersion
}

// takeTo brings the map to the size of a revision that can then be viewed.
func (s *Server) takeTo(ctx context.Context, r revision) error {
	if s.mapper.db.Size() > r.size {
		return nil // an older state: it is computed when it is viewed
	}
	if err := s.takeInto(ctx, r.size); err != nil {
		return err
	}
	root, err := s.mapper.db.Commit()
	if err == nil && root != r.root {
		err = fmt.Errorf("the map of the first %d entries has the root %v, and the revision at index %d says %v: one of them is wrong; see \"the index is wrong\" in the runbook", r.size, root, r.index, r.root)
	}
	return err
}

// takeInto takes the entries below size into the map.
func (s *Server) takeInto(ctx context.Context, size uint64) error {
	m := s.mapper
	from := m.db.Size()
	if from >= size {
		return nil
	}
	const batch = 4096
	var rows []triedb.Row
	at := from
	for leaf, err := range s.tree.Entries(ctx, from, size) {
		if err != nil {
			return err
		}
		rows = append(rows, m.row(s, at, leaf))
		at++
		if len(rows) == batch || at == size {
			if err := m.db.Append(rows); err != nil {
				return err
			}
			rows = rows[:0]
		}
	}
	return nil
}

// row returns what the map holds of one entry, and remembers revisions and news.
func (m *mapper) row(s *Server, at uint64, leaf []byte) triedb.Row {
	st, err := statement.Parse(leaf)
	if err != nil {
		m.news = true
		return triedb.Row{} // a leaf that this version cannot read is under no key
	}
	if r, ok := s.readRevision(at, leaf, st); ok {
		m.revisions = append(m.revisions, r)
		return triedb.Row{}
	}
	m.news = true
	if s.isReset(st) {
		m.revisions = m.revisions[:0] // those before it say nothing
	}
	return triedb.Row{Keys: index.StatementKeys(st), Signer: st.Signer}
}

func (s *Server) revisionOf(at uint64, leaf []byte) (revision, bool) {
	st, err := statement.Parse(leaf)
	if err != nil {
		return revision{}, false
	}
	return s.readRevision(at, leaf, st)
}

// readRevision returns the revision that a statement is, if it is one of this
// log and map version.
func (s *Server) readRevision(at uint64, leaf []byte, st *statement.Statement) (revision, bool) {
	r, ok := st.Body.(*statement.Revision)
	if !ok || r.MapVersion != index.MapVersion || r.Origin != s.config.Origin || r.Size > at {
		return revision{}, false
	}
	return revision{index: at, size: r.Size, root: r.Root, leaf: leaf}, true
}

// stateRevision adds the revision of a size to the log, unless the log has ended.
func (s *Server) stateRevision(ctx context.Context, size uint64, root index.Hash) error {
	if s.seq.over() != nil || s.seq.isFrozen() != nil {
		return nil
	}
	if s.seq.reason() != nil {
		return errLater
	}
	_, err := s.say(ctx, &statement.Revision{Origin: s.config.Origin, Size: size, Root: root, MapVersion: index.MapVersion})
	if err == nil {
		s.mapper.news = false
	}
	return err
}

// answerWith chooses the newest revision that a checkpoint holds; of those that
// the auditors vouch for, if there are any and they are not too far behind.
func (s *Server) answerWith(ctx context.Context, cp published) error {
	m := s.mapper
	vouched := s.vouching.newest(cp)
	r, ok := m.newestBelow(cp.head.Size)
	if !ok {
		return nil
	}
	if vouched.head.Size > 0 {
		if v, ok := m.newestBelow(vouched.head.Size); ok && cp.head.Size-v.size <= lookup.MaxTail {
			r = v
		} else {
			vouched = published{}
		}
	}
	a := &answering{revision: r, vouched: vouched}
	var err error
	if old, _ := m.answer(); old != nil && old.revision.index == r.index {
		a.view = old.view
	} else if a.view, err = m.db.View(ctx, r.size); err != nil {
		return err
	}
	if a.view.Root() != r.root {
		return fmt.Errorf("the map of the first %d entries has the root %v, and the revision at index %d says %v", r.size, a.view.Root(), r.index, r.root)
	}
	if a, err = a.under(ctx, s.tree, cp); err != nil {
		return err
	}
	m.set(a)
	m.forget(r)
	return nil
}

// newestBelow returns the newest revision in the first size entries whose map is
// there.
func (m *mapper) newestBelow(size uint64) (revision, bool) {
	for i := len(m.revisions) - 1; i >= 0; i-- {
		if r := m.revisions[i]; r.index < size && r.size <= m.db.Size() {
			return r, true
		}
	}
	return revision{}, false
}

// forget drops the revisions before r, which are not answered with again.
func (m *mapper) forget(r revision) {
	for len(m.revisions) > 0 && m.revisions[0].index < r.index {
		m.revisions = m.revisions[1:]
	}
}

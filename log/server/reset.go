package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/server/indexdb"
	"github.com/firn-log/firn/log/statement"
)

type revisionAt = indexdb.Revision

// resetName is the file that asks the next start to take the index back
// (spec/log.md#taking-the-index-back).
const resetName = "reset-index"

// ResetIndex has the next start of the log in dir, which nobody may be serving, state
// an index-reset, which withdraws every revision so far, and make the map anew. Whoever
// does it names the log. Until that start, removing the file takes it back.
func ResetIndex(ctx context.Context, dir, origin string) error {
	s, err := prepare(Options{Dir: dir})
	if err != nil {
		return err
	}
	if origin != s.config.Origin {
		return fmt.Errorf("the log in %s is %s, not %q", dir, s.config.Origin, origin)
	}
	if s.convicted != nil {
		return fmt.Errorf("the log has ended: %w", s.convicted)
	}
	if s.lock, err = durable.Acquire(s.path(lockName)); err != nil {
		return err
	}
	defer func() { _ = s.lock.Unlock() }()
	if s.resets.waiting() {
		return errors.New("the index is taken back already, with the next start")
	}
	if err := s.notFrozen(ctx); err != nil {
		return err
	}
	return durable.CreateFile(s.path(resetName), []byte(origin+"\n"), 0o644)
}

// readReset reads whether the index is to be taken back.
func (s *Server) readReset() error {
	b, err := os.ReadFile(s.path(resetName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("reading whether the index is to be taken back: %w", err)
	case string(b) != s.config.Origin+"\n":
		return fmt.Errorf("the file %s does not name this log, %s; remove it, or make it with firn-log reset-index", s.path(resetName), s.config.Origin)
	}
	s.resets.pending = true
	return nil
}

// sayReset states the index-reset that is waited for, unless the tree has it.
func (s *Server) sayReset(ctx context.Context, size uint64) (uint64, error) {
	var last *revisionAt
	err := s.db.Revisions(ctx, s.db.State().Size, func(r revisionAt) bool { last = &r; return false })
	switch {
	case err != nil:
		return size, err
	case s.seq.isFrozen() != nil:
		s.log.Warn("the index is not taken back: the log is frozen")
	case last != nil && !s.resets.withdraw(last.Index, last.Size):
		body := &statement.IndexReset{Origin: s.config.Origin, MapVersion: index.MapVersion, Size: last.Size}
		if size, err = s.say(ctx, body); err != nil {
			return size, err
		}
	}
	if err := os.Remove(s.path(resetName)); err != nil {
		return size, err
	}
	s.resets.mu.Lock()
	defer s.resets.mu.Unlock()
	s.resets.pending = false
	return size, nil
}

// noteReset notes an index-reset of this log.
func (s *Server) noteReset(at uint64, st *statement.Statement) {
	b, ok := st.Body.(*statement.IndexReset)
	if ok && b.MapVersion == index.MapVersion && b.Origin == s.config.Origin && st.Signer == s.key.statement.PublicKey().ID() {
		s.resets.add(resetAt{at, b.Size, st.Leaf()})
	}
}

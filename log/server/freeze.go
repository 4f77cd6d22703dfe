package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/indexdb"
	"github.com/firn-log/firn/log/statement"
)

// freezeName is the file with the last statement of the log, from the moment when
// it is signed until it is in the tree (spec/log.md#freezing).
const freezeName = "freeze"

// FreezeOptions is what Freeze says.
type FreezeOptions struct {
	Origin    string // of this log: whoever freezes it names it
	Successor string // verifier key of the log that goes on, or ""
	Reason    string // for people, or ""
}

// Freeze signs the last statement of the log in dir, which nobody may be serving.
// The next start adds it and takes nothing else. It returns the statement. Until that
// start, removing the file takes it back.
func Freeze(ctx context.Context, dir string, o FreezeOptions) (*statement.Freeze, error) {
	s, err := prepare(Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	if o.Origin != s.config.Origin {
		return nil, fmt.Errorf("the log in %s is %s, not %q", dir, s.config.Origin, o.Origin)
	}
	if s.convicted != nil {
		return nil, fmt.Errorf("the log has ended already: %w", s.convicted)
	}
	body, err := o.body(s.key)
	if err != nil {
		return nil, err
	}
	st, err := statement.Sign(ctx, s.key.statement, body, "", nil)
	if err != nil {
		return nil, fmt.Errorf("signing the freeze statement: %w", err)
	}
	if s.lock, err = durable.Acquire(s.path(lockName)); err != nil {
		return nil, err
	}
	defer func() { _ = s.lock.Unlock() }()
	if err := s.notFrozen(ctx); err != nil {
		return nil, err
	}
	return body, durable.CreateFile(s.path(freezeName), st.Leaf(), 0o644)
}

// body returns the statement's body.
func (o FreezeOptions) body(own *logKey) (*statement.Freeze, error) {
	b := &statement.Freeze{Origin: o.Origin, Reason: o.Reason}
	if o.Successor != "" {
		k, err := policy.ParseKey(o.Successor)
		if err != nil {
			return nil, fmt.Errorf("successor: %w", err)
		}
		if k.Type != policy.TypeEd25519 {
			return nil, fmt.Errorf("successor: %s is not the key of a log", k.Name)
		}
		key, err := statement.Ed25519Key(k.Public)
		if err != nil {
			return nil, fmt.Errorf("successor: %w", err)
		}
		if key.Equal(own.statement.PublicKey()) {
			return nil, errors.New("successor: it is this log's own key, and a key is used for one origin for life")
		}
		b.Successor = &statement.Successor{Origin: k.Name, LogKey: key}
	}
	return b, b.Check()
}

// notFrozen returns an error if the log is frozen already, or will be with the next
// start. The caller has the lock.
func (s *Server) notFrozen(ctx context.Context) error {
	if s.lastWord != nil {
		return errors.New("the log is frozen already, with the next start")
	}
	if _, err := os.Stat(s.path(indexName)); errors.Is(err, fs.ErrNotExist) {
		return nil // the start finds out
	}
	db, err := indexdb.Open(ctx, s.path(indexName), s.config.Origin)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.People(ctx, func(i uint64, leaf []byte) error {
		if st, err := statement.Parse(leaf); err == nil && st.Kind == statement.KindFreeze {
			return fmt.Errorf("the log is frozen already, since entry %d", i)
		}
		return nil
	})
}

// frozenError is why nothing is taken: the log has said its last statement, or says
// it now.
type frozenError struct {
	body  *statement.Freeze
	index uint64 // meaningful if done
	done  bool   // it is in the tree
}

func (e *frozenError) Error() string { return e.body.Words() }

// readLastWord reads the statement that is to be the last of this log, if there is
// one.
func (s *Server) readLastWord() error {
	leaf, err := os.ReadFile(s.path(freezeName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the freeze statement: %w", err)
	}
	st, err := statement.Parse(leaf)
	if err == nil {
		err = st.Verify(s.key.statement.PublicKey())
	}
	if err == nil {
		if b, ok := st.Body.(*statement.Freeze); !ok || b.Origin != s.config.Origin {
			err = errors.New("it is not a freeze statement of this log")
		}
	}
	if err != nil {
		return fmt.Errorf("reading the freeze statement %s: %w", s.path(freezeName), err)
	}
	s.lastWord = st
	return nil
}

// apply takes in an entry of the tree.
func (s *Server) apply(index uint64, st *statement.Statement) {
	s.registry.Apply(st)
	s.noteReset(index, st)
	if b, ok := st.Body.(*statement.Freeze); ok && b.Origin == s.config.Origin && st.Signer == s.key.statement.PublicKey().ID() {
		s.seq.freeze(&frozenError{b, index, true})
		s.metrics.frozen.Set(1)
	}
}

// heedLastWord closes the intake if the last statement waits for this start, unless
// the tree has it already.
func (s *Server) heedLastWord() {
	if s.lastWord == nil {
		return
	}
	if s.seq.isFrozen() != nil {
		s.saidLastWord()
		return
	}
	s.seq.freeze(&frozenError{body: s.lastWord.Body.(*statement.Freeze)})
}

// saidLastWord removes the file: the tree has the statement.
func (s *Server) saidLastWord() {
	s.lastWord = nil
	if err := os.Remove(s.path(freezeName)); err != nil {
		s.log.Warn("removing the file of the freeze statement, which is in the tree", "error", err)
	}
}

// freeze says that the log has ended. What is in the tree goes before what is to be.
func (q *sequencer) freeze(why *frozenError) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.frozen == nil || !q.frozen.done {
		q.frozen = why
	}
}

// isFrozen returns how the log has ended, or nil.
func (q *sequencer) isFrozen() *frozenError {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.frozen
}

// frozenJSON is what GET /v1/log says of the end of the log, nil if there is none.
func (s *Server) frozenJSON() map[string]any {
	f := s.seq.isFrozen()
	if f == nil || !f.done {
		return nil
	}
	m := map[string]any{"index": f.index}
	if f.body.Successor != nil {
		m["successor"] = f.body.Successor.VKey()
	}
	if f.body.Reason != "" {
		m["reason"] = f.body.Reason
	}
	return m
}

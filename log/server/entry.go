package server

import (
	"context"
	"errors"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/server/admission"
	"github.com/firn-log/firn/log/server/indexdb"
	"github.com/firn-log/firn/log/statement"
)

// entry is a statement on its way into the log. Who admitted it may read
// index and err once done is closed.
type entry struct {
	s    *statement.Statement
	id   statement.ID
	leaf []byte

	reserved admission.Reservation
	done     chan struct{}
	index    uint64
	err      error // it was not added
}

func newEntry(s *statement.Statement, leaf []byte) *entry {
	return &entry{s: s, id: s.ID(), leaf: leaf, done: make(chan struct{})}
}

func (e *entry) resolve(index uint64, err error) {
	e.index, e.err = index, err
	close(e.done)
}

// errUnknown says that an entry may or may not have been added.
var errUnknown = errors.New("the log did not say in time whether it was added; send it again")

// wait returns the index of an added entry.
func (e *entry) wait(ctx context.Context) (uint64, error) {
	select {
	case <-e.done:
		return e.index, e.err
	case <-ctx.Done():
		return 0, errUnknown
	}
}

// rowOf returns what the index keeps of a statement in the log.
func (s *Server) rowOf(st *statement.Statement, leaf []byte) indexdb.Row {
	r := indexdb.Row{ID: st.ID(), Signer: st.Signer, Subjects: subjectsOf(st)}
	switch b := st.Body.(type) {
	case *statement.Evidence:
		r.Accused = index.Key(b.Convicted().ID())
	case *statement.Revision:
		if s.isOwnRevision(st) {
			r.Revision = b.Size
		}
	}
	if changesRegistry(st) {
		r.Leaf = leaf
	}
	return r
}

// changesRegistry reports whether s is about people or the log, so that it can
// change what the log takes after it. Revisions, of which there are very many, do not.
func changesRegistry(s *statement.Statement) bool {
	if s.Kind == statement.KindRevision {
		return false
	}
	return s.Kind.Class() == statement.People || s.Kind.Class() == statement.Log
}

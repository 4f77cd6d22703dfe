package server

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/server/admission"
	"github.com/firn-log/firn/log/statement"
)

// submission is one leaf of a request on its way through admission.
type submission struct {
	leaf     []byte
	s        *statement.Statement
	verified bool
	err      error  // it is refused, or the log failed
	e        *entry // it is in flight, or was added: by this request or another
	index    uint64 // of an entry that was there before, if e is nil
	repeated bool   // somebody else sent it first
}

// subjectsOf returns what a claim is about.
func subjectsOf(s *statement.Statement) []string { return index.Subjects(s) }

// admit takes the leaves of one request. Each is judged for itself: what is
// wrong with one does not touch the others. When it returns, every submission
// has an err, an entry in flight, or the index it is at.
func (s *Server) admit(ctx context.Context, leaves [][]byte) []submission {
	subs := make([]submission, len(leaves))
	s.verifyAll(leaves, subs)
	for i := range subs {
		if subs[i].err == nil {
			subs[i].err = s.admitOne(ctx, &subs[i])
		}
	}
	return subs
}

// verifyAll parses every leaf and verifies every signature whose key is known
// by now, on all processors: nearly all the work of admission is here.
func (s *Server) verifyAll(leaves [][]byte, subs []submission) {
	var g errgroup.Group
	workers := min(runtime.GOMAXPROCS(0), len(leaves))
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(leaves); i += workers {
				sub := &subs[i]
				sub.leaf = leaves[i]
				if sub.s, sub.err = statement.Parse(leaves[i]); sub.err == nil {
					sub.err = s.verify(sub)
				}
				// The key may be registered by an earlier leaf of this request.
				if codeOf(sub.err) == admission.CodeUnknownKey {
					sub.err = nil
				}
			}
			return nil
		})
	}
	_ = g.Wait()
}

// verify verifies the signature, and in a key-add that of the new key.
func (s *Server) verify(sub *submission) error {
	if sub.s.Kind.Class() == statement.Log {
		_, err := s.registry.Check(sub.s) // refused whoever signed it
		return err
	}
	key, err := s.registry.Key(sub.s)
	if err != nil {
		return err
	}
	if err := sub.s.Verify(key); err != nil {
		return err
	}
	if b, ok := sub.s.Body.(*statement.KeyAdd); ok {
		if err := b.VerifyProof(); err != nil {
			return err
		}
	}
	sub.verified = true
	return nil
}

// admitOne puts one leaf in line, or says why not.
func (s *Server) admitOne(ctx context.Context, sub *submission) error {
	for {
		before, err := s.tryAdmit(ctx, sub)
		if before == nil {
			return err
		}
		// What this one needs may be in flight: only statements about people
		// change who may sign what, and they are judged one after the other.
		if _, err := before.wait(ctx); errors.Is(err, errUnknown) {
			return err
		}
	}
}

// tryAdmit is one attempt; it returns an entry that must be through first.
func (s *Server) tryAdmit(ctx context.Context, sub *submission) (before *entry, err error) {
	if !sub.verified {
		if err := s.verify(sub); err != nil && !s.mayChange(err) {
			return nil, err
		}
	}
	s.seq.mu.Lock()
	defer s.seq.mu.Unlock()
	if s.seq.closed != nil {
		return nil, &closedError{s.seq.closed}
	}
	id := sub.s.ID()
	if e, ok := s.seq.inflight[id]; ok {
		sub.e, sub.repeated = e, true
		return nil, nil
	}
	i, ok, err := s.db.IndexOf(ctx, id)
	if err != nil {
		return nil, &storageError{err}
	}
	if ok {
		sub.index, sub.repeated = i, true
		return nil, nil
	}
	err = s.permit(ctx, sub)
	if sub.e == nil && s.seq.people != nil && (err == nil || s.mayChange(err)) {
		return s.seq.people, nil
	}
	return nil, err
}

// mayChange reports whether a statement about people can make err go away.
func (s *Server) mayChange(err error) bool {
	switch codeOf(err) {
	case admission.CodeUnknownKey, admission.CodeUnknownPrev, admission.CodeUnknownOperator, admission.CodeUnknownTarget,
		admission.CodeUnlistedCache, admission.CodeNotListed:
		return true
	}
	return false
}

// permit asks the registry and the budgets, and puts the leaf in line if they
// allow it. The caller holds seq.mu.
func (s *Server) permit(ctx context.Context, sub *submission) error {
	if !sub.verified {
		if _, err := s.registry.Key(sub.s); err != nil {
			return err
		}
		// Its key was registered a moment ago; this is rare, and 0.1 ms.
		if err := s.verify(sub); err != nil {
			return err
		}
	}
	vouched, err := s.registry.Check(sub.s)
	if err != nil {
		return err
	}
	if s.seq.people != nil && sub.s.Kind.Class() == statement.People {
		return nil
	}
	rules := s.registry.Rules()
	subjects := subjectsOf(sub.s)
	for _, subject := range subjects {
		if err := s.checkClaims(ctx, sub.s, subject, rules.Budgets.ClaimsPerSubject); err != nil {
			return err
		}
	}
	r, err := s.budget.Reserve(sub.s, vouched, len(sub.leaf), rules.Budgets)
	if err != nil {
		return err
	}
	sub.e = newEntry(sub.s, sub.leaf)
	sub.e.reserved = r
	s.seq.enqueue(sub.e, subjects)
	return nil
}

// checkClaims returns an error if the signer has made as many claims about
// subject as it may, those in flight included.
func (s *Server) checkClaims(ctx context.Context, st *statement.Statement, subject string, limit uint64) error {
	inflight := s.seq.claims[claimKey{st.Signer, subject}]
	n, err := s.db.Claims(ctx, subject, st.Signer, limit)
	if err != nil {
		return &storageError{err}
	}
	if n+inflight >= limit {
		return &admission.Error{Code: admission.CodeTooManyClaims, Msg: "this key has made as many claims about " + subject + " as one key may"}
	}
	return nil
}

// codeOf returns the code of an error that is about a statement, or "".
func codeOf(err error) string {
	var a *admission.Error
	if errors.As(err, &a) {
		return a.Code
	}
	return statement.CodeOf(err)
}

// closedError says that the log takes nothing now.
type closedError struct{ why error }

func (e *closedError) Error() string { return e.why.Error() }
func (e *closedError) Unwrap() error { return e.why }

package server

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
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
	blobs    uint64 // bytes of the blobs that came with it
}

// submissionsOf returns leaves that nothing is known about yet.
func submissionsOf(leaves [][]byte) []submission {
	subs := make([]submission, len(leaves))
	for i := range leaves {
		subs[i].leaf = leaves[i]
	}
	return subs
}

// subjectsOf returns what a claim is about.
func subjectsOf(s *statement.Statement) []string { return index.Subjects(s) }

// admit takes the leaves of one request. Each is judged for itself: what is
// wrong with one does not touch the others. When it returns, every submission
// has an err, an entry in flight, or the index it is at.
func (s *Server) admit(ctx context.Context, subs []submission) {
	s.verifyAll(subs)
	for rest := subs; len(rest) > 0; {
		n, before, err := s.admitSome(ctx, rest[:min(len(rest), admitAtOnce)])
		rest = rest[n:]
		if before != nil {
			// What the next one needs may be in flight: only statements about
			// people change who may sign what, and they are judged one by one.
			if _, e := before.wait(ctx); errors.Is(e, errUnknown) {
				err = e
			}
		}
		if err != nil {
			for i := range rest {
				rest[i].err = err
			}
			return
		}
	}
}

// verifyAll parses every leaf and verifies every signature whose key is known
// by now, on all processors: nearly all the work of admission is here.
func (s *Server) verifyAll(subs []submission) {
	var g errgroup.Group
	workers := min(runtime.GOMAXPROCS(0), len(subs))
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(subs); i += workers {
				sub := &subs[i]
				if sub.s != nil || sub.err != nil {
					continue
				}
				if sub.s, sub.err = statement.Parse(sub.leaf); sub.err == nil {
					sub.err = s.verify(sub)
				}
				// The key may be registered by an earlier leaf of this request; and
				// what needs a list may be in the log already.
				if code := codeOf(sub.err); code == admission.CodeUnknownKey || code == statement.CodeNeedsBlob {
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
	if b, ok := sub.s.Body.(*statement.Realisation); ok {
		if err := b.VerifyNixSigs(); err != nil {
			return err
		}
	}
	if b, ok := sub.s.Body.(*statement.Evidence); ok {
		if err := fraud.CheckStatement(b); err != nil {
			return err
		}
	}
	sub.verified = true
	return nil
}

// admitAtOnce is how many leaves of a request are judged under one lock, after
// one look into the index for all of them.
const admitAtOnce = 256

// known is what the index says about some submissions.
type known struct {
	indexes map[statement.ID]uint64
	claims  map[claimKey]uint64
}

// admitSome judges leaves in their order, and puts those that are admitted in
// line. It returns how many it judged, and an entry that must be through
// before the next can be. An error is the log's, and about all that are left.
func (s *Server) admitSome(ctx context.Context, subs []submission) (n int, before *entry, err error) {
	s.seq.mu.Lock()
	defer s.seq.mu.Unlock()
	if why := s.seq.why(); why != nil {
		return 0, nil, &closedError{why}
	}
	k, err := s.lookUp(ctx, subs)
	if err != nil {
		return 0, nil, &storageError{err}
	}
	for i := range subs {
		sub := &subs[i]
		if sub.err != nil {
			continue
		}
		if before, sub.err = s.judge(sub, k); before != nil {
			return i, before, nil
		}
	}
	return len(subs), nil, nil
}

// lookUp asks the index about all of subs. The caller holds seq.mu, so that no
// entry leaves flight, and is forgotten there, before it is found here.
func (s *Server) lookUp(ctx context.Context, subs []submission) (known, error) {
	k := known{claims: make(map[claimKey]uint64)}
	var ids []statement.ID
	subjects := make(map[statement.KeyID][]string)
	for i := range subs {
		if sub := &subs[i]; sub.err == nil {
			ids = append(ids, sub.s.ID())
			subjects[sub.s.Signer] = append(subjects[sub.s.Signer], subjectsOf(sub.s)...)
		}
	}
	var err error
	if k.indexes, err = s.db.IndexesOf(ctx, ids); err != nil {
		return k, err
	}
	for signer, about := range subjects {
		counts, err := s.db.Claims(ctx, signer, about)
		if err != nil {
			return k, err
		}
		for subject, n := range counts {
			k.claims[claimKey{signer, subject}] = n
		}
	}
	return k, nil
}

// judge decides about one leaf; it returns an entry that must be through first.
// The caller holds seq.mu.
func (s *Server) judge(sub *submission, k known) (before *entry, err error) {
	id := sub.s.ID()
	if !sub.verified {
		// Its key may have been registered a moment ago; this is rare, and 0.1 ms.
		err := s.verify(sub)
		if _, ok := k.indexes[id]; err != nil && !(ok && codeOf(err) == statement.CodeNeedsBlob) {
			return s.firstOrLast(err)
		}
	}
	if e, ok := s.seq.inflight[id]; ok {
		sub.e, sub.repeated = e, true
		return nil, nil
	}
	if i, ok := k.indexes[id]; ok {
		sub.index, sub.repeated = i, true
		return nil, nil
	}
	vouched, err := s.registry.Check(sub.s)
	if err != nil {
		return s.firstOrLast(err)
	}
	if s.seq.people != nil && sub.s.Kind.Class() == statement.People {
		return s.seq.people, nil
	}
	return s.takeIn(sub, vouched, k)
}

// firstOrLast returns the statement about people in flight if it can make err
// go away, and otherwise err.
func (s *Server) firstOrLast(err error) (before *entry, last error) {
	if s.seq.people != nil && mayChange(err) {
		return s.seq.people, nil
	}
	return nil, err
}

// mayChange reports whether a statement about people can make err go away.
func mayChange(err error) bool {
	switch codeOf(err) {
	case admission.CodeUnknownKey, admission.CodeUnknownPrev, admission.CodeUnknownOperator, admission.CodeUnknownTarget,
		admission.CodeUnlistedCache, admission.CodeNotListed:
		return true
	}
	return false
}

// takeIn counts a leaf against the budgets and puts it in line, or returns an
// entry that must be through first. The caller holds seq.mu.
func (s *Server) takeIn(sub *submission, vouched bool, k known) (before *entry, err error) {
	budgets := s.registry.Rules().Budgets
	subjects := subjectsOf(sub.s)
	for _, subject := range subjects {
		c := claimKey{sub.s.Signer, subject}
		if k.claims[c]+s.seq.claims[c] >= budgets.ClaimsPerSubject {
			// An entry in flight may be in the index already, and count twice.
			if e := s.seq.claimInFlight(c); e != nil {
				return e, nil
			}
			return nil, &admission.Error{Code: admission.CodeTooManyClaims, Msg: "this key has made as many claims about " + subject + " as one key may"}
		}
	}
	r, err := s.budget.Reserve(sub.s, vouched, uint64(len(sub.leaf))+sub.blobs, budgets)
	if err != nil {
		return nil, err
	}
	sub.e = newEntry(sub.s, sub.leaf)
	sub.e.reserved = r
	s.seq.enqueue(sub.e, subjects)
	return nil, nil
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

package server

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
)

// shares bounds how much of something that is scarce one address may hold at
// once, so that slow connections from one place do not shut everybody else out
// (spec/log.md#limits). It may be used concurrently.
type shares struct {
	most int64
	who  func(r *http.Request) (netip.Prefix, bool)

	mu   sync.Mutex // guards what follows
	held map[netip.Prefix]*share
}

// share is what one address holds, and how many requests of it there are.
type share struct {
	used    int64
	users   int
	changed chan struct{} // closed and replaced when used shrinks
}

func newShares(most int64, who func(r *http.Request) (netip.Prefix, bool)) *shares {
	return &shares{most: max(most, 1), who: who, held: make(map[netip.Prefix]*share)}
}

// take waits until the address that sent r may hold n more, which is at most a
// whole share; it gives up when ctx ends. Whoever is not limited never waits.
func (s *shares) take(ctx context.Context, r *http.Request, n int64) (release func(), err error) {
	who, limited := s.who(r)
	if !limited {
		return func() {}, nil
	}
	n = min(n, s.most)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[who]
	if h == nil {
		h = &share{changed: make(chan struct{})}
		s.held[who] = h
	}
	h.users++
	for h.used+n > s.most {
		changed := h.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil {
			s.leave(who, h, 0)
			return nil, err
		}
	}
	h.used += n
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leave(who, h, n)
	}, nil
}

// leave gives n back. The caller holds mu.
func (s *shares) leave(who netip.Prefix, h *share, n int64) {
	h.used -= n
	close(h.changed)
	h.changed = make(chan struct{})
	if h.users--; h.users == 0 {
		delete(s.held, who)
	}
}

// ended is a context that has ended: take with it does not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

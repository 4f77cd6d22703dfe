package substituter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

const (
	// patience is how long one decision may take.
	patience = 90 * time.Second
	// maxAhead bounds the paths that are looked up ahead for one request: a cache that makes paths
	// up costs no more.
	maxAhead = 8000
)

// errAbsent says that no upstream has a path.
var errAbsent = errors.New("no upstream has it")

// A flight is a decision on its way; many may wait for it.
type flight struct {
	r    *rules
	done chan struct{} // closed when d and err are there
	d    *decision
	err  error
}

// decide returns the decision about a path that counts now, and makes it if there is none: then
// its references are looked up ahead. If the policy changes meanwhile, it is made again. Errors:
// errAbsent, or what kept it from being made.
func (s *Substituter) decide(ctx context.Context, h hashPart) (*decision, error) {
	ahead := new(atomic.Int64)
	ahead.Store(s.ahead)
	for {
		if d := s.store.get(h); d != nil && s.fresh(s.rules.Load(), d) {
			return d, nil
		}
		f := s.fly(h, ahead)
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if f.r == s.rules.Load() {
			return f.d, f.err
		}
	}
}

// fly starts a decision, or joins one that is on its way.
func (s *Substituter) fly(h hashPart, ahead *atomic.Int64) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rules.Load()
	if f := s.flights[h]; f != nil && f.r == r {
		return f
	}
	f := &flight{r: r, done: make(chan struct{})}
	if s.ctx.Err() != nil {
		f.err = context.Cause(s.ctx)
		close(f.done)
		return f
	}
	s.flights[h] = f
	s.done.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		defer cancel()
		f.d, f.err = s.make(ctx, r, h, ahead)
		s.mu.Lock()
		if s.flights[h] == f { // and not one by another policy
			delete(s.flights, h)
		}
		s.mu.Unlock()
		close(f.done)
	})
	return f
}

// lookAhead starts decisions about references that this machine does not have.
func (s *Substituter) lookAhead(info *nix.NarInfo, ahead *atomic.Int64) {
	r := s.rules.Load()
	for _, ref := range info.References {
		h, ok := parseHashPart(ref.HashPart())
		if !ok || ref == info.Path {
			continue
		}
		if d := s.store.get(h); d != nil && s.fresh(r, d) {
			continue // and so is what it refers to, more or less
		}
		if _, err := os.Lstat(ref.String()); err == nil {
			continue // Nix has it and will not ask
		}
		if ahead.Add(-1) < 0 {
			return
		}
		s.fly(h, ahead)
	}
}

// make asks the upstreams in their order until one has a path in a form that is taken. If none
// has, the answer is about the first that has the path at all.
func (s *Substituter) make(ctx context.Context, r *rules, h hashPart, ahead *atomic.Int64) (*decision, error) {
	old := s.store.get(h)
	if old != nil && (!old.action.Taken() || s.isBlamed(old.upstream, h) || r.upstream(old.upstream) == nil) {
		old = nil // it may be another one by now
	}
	var first *decision
	var trouble error
	try := func(u *upstream, info *nix.NarInfo, known []byte) (taken bool, err error) {
		if first == nil || first.info.Fingerprint() != info.Fingerprint() {
			s.lookAhead(info, ahead)
		}
		d, err := s.ask(ctx, &question{r: r, u: u, info: info, known: known, answer: make(chan error, 1)})
		if err == nil && (first == nil || d.action.Taken()) {
			first = d
		}
		return err == nil && d.action.Taken(), err
	}
	if old != nil {
		u := r.upstream(old.upstream) // whose keys may be others by now
		if taken, err := try(u, u.take(old.info), old.answers); taken || err != nil {
			return s.keep(first), err
		}
	}
	for _, u := range r.upstreams {
		if s.isBlamed(u.URL, h) {
			trouble = errors.Join(trouble, fmt.Errorf("%s had a wrong NAR of it, and is asked again %s after that", u.URL, lasting(blameFor)))
			continue
		}
		info, err := u.narInfo(ctx, h)
		switch {
		case errors.Is(err, bincache.ErrMissing):
			continue
		case err != nil:
			trouble = errors.Join(trouble, err)
			continue
		}
		if taken, err := try(u, u.take(info), nil); taken || err != nil {
			return s.keep(first), err
		}
	}
	switch {
	case first != nil:
		return s.keep(first), nil
	case trouble != nil:
		return nil, trouble
	}
	return nil, errAbsent
}

// keep stores a decision and counts it. That it cannot be stored is no reason to hold it back.
func (s *Substituter) keep(d *decision) *decision {
	if d == nil {
		return nil
	}
	s.sign(d)
	if err := s.store.put([]*decision{d}); err != nil {
		s.o.Log.Error("a decision could not be kept", "path", d.path().Base(), "error", err)
	}
	s.told(d)
	return d
}

// told counts a decision and says what becomes of what is not simply served.
func (s *Substituter) told(d *decision) {
	s.tally.decided(d)
	if d.action != verify.Serve {
		s.o.Log.Info("not simply served", "path", d.path().Base(), "action", d.action.String(), "verdict", d.verdict.String(), "why", d.reason, "rule", d.rule)
	}
}

func (r *rules) upstream(url string) *upstream {
	for _, u := range r.upstreams {
		if u.URL == url {
			return u
		}
	}
	return nil
}

// settle turns the verdict about a path into what becomes of it (spec/substituter.md#answers).
func settle(p *verify.PathReport, q *question, now time.Time) *decision {
	d := &decision{
		info: q.info, upstream: q.u.URL, verdict: p.Verdict, action: p.Action, reason: p.Reason, rule: p.Rule.Name,
		policy: q.r.id, at: now,
	}
	// What nobody vouches for comes from a cache at least that the policy knows.
	switch {
	case d.action.Taken() && p.Verdict != verify.Trusted && !q.signed():
		d.reason += "; the rule lets it in all the same, but only with a signature by a key that the policy lists for " + q.u.URL + ", and it has none"
		d.action = verify.Refuse
	case d.action == verify.Rebuild && p.Verdict == verify.Inconclusive:
		// What is missing may be there in a minute; building everything meanwhile helps nobody.
		d.action = verify.Refuse
	}
	if q.mapped != nil {
		d.mapped = q.mapped.id.String()
		if d.action == verify.Refuse && p.Verdict == verify.Untrusted {
			d.action = verify.Rebuild // it is as good as none
		}
	}
	return d
}

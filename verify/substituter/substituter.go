package substituter

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/verify"
	"github.com/firn-log/firn/verify/closure"
)

// Options are what a Substituter needs.
type Options struct {
	// Key signs the narinfos that are served; it is for this machine alone.
	Key nix.SecretKey
	// State is the folder with decisions and what is remembered of logs. One process uses it.
	State string
	// Hosts are the names, without port, that a request may be for beside localhost, 127.0.0.1
	// and ::1.
	Hosts []string
	// NoSubmit posts no signatures of public upstreams to the log.
	NoSubmit bool
	// Most is how many decisions are kept; 0 is 200,000.
	Most int
	// Store is this machine's, for what rules look at beside names; nil leaves it unknown.
	Store *closure.Store
	// Transport makes the requests to upstreams; nil is one of its own.
	Transport http.RoundTripper
	// Log is where what happens is told; nil is nowhere.
	Log *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// OnEvidence is told of evidence against a log that is new; nil does nothing more.
	OnEvidence func(evidence.Held)

	logPatience, upstreamPatience time.Duration // 0 is the constant; for tests
}

// storeDir is the only store directory that is served: a signature for another one is of no use
// to the Nix of this machine.
const storeDir = nix.DefaultStoreDir

// A Substituter is described in the package comment. Its methods may be called concurrently.
type Substituter struct {
	o       Options
	lock    *durable.Lock
	store   *store
	batches chan *question
	tally   *tally
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	done    sync.WaitGroup
	fetches chan struct{} // a place for each narinfo that is asked for at once
	nars    chan struct{} // a place for each NAR that is passed on at once
	keyID   string        // of the key that signs
	ahead   int64         // paths that are looked up ahead for one request

	rules atomic.Pointer[rules]

	mu      sync.Mutex // guards what follows
	flights map[hashPart]*flight
	blamed  map[blame]time.Time  // upstreams whose NAR of a path was wrong, and until when
	mapped  map[string]*decision // about realisations
}

// rules are a policy in use.
type rules struct {
	pol       *verify.Policy
	id        policyID
	session   *verify.Session
	submit    *log.Client // nil if there is none to submit to
	upstreams []*upstream
	since     time.Time
}

// New returns a substituter that obeys pol, which was read from text (the policy and every file
// that it names). It asks nobody. Close ends it.
func New(pol *verify.Policy, text []byte, o Options) (*Substituter, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Most <= 0 {
		o.Most = 200_000
	}
	if o.logPatience == 0 {
		o.logPatience = logPatience
	}
	if o.upstreamPatience == 0 {
		o.upstreamPatience = upstreamPatience
	}
	if err := durable.MkdirAll(o.State, 0o700); err != nil {
		return nil, err
	}
	lock, err := durable.Acquire(filepath.Join(o.State, "lock"))
	if err != nil {
		return nil, err
	}
	s := &Substituter{
		o: o, lock: lock, keyID: keyIDOf(o.Key), batches: make(chan *question, 1024), tally: newTally(), nars: make(chan struct{}, maxNars), ahead: maxAhead,
		fetches: make(chan struct{}, maxFetches), flights: make(map[hashPart]*flight), blamed: make(map[blame]time.Time),
		mapped: make(map[string]*decision),
	}
	if s.store, err = openStore(o.State, storeDir, o.Most); err == nil {
		err = s.SetPolicy(pol, text)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.done.Go(s.judge)
	return s, nil
}

// Close ends what is going on and frees the state.
func (s *Substituter) Close() error {
	s.mu.Lock() // after this nothing new begins
	s.stop()
	s.mu.Unlock()
	s.done.Wait()
	return errors.Join(s.store.close(), s.lock.Unlock())
}

// SetPolicy makes the substituter obey another policy from now on. Decisions of the old one
// count no more, but what logs answered does, as far as it is about the same keys.
func (s *Substituter) SetPolicy(pol *verify.Policy, text []byte) error {
	if pol == nil {
		return verify.ErrNoPolicy
	}
	if len(pol.Upstreams) == 0 {
		return errors.New("the policy has no upstream line, so there is nothing to serve from")
	}
	session, err := verify.NewSession(pol, verify.Options{StateDir: s.o.State, Now: s.o.Now, OnEvidence: s.o.OnEvidence})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	r := &rules{pol: pol, id: policyID(sum[:16]), session: session, since: s.o.Now()}
	for _, u := range pol.Upstreams {
		if err := bincache.CheckURL(u.URL); err != nil {
			return fmt.Errorf("upstream %s: %w", u.URL, err)
		}
		r.upstreams = append(r.upstreams, &upstream{Upstream: u, s: s})
	}
	if !s.o.NoSubmit {
		if r.submit, err = s.submitTo(pol); err != nil {
			return err
		}
	}
	s.rules.Store(r)
	s.o.Log.Info("policy in use", "policy", fmt.Sprintf("%x", r.id), "upstreams", len(r.upstreams))
	return nil
}

// submitTo is the first log of the policy that takes statements over HTTP.
func (s *Substituter) submitTo(pol *verify.Policy) (*log.Client, error) {
	for _, ref := range pol.Logs {
		if len(ref.URL) < 5 || ref.URL[:4] != "http" {
			continue
		}
		return log.NewClient(ref.URL, ref.Policy, log.Options{Memory: log.NewMemory(s.o.State), Now: s.o.Now, UserAgent: "firn-substituter"})
	}
	return nil, nil
}

// How long a decision counts that lets nothing in: what is missing may come soon.
const (
	inconclusiveTTL = 10 * time.Second
	refusedTTL      = time.Minute
)

// fresh reports whether a decision counts now.
func (s *Substituter) fresh(r *rules, d *decision) bool {
	ttl := r.pol.DecisionTTL
	switch {
	case d.verdict == verify.Inconclusive:
		ttl = min(ttl, inconclusiveTTL)
	case !d.action.Taken():
		ttl = min(ttl, refusedTTL)
	}
	age := s.o.Now().Sub(d.at)
	return d.policy == r.id && age >= 0 && age < ttl
}

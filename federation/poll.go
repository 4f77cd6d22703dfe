package federation

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
)

// A TargetKind says where a target shows checkpoints.
type TargetKind string

// The kinds of targets.
const (
	TargetLog     TargetKind = "log"     // URL/checkpoint
	TargetWitness TargetKind = "witness" // URL/<hash>/checkpoint, for every origin
	TargetPeer    TargetKind = "peer"    // as a witness, and /<hash>/latest and /evidence
)

// A Target is somebody who is asked for checkpoints.
type Target struct {
	Kind   TargetKind
	Name   string // for people and metrics
	URL    string // prefix
	Origin string // TargetLog: whose log it is
}

// PollerOptions are what a Poller is made from.
type PollerOptions struct {
	Hub     *Hub
	Targets []Target
	// Interval is between two questions to one target, give or take a quarter;
	// 0 is 10 s. After failures in a row it doubles up to MaxInterval; 0 is 15 min.
	Interval, MaxInterval time.Duration
}

// A Poller asks logs, the monitoring endpoints of witnesses, and other peers.
// Each target has a pace of its own: one that hangs delays nobody else.
type Poller struct {
	o     PollerOptions
	fetch fetcher

	mu     sync.Mutex
	status map[string]*TargetStatus // by name
}

// A TargetStatus is how a target did last.
type TargetStatus struct {
	Target
	Asked time.Time // zero before the first question
	Fails int       // in a row
	Error string    // of the last question, "" if it was answered
}

// Defaults of PollerOptions.
const (
	DefaultInterval    = 10 * time.Second
	DefaultMaxInterval = 15 * time.Minute
)

// NewPoller returns a poller. Names of targets must differ.
func NewPoller(o PollerOptions) *Poller {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.MaxInterval == 0 {
		o.MaxInterval = max(DefaultMaxInterval, o.Interval)
	}
	p := &Poller{o: o, fetch: fetcher{o.Hub.o.HTTP, o.Hub.o.Timeout}, status: make(map[string]*TargetStatus)}
	for _, t := range o.Targets {
		p.status[t.Name] = &TargetStatus{Target: t}
	}
	return p
}

// Run polls until ctx ends.
func (p *Poller) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, t := range p.o.Targets {
		wg.Go(func() { p.follow(ctx, t) })
	}
	for _, o := range p.o.Hub.origins {
		wg.Go(func() { p.retry(ctx, o) })
	}
	wg.Wait()
}

func (p *Poller) follow(ctx context.Context, t Target) {
	seen := make(map[string][32]byte)
	useless := make(map[string]bool)
	wait := p.o.Interval
	for ctx.Err() == nil {
		if err := p.Poll(ctx, t, seen, useless); err != nil {
			wait = min(2*wait, p.o.MaxInterval)
		} else {
			wait = p.o.Interval
		}
		if sleep(ctx, jitter(wait)) != nil {
			return
		}
	}
}

// retry compares what nobody could prove before of one log.
func (p *Poller) retry(ctx context.Context, o *origin) {
	for sleep(ctx, jitter(p.o.Interval)) == nil {
		if err := p.o.Hub.retry(ctx, o); err != nil && ctx.Err() == nil {
			p.o.Hub.o.Logger.Error("comparing checkpoints that waited", "origin", o.Origin, "error", err)
		}
	}
}

// jitter returns between three and five quarters of d.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }

// sleep returns after d, or with an error when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Poll asks one target once. seen holds what it said last time, by URL, and
// useless the hashes of evidence that convicts nobody here; both belong to the
// target. The error is about the target, never about what its notes say of a log.
func (p *Poller) Poll(ctx context.Context, t Target, seen map[string][32]byte, useless map[string]bool) error {
	var errs []error
	base := strings.TrimSuffix(t.URL, "/")
	ask := func(origin, url string, must bool) {
		if err := p.ask(ctx, t, origin, url, must, seen); err != nil {
			errs = append(errs, err)
		}
	}
	if t.Kind == TargetPeer {
		// First, because a log whose tiles are slow may delay what follows.
		if err := p.pullEvidence(ctx, base, t.Name, useless); err != nil {
			errs = append(errs, err)
		}
	}
	if t.Kind == TargetLog {
		ask(t.Origin, base+"/checkpoint", true)
	} else {
		for _, origin := range p.o.Hub.Origins() {
			ask(origin, base+"/"+OriginHash(origin)+"/checkpoint", false)
			if t.Kind == TargetPeer {
				ask(origin, base+"/"+OriginHash(origin)+"/latest", false)
			}
		}
	}
	err := errors.Join(errs...)
	p.settle(ctx, t, err)
	return err
}

// ask fetches one checkpoint and offers it.
func (p *Poller) ask(ctx context.Context, t Target, origin, url string, must bool, seen map[string][32]byte) error {
	note, err := p.fetch.get(ctx, url, policy.MaxNote)
	if errors.Is(err, errNotFound) && !must {
		return nil // never saw that log
	}
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	sum := sha256.Sum256(note)
	if seen[url] == sum {
		return nil
	}
	v, err := p.o.Hub.Check(note)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w: %w", url, errGarbage, err)
	case v.Origin != origin:
		return fmt.Errorf("%s: %w: a checkpoint of %q", url, errGarbage, v.Origin)
	}
	_, err = p.o.Hub.Offer(ctx, note, t.Name)
	var fork *ForkError
	switch {
	case err == nil, errors.As(err, &fork), errors.Is(err, ErrConvicted), errors.Is(err, log.ErrUnproven):
		seen[url] = sum // an unproven one waits in the hub
		return nil
	}
	return err
}

// settle keeps how a target did, and says so when that changes.
func (p *Poller) settle(ctx context.Context, t Target, err error) {
	if ctx.Err() != nil {
		return
	}
	outcome := "answered"
	switch {
	case err == nil:
	case errors.Is(err, errGarbage):
		outcome = "garbage"
	default:
		outcome = "unreachable"
	}
	p.o.Hub.o.Metrics.polls.WithLabelValues(t.Name, outcome).Inc()
	p.mu.Lock()
	st := p.status[t.Name]
	if st == nil {
		st = &TargetStatus{Target: t}
		p.status[t.Name] = st
	}
	before := st.Error
	st.Asked, st.Error = p.o.Hub.o.Now(), ""
	if err == nil {
		st.Fails = 0
	} else {
		st.Fails++
		st.Error = err.Error()
	}
	now := st.Error
	p.mu.Unlock()
	switch {
	case now == before:
	case now == "":
		p.o.Hub.o.Logger.Info("answers again", "target", t.Name, "kind", string(t.Kind))
	default:
		p.o.Hub.o.Logger.Warn("does not answer as it should", "target", t.Name, "kind", string(t.Kind), "outcome", outcome, "error", now)
	}
}

// Status returns how the targets did, in their order.
func (p *Poller) Status() []TargetStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]TargetStatus, 0, len(p.o.Targets))
	for _, t := range p.o.Targets {
		list = append(list, *p.status[t.Name])
	}
	return list
}

package witnessing

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// Offer puts the newest checkpoint of the log before the witnesses, at once if
// the one before is through. Its note has the signature of the log and no other.
func (c *Collector) Offer(cp Checkpoint) {
	if cp.Head.Size == 0 {
		return // never
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cp.Head.Size < c.newest.Head.Size {
		return
	}
	c.newest = cp
	c.advance(c.o.Client.Now())
}

// advance begins the next round if it is time. The caller holds mu.
func (c *Collector) advance(now time.Time) {
	if c.newest.Head.Size == 0 {
		return
	}
	text := c.newest.Head.Text()
	r := c.round
	switch {
	case r == nil:
	case r.text != text:
		if r.done.IsZero() && !r.again && now.Sub(r.began) < giveUp {
			return
		}
	case r.done.IsZero() || c.o.Republish == 0 || now.Sub(r.done) < c.o.Republish:
		return
	}
	c.rounds++
	next := &round{number: c.rounds, cosigned: newCosigned(text), fresh: make(map[string]bool), began: now}
	next.cp = c.newest
	if p := c.public; p != nil && p.text == text {
		next.cosigned, next.again = p, true
	}
	c.round = next
	close(c.wake)
	c.wake = make(chan struct{})
	if c.pol.Quorum == policy.None {
		c.satisfied(next, now)
	}
}

// satisfied notes that the round has its quorum. The caller holds mu.
func (c *Collector) satisfied(r *round, now time.Time) {
	c.publish(r.cosigned)
	c.through(r, now)
}

// through goes on after a round that has its quorum. The caller holds mu.
func (c *Collector) through(r *round, now time.Time) {
	r.done = now
	if c.advance(now); c.round == r {
		// It is due again sooner than watch thought while it had no quorum.
		close(c.wake)
		c.wake = make(chan struct{})
	}
}

// publish makes p public, or shows that it has more cosignatures. The caller
// holds mu.
func (c *Collector) publish(p *cosigned) {
	c.public = p
	c.version++
	if c.o.Changed != nil {
		c.o.Changed()
	}
}

// Run asks until ctx ends.
func (c *Collector) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, client := range c.clients {
		wg.Go(func() { c.ask(ctx, client) })
	}
	wg.Go(func() { c.watch(ctx) })
	wg.Wait()
}

// watch begins the rounds that time begins.
func (c *Collector) watch(ctx context.Context) {
	for {
		c.mu.Lock()
		c.advance(c.o.Client.Now())
		wake, at := c.wake, c.due()
		c.mu.Unlock()
		t := time.NewTimer(max(time.Until(at), time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// due returns when to look again. The caller holds mu.
func (c *Collector) due() time.Time {
	now := c.o.Client.Now()
	r := c.round
	switch {
	case r == nil:
	case r.done.IsZero() && now.Before(r.began.Add(giveUp)):
		return r.began.Add(giveUp)
	case !r.done.IsZero() && c.o.Republish > 0:
		return r.done.Add(c.o.Republish)
	}
	return now.Add(giveUp)
}

// ask has one client follow the rounds.
func (c *Collector) ask(ctx context.Context, client *Client) {
	var through uint64 // the last round that it cosigned
	for {
		c.mu.Lock()
		r, wake, ignored := c.round, c.wake, c.ignores(client)
		c.mu.Unlock()
		if ignored {
			return
		}
		if r == nil || r.number <= through {
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
			continue
		}
		if err := client.Wait(ctx, c.o.Origin); err != nil {
			return
		}
		c.mu.Lock()
		r, ignored = c.round, c.ignores(client) // a newer one may have begun meanwhile
		c.mu.Unlock()
		if ignored || r == nil {
			continue
		}
		cosigs, err := client.Add(ctx, r.cp, c.o.Prove)
		if ctx.Err() != nil && err != nil {
			return
		}
		if err == nil {
			through = r.number
		}
		c.answered(client, r, cosigs, err)
	}
}

// answered takes what a client brought.
func (c *Collector) answered(client *Client, r *round, cosigs []Cosignature, err error) {
	now := c.o.Client.Now()
	c.mu.Lock()
	var counted []policy.Witness
	for _, w := range client.witnesses {
		if s := c.status[w.Name]; s != nil {
			counted = append(counted, w)
			c.note(s, r, cosigs, err, now)
		}
	}
	if err == nil {
		c.merge(r, cosigs, now)
	}
	c.mu.Unlock()
	if c.o.Asked == nil {
		return
	}
	for _, w := range counted {
		i := slices.IndexFunc(cosigs, func(s Cosignature) bool { return s.Witness == w.Name })
		if i >= 0 {
			c.o.Asked(w.Name, r.cp, &cosigs[i], nil)
		} else {
			c.o.Asked(w.Name, r.cp, nil, orNone(client.url, err))
		}
	}
}

// orNone is the error of a witness that shares a URL with one that cosigned.
func orNone(url string, err error) error {
	if err != nil {
		return err
	}
	return &Error{URL: url, Outcome: NoCosignature, Err: errors.New("others behind this URL cosigned, this one did not")}
}

// merge adds cosignatures to the checkpoint they are of. The caller holds mu.
func (c *Collector) merge(r *round, cosigs []Cosignature, now time.Time) {
	for _, s := range cosigs {
		if c.status[s.Witness] == nil {
			continue // ignored since it was asked
		}
		r.fresh[s.Witness] = true
		maps.Copy(r.carry, s.Carried)
		for i := range c.pol.Witnesses {
			if w := &c.pol.Witnesses[i]; w.Name == s.Witness {
				r.keep(w, s)
			}
		}
	}
	switch {
	case c.public == r.cosigned:
		c.publish(c.public) // late, or fresh
		if c.round == r && r.done.IsZero() && c.meets(r.fresh) {
			c.through(r, now)
		}
	case c.round == r && r.done.IsZero() && c.meets(r.fresh):
		if _, err := c.pol.Verify(r.note(c.pol), now); err != nil {
			c.o.Log.Error("a checkpoint with a quorum of cosignatures does not satisfy the policy", "size", r.cp.Head.Size, "error", err)
			return
		}
		c.satisfied(r, now)
	}
}

func (c *Collector) meets(set map[string]bool) bool {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	return c.pol.Satisfied(names)
}

// ClockLimit is how far a witness's clock may be off unnoticed.
const ClockLimit = time.Minute

// note brings the status of a witness up to date, and logs what changed. The
// caller holds mu.
func (c *Collector) note(s *Status, r *round, cosigs []Cosignature, err error, now time.Time) {
	i := slices.IndexFunc(cosigs, func(cs Cosignature) bool { return cs.Witness == s.Witness })
	if i < 0 {
		err = orNone(s.URL, err)
		if s.Err == nil || OutcomeOf(s.Err) != OutcomeOf(err) {
			c.o.Log.Warn("a witness did not cosign", "witness", s.Witness, "outcome", string(OutcomeOf(err)), "size", r.cp.Head.Size, "error", err)
		}
		s.Err = err
		s.Failures++
		return
	}
	if s.Err != nil {
		c.o.Log.Info("a witness cosigns again", "witness", s.Witness, "size", r.cp.Head.Size, "failures", s.Failures)
	}
	clock := cosigs[i].Time.Sub(now.Truncate(time.Second))
	if off := clock.Abs() > ClockLimit; off && s.Clock.Abs() <= ClockLimit {
		c.o.Log.Warn("the clock of a witness is off, or ours: the age of checkpoints is not what it seems", "witness", s.Witness, "by", clock)
	}
	s.Size, s.At, s.Clock = max(s.Size, r.cp.Head.Size), now, clock
	s.Err, s.Failures = nil, 0
}

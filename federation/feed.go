package federation

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing"
)

// A Feeder shows the largest verified checkpoint of each log to the witnesses of
// its policy that have a URL, so that every witness sees every checkpoint that
// any peer saw, and offers what they sign to the hub. It holds no key: the
// checkpoints are the log's, the cosignatures the witnesses'.
type Feeder struct {
	hub     *Hub
	clients []*witnessing.Client
}

// NewFeeder returns a feeder for the witnesses of the hub's policies. budget is
// how many questions a day one witness is asked; 0 is no limit.
func NewFeeder(hub *Hub, budget uint64) (*Feeder, error) {
	f := &Feeder{hub: hub}
	byURL := make(map[string][]policy.Witness)
	var urls []string
	for _, pol := range hub.policies() {
		for _, w := range pol.Witnesses {
			if w.URL == "" || w.Key.Type != policy.TypeCosignature && w.Key.Type != policy.TypeMLDSA || hasWitness(byURL[w.URL], w) {
				continue
			}
			if byURL[w.URL] == nil {
				urls = append(urls, w.URL)
			}
			byURL[w.URL] = append(byURL[w.URL], w)
		}
	}
	for _, u := range urls {
		c, err := witnessing.NewClient(u, byURL[u], witnessing.Options{
			Transport: hub.o.HTTP.Transport, Timeout: hub.o.Timeout, UserAgent: userAgent, QueriesPerDay: budget,
		})
		if err != nil {
			return nil, err
		}
		f.clients = append(f.clients, c)
	}
	return f, nil
}

func hasWitness(list []policy.Witness, w policy.Witness) bool {
	for _, x := range list {
		if x.Key.String() == w.Key.String() {
			return true
		}
	}
	return false
}

// Run feeds until ctx ends. A witness that does not answer delays no other.
func (f *Feeder) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range f.clients {
		for _, o := range f.hub.origins {
			if names := asked(c, o); len(names) > 0 {
				wg.Go(func() { f.feed(ctx, c, o, names) })
			}
		}
	}
	wg.Wait()
}

// asked returns the names in o's policy of the witnesses behind c.
func asked(c *witnessing.Client, o *origin) []string {
	var names []string
	for _, w := range o.Policy.Witnesses {
		if hasWitness(c.Witnesses(), w) {
			names = append(names, w.Name)
		}
	}
	return names
}

func (f *Feeder) feed(ctx context.Context, c *witnessing.Client, o *origin, names []string) {
	last, shown := "", ""
	var told uint64
	for ctx.Err() == nil {
		changed := f.hub.Changed(o.Origin)
		s, known := f.due(o, names)
		if known > told {
			told = known
			c.Knows(o.Origin, known)
		}
		// Of two witnesses behind one URL one may stay silent: ask once for a text.
		if s == nil || s.text == shown {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := f.show(ctx, c, o, s)
		if ctx.Err() != nil {
			return
		}
		outcome := witnessing.OutcomeOf(err)
		f.hub.o.Metrics.feeds.WithLabelValues(c.URL(), string(outcome)).Inc()
		if err != nil && err.Error() != last {
			f.hub.o.Logger.Warn("witness did not cosign", "witness", c.URL(), "origin", o.Origin, "size", s.head.Size, "outcome", string(outcome), "error", err)
		}
		last = ""
		if err == nil {
			shown = s.text
		} else {
			last = err.Error()
			if sleep(ctx, jitter(witnessing.DefaultBackoffMin)) != nil {
				return
			}
		}
	}
}

// due returns the checkpoint that a witness of names has not cosigned yet, or nil,
// and the size that one of them is known to have cosigned.
func (f *Feeder) due(o *origin, names []string) (s *signed, known uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.convicted || o.latest == nil {
		return nil, 0
	}
	for _, name := range names {
		if w := o.byWitness[name]; w != nil {
			known = max(known, w.head.Size)
		}
	}
	if known > o.latest.head.Size {
		return nil, known // ahead of what could be proven here
	}
	for _, name := range names {
		if _, done := o.latest.cosigned[name]; !done {
			return o.latest, known
		}
	}
	return nil, known
}

// show asks for cosignatures of s and offers them to the hub.
func (f *Feeder) show(ctx context.Context, c *witnessing.Client, o *origin, s *signed) error {
	prove := func(ctx context.Context, old, _ uint64) ([]tlog.Hash, error) {
		_, proof, err := o.src.consistency(ctx, old, s.checkpoint(), f.hub.wrongTile(o))
		return proof, err
	}
	cosigned, err := c.Add(ctx, witnessing.Checkpoint{Head: s.head, Note: s.note}, prove)
	if err != nil {
		return err
	}
	n := policy.Note{Text: s.text, Signatures: append([]policy.Signature(nil), s.log...)}
	for _, x := range cosigned {
		n.Signatures = append(n.Signatures, x.Line)
		for _, line := range x.Carried {
			n.Signatures = append(n.Signatures, line)
		}
	}
	if _, err := f.hub.Offer(ctx, n.Marshal(), "witness at "+c.URL()); err != nil && !errors.Is(err, ErrConvicted) {
		return fmt.Errorf("offering what the witness at %s cosigned: %w", c.URL(), err)
	}
	return nil
}

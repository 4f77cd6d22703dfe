package log

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// mirrorPatience is how much longer than the log itself mirrors may take to show
// a checkpoint, when that of the log is believed.
const mirrorPatience = time.Second

// A place is where the tree of a log is read: the log or a mirror of it.
type place struct {
	source
	url    string
	mirror bool
	failed atomic.Bool // since its checkpoint was last believed; it is asked after the others
}

// A PlaceError says that the log or a mirror of it gave no answer, or one that
// is not believed, so that another was asked.
type PlaceError struct {
	URL    string
	Mirror bool
	Err    error
}

func (e *PlaceError) Error() string {
	if e.Mirror {
		return fmt.Sprintf("mirror %s: %v", e.URL, e.Err)
	}
	return fmt.Sprintf("the log at %s: %v", e.URL, e.Err)
}

func (e *PlaceError) Unwrap() error { return e.Err }

// newPlaces returns the log and its mirrors.
func newPlaces(logURL, origin string, o Options) ([]*place, error) {
	src, err := newSource(logURL, o)
	if err != nil {
		return nil, err
	}
	places := []*place{{source: src, url: logURL}}
	for _, m := range o.Mirrors {
		if src, err = newSource(m, o); err != nil {
			return nil, fmt.Errorf("mirror of the log: %w", err)
		}
		places = append(places, &place{source: &mirrorSource{source: src, below: "mirror/" + originName(origin) + "/"}, url: m, mirror: true})
	}
	return places, nil
}

// mirrorSource reads a tree that is either where its URL says or, as a firn-peer
// has it, below that (spec/federation.md#http).
type mirrorSource struct {
	source
	below   string // ends in a slash
	isBelow atomic.Bool
}

func (s *mirrorSource) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	if s.isBelow.Load() {
		return s.source.get(ctx, s.below+path, limit)
	}
	b, err := s.source.get(ctx, path, limit)
	if !errors.Is(err, ErrNotFound) {
		return b, err
	}
	if b, below := s.source.get(ctx, s.below+path, limit); below == nil {
		s.isBelow.Store(true)
		return b, nil
	}
	return nil, err
}

// order returns the places in the order in which they are asked: the log first,
// those that have failed at the end.
func (c *Client) order() []*place {
	var good, bad []*place
	for _, p := range c.places {
		if p.failed.Load() {
			bad = append(bad, p)
		} else {
			good = append(good, p)
		}
	}
	return append(good, bad...)
}

// read calls f with one place after the other until one gave what is right. If none
// does, the error is that of the log, with those of the mirrors in words.
func (c *Client) read(ctx context.Context, f func(context.Context, *place) error) error {
	errs := make(map[*place]error)
	for _, p := range c.order() {
		err := f(ctx, p)
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs[p] = err
		c.passOver(p, err)
	}
	return c.noneOf(errs)
}

// passOver makes p one of the last to be asked. What is merely not there, because
// a mirror is behind or the log is pruned of it, is not worth a word.
func (c *Client) passOver(p *place, err error) {
	if len(c.places) == 1 || p.failed.Swap(true) {
		return
	}
	if c.onTrouble != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrStale) {
		c.onTrouble(&PlaceError{URL: p.url, Mirror: p.mirror, Err: err})
	}
}

// noneOf is the error of the log; those of mirrors are only told.
func (c *Client) noneOf(errs map[*place]error) error {
	err := errs[c.places[0]]
	for _, p := range c.places[1:] {
		err = fmt.Errorf("%w; %v", err, &PlaceError{URL: p.url, Mirror: true, Err: errs[p]})
	}
	return err
}

// shown is what a place shows as the checkpoint.
type shown struct {
	note []byte
	err  error
}

// Checkpoint fetches the checkpoints that the log and its mirrors show, holds
// each against the policy and against the remembered one, and remembers and
// returns the newest that is believed. The log is waited for; mirrors only a
// little longer if the log's own checkpoint is believed.
//
// Errors are about the log, with those of mirrors in words: ErrUnreachable;
// those of [policy.Policy.Verify]; a *StaleError if it showed an older checkpoint
// than before; ErrUnproven if it did not prove that it goes on from there. A
// *ForkError is returned wherever the other history was seen.
func (c *Client) Checkpoint(ctx context.Context) (*Checkpoint, error) {
	if _, err := c.Believed(); err != nil {
		return nil, err // whether it can be reached or not
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	before := c.seen()
	asked := c.ask(ctx)
	var best *Checkpoint
	errs := make(map[*place]error)
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	for i, p := range c.places {
		s := shown{err: fmt.Errorf("%w: it did not answer in time", ErrUnreachable)}
		select {
		case s = <-asked[i]:
		case <-waiting.Done():
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("reading checkpoint of %s: %w", c.origin, ctx.Err())
		}
		cp, err := c.believe(ctx, p, s, before)
		switch {
		case isFork(err):
			return nil, err
		case err != nil:
			errs[p] = err
			c.passOver(p, err)
			continue
		}
		p.failed.Store(false)
		if p.mirror {
			cp.Mirror = p.url
		} else {
			time.AfterFunc(c.patience, stop)
		}
		if newerThan(cp, best) {
			best = cp
		}
	}
	if best == nil {
		return nil, c.noneOf(errs)
	}
	return best, nil
}

// ask asks every place for its checkpoint at the same time.
func (c *Client) ask(ctx context.Context) []chan shown {
	asked := make([]chan shown, len(c.places))
	for i, p := range c.places {
		asked[i] = make(chan shown, 1)
		go func() {
			note, err := p.get(ctx, "checkpoint", policy.MaxNote)
			if err != nil {
				err = fmt.Errorf("reading checkpoint of %s: %w", c.origin, err)
			}
			asked[i] <- shown{note, err}
		}()
	}
	return asked
}

// believe accepts what a place showed. A mirror that is behind what was remembered since is
// passed over: another place was newer.
func (c *Client) believe(ctx context.Context, p *place, s shown, before uint64) (*Checkpoint, error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case p.mirror:
		return c.Accept(ctx, s.note)
	}
	return c.acceptSince(ctx, s.note, before)
}

// newerThan reports whether a believed checkpoint is to be taken in place of
// best, which may be nil: because of its size or the age that witnesses give it.
func newerThan(cp, best *Checkpoint) bool {
	if best == nil || cp.Size != best.Size {
		return best == nil || cp.Size > best.Size
	}
	return cp.Verified.Dated && cp.Verified.Age < best.Verified.Age
}

func isFork(err error) bool {
	var fork *ForkError
	return errors.As(err, &fork)
}

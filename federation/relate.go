package federation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log"
)

// compareTimeout bounds the reading of tiles from one source for one comparison.
const compareTimeout = 20 * time.Second

// A relation is what two checkpoints of one log are to each other.
type relation struct {
	same bool // one tree can hold both
	// root and proof convict if not same and the sizes differ: what the larger
	// tree holds at the smaller size, and the proof from there.
	root  tlog.Hash
	proof []tlog.Hash
}

// sources are where the tiles of one log are read.
type sources struct {
	mu   sync.Mutex
	list []*reader
}

// A reader is one source of tiles. Each comparison has a client of its own,
// because a client keeps every tile that it ever verified.
type reader struct {
	url   string
	open  func() (*log.Client, error)
	fails int // in a row; guarded by sources.mu
}

func newSources(l Log, urls []string, o Options) (*sources, error) {
	s := &sources{}
	for _, u := range urls {
		open := func() (*log.Client, error) {
			return log.NewClient(u, l.Policy, log.Options{Origin: l.Origin, HTTP: o.HTTP, Timeout: o.Timeout, Now: o.Now, UserAgent: userAgent})
		}
		if _, err := open(); err != nil {
			return nil, fmt.Errorf("tiles of %s: %w", l.Origin, err)
		}
		s.list = append(s.list, &reader{url: u, open: open})
	}
	return s, nil
}

// order returns the sources, those that answered last time first.
func (s *sources) order() []*reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.list)
	slices.SortStableFunc(list, func(a, b *reader) int { return a.fails - b.fails })
	return list
}

func (s *sources) settle(r *reader, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		r.fails = 0
	} else if r.fails < 100 {
		r.fails++
	}
}

// consistency returns what the tree of cp holds at a smaller size, and the proof,
// from the first source whose tiles hash up to cp.
func (s *sources) consistency(ctx context.Context, size uint64, cp *log.Checkpoint, wrong func(url string, err error)) (tlog.Hash, []tlog.Hash, error) {
	err := errors.New("no source of tiles is configured")
	var all []error
	for _, r := range s.order() {
		root, proof, err := r.consistency(ctx, size, cp)
		if ctx.Err() != nil {
			return tlog.Hash{}, nil, ctx.Err()
		}
		s.settle(r, err)
		if err == nil {
			return root, proof, nil
		}
		var p *log.ProofError
		if errors.As(err, &p) {
			wrong(r.url, err)
		}
		all = append(all, fmt.Errorf("%s: %w", r.url, err))
	}
	if all != nil {
		err = errors.Join(all...)
	}
	return tlog.Hash{}, nil, fmt.Errorf("%w: %s from size %d to %d: %w", log.ErrUnproven, cp.Origin, size, cp.Size, err)
}

func (r *reader) consistency(ctx context.Context, size uint64, cp *log.Checkpoint) (tlog.Hash, []tlog.Hash, error) {
	c, err := r.open()
	if err != nil {
		return tlog.Hash{}, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	proof, root, err := c.ProveConsistency(ctx, size, cp)
	return root, proof, err
}

// relate compares two checkpoints of one log. It fails, with an error that
// matches log.ErrUnproven, if no source has the tiles of the larger one: that
// says nothing about the log.
func (s *sources) relate(ctx context.Context, a, b *signed, wrong func(url string, err error)) (relation, error) {
	if a.head.Size > b.head.Size {
		a, b = b, a
	}
	switch {
	case a.head.Size == 0:
		return relation{same: true}, nil // every tree begins with the empty one
	case a.head.Size == b.head.Size:
		return relation{same: a.head.Root == b.head.Root}, nil
	}
	root, proof, err := s.consistency(ctx, a.head.Size, b.checkpoint(), wrong)
	if err != nil {
		return relation{}, err
	}
	if root == tlog.Hash(a.head.Root) {
		return relation{same: true}, nil
	}
	return relation{root: root, proof: proof}, nil
}

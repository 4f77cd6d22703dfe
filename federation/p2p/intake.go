package p2p

import (
	"context"
	"errors"
	"sync"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log"
)

const (
	maxIntake = 16 // checkpoints of one log that wait for the hub
	maxStale  = 8  // of those that are stale, which wait behind the others
	maxSeen   = 64 // ids of checkpoints of one log that were on the topic
)

// A candidate is a checkpoint whose signatures are verified.
type candidate struct {
	note  []byte
	size  uint64
	stale bool
	from  string
}

// An intake holds what of one log waits to be compared, and what was on the topic.
// It may be used concurrently.
type intake struct {
	mu    sync.Mutex
	fresh []*candidate
	stale []*candidate
	seen  []string // ids of messages, the oldest first
	ready chan struct{}
}

func newIntake() *intake { return &intake{ready: make(chan struct{}, 1)} }

// put adds a candidate, or reports that there are too many already.
func (in *intake) put(c *candidate) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	list, limit := &in.fresh, maxIntake
	if c.stale {
		list, limit = &in.stale, maxStale
	}
	if len(*list) >= limit {
		return false
	}
	*list = append(*list, c)
	select {
	case in.ready <- struct{}{}:
	default:
	}
	return true
}

// next returns the candidate to compare next, or nil.
func (in *intake) next() *candidate {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, list := range []*[]*candidate{&in.fresh, &in.stale} {
		if len(*list) > 0 {
			c := (*list)[0]
			*list = (*list)[1:]
			return c
		}
	}
	return nil
}

// saw remembers that a message was on the topic.
func (in *intake) saw(id string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.seen = append(in.seen, id)
	if len(in.seen) > maxSeen {
		in.seen = in.seen[len(in.seen)-maxSeen:]
	}
}

func (in *intake) hasSeen(id string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.seen {
		if s == id {
			return true
		}
	}
	return false
}

func (in *intake) forget() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.seen = nil
}

// take has the hub compare one checkpoint of a log after the other.
func (n *Node) take(ctx context.Context, origin string, in *intake) {
	for {
		c := in.next()
		if c == nil {
			select {
			case <-in.ready:
				continue
			case <-ctx.Done():
				return
			}
		}
		out, err := n.o.Hub.Offer(ctx, c.note, c.from)
		if ctx.Err() != nil {
			return
		}
		n.o.Metrics.offers.WithLabelValues(out.String()).Inc()
		var fork *federation.ForkError
		switch {
		case err == nil, errors.As(err, &fork), errors.Is(err, log.ErrUnproven), errors.Is(err, federation.ErrConvicted):
			// The hub has said what there is to say.
		default:
			n.o.Logger.Warn("checkpoint was not compared", "origin", origin, "from", c.from, "error", err)
		}
	}
}

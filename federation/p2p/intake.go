package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
)

const (
	maxIntake = 16  // checkpoints of one log that wait for the hub
	maxStale  = 8   // of those that are stale, which wait behind the others
	maxOfOne  = 4   // of either, from one peer
	maxSeen   = 64  // ids of checkpoints of one log that were on the topic
	maxTexts  = 64  // texts of checkpoints of one log that were on the topic
	maxLines  = 256 // signature lines under one text that were on the topic
)

// A candidate is a checkpoint whose signatures are verified.
type candidate struct {
	note  []byte
	size  uint64
	stale bool
	owner peer.ID
	from  string // for people
}

// An intake holds what of one log waits to be compared, and what was on the topic.
// It may be used concurrently.
type intake struct {
	mu    sync.Mutex
	fresh []*candidate
	stale []*candidate
	seen  []string // ids of messages, the oldest first
	heard []*heard // the oldest first
	ready chan struct{}
}

// A heard is the text of a checkpoint and the signature lines under it that were
// on the topic.
type heard struct {
	text  [32]byte // SHA-256
	lines map[[32]byte]bool
}

func newIntake() *intake { return &intake{ready: make(chan struct{}, 1)} }

// put adds a candidate, or reports that there are too many already, or too many
// of the one who sent it: others have room even if somebody sends what takes the
// hub long.
func (in *intake) put(c *candidate) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	list, limit := &in.fresh, maxIntake
	if c.stale {
		list, limit = &in.stale, maxStale
	}
	of := 0
	for _, x := range *list {
		if x.owner == c.owner {
			of++
		}
	}
	if len(*list) >= limit || of >= maxOfOne {
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

// hear remembers the text and the signatures of a note that was on the topic.
func (in *intake) hear(note *policy.Note) {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.find(note.Text)
	if h == nil {
		h = &heard{text: sha256.Sum256([]byte(note.Text)), lines: make(map[[32]byte]bool)}
		if in.heard = append(in.heard, h); len(in.heard) > maxTexts {
			in.heard = in.heard[1:]
		}
	}
	for _, s := range note.Signatures {
		if len(h.lines) < maxLines {
			h.lines[sha256.Sum256([]byte(s.String()))] = true
		}
	}
}

// known reports whether a note says nothing that was not on the topic: of one
// checkpoint with n cosignatures there are 2ⁿ notes, in n! orders, and to pass on
// each of them would be a flood that everybody helps with.
func (in *intake) known(note *policy.Note) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.find(note.Text)
	if h == nil {
		return false
	}
	for _, s := range note.Signatures {
		if !h.lines[sha256.Sum256([]byte(s.String()))] {
			return len(h.lines) >= maxLines
		}
	}
	return true
}

// find returns what was heard of a text, or nil. The caller holds mu.
func (in *intake) find(text string) *heard {
	sum := sha256.Sum256([]byte(text))
	for _, h := range in.heard {
		if h.text == sum {
			return h
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

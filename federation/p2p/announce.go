package p2p

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/policy"
)

// announce publishes the newest checkpoints of a log: the largest one, and the
// best cosigned one, in turns if both are new, at most one in a Pace. What was on
// the topic before is not published again until Reannounce has passed.
func (n *Node) announce(ctx context.Context, origin string, in *intake) {
	again := time.NewTimer(jitter(n.o.Reannounce))
	defer again.Stop()
	latestNext := true
	for ctx.Err() == nil {
		changed := n.o.Hub.Changed(origin)
		note := n.newest(origin, in, latestNext)
		if note == nil {
			select {
			case <-changed:
			case <-again.C:
				in.forget()
				again.Reset(jitter(n.o.Reannounce))
			case <-ctx.Done():
				return
			}
			continue
		}
		latestNext = !latestNext
		in.saw(contentID(note))
		if parsed, err := policy.ParseNote(note); err == nil {
			in.hear(parsed)
		}
		if err := n.checkpoints.Publish(ctx, note); err != nil {
			if ctx.Err() == nil {
				n.o.Logger.Warn("publishing a checkpoint", "origin", origin, "error", err)
			}
		} else {
			n.o.Metrics.published.WithLabelValues(CheckpointTopic).Inc()
			n.tally.published.Add(1)
		}
		if sleep(ctx, n.o.Pace) != nil {
			return
		}
	}
}

// newest returns a checkpoint that was not on the topic yet, or nil. A log that is
// convicted has nothing to say.
func (n *Node) newest(origin string, in *intake, latestFirst bool) []byte {
	if n.o.Hub.Convicted(origin) {
		return nil
	}
	notes := [][]byte{n.o.Hub.Latest(origin), n.o.Hub.Best(origin)}
	if !latestFirst {
		notes[0], notes[1] = notes[1], notes[0]
	}
	for _, note := range notes {
		if len(note) > 0 && len(note) <= MaxCheckpoint && !in.hasSeen(contentID(note)) {
			return note
		}
	}
	return nil
}

// announceEvidence publishes each piece of evidence once. Peers that were away
// ask for it; so do all, for what is too large for a message.
func (n *Node) announceEvidence(ctx context.Context) {
	for ctx.Err() == nil {
		changed := n.o.Hub.EvidenceChanged()
		for _, e := range n.held.all(n.o.Logger.Warn) {
			if n.wasSpread(e.Hash) {
				continue
			}
			if len(e.Bytes) > MaxEvidence {
				for _, id := range n.host.Network().Peers() {
					n.ask(id) // an exchange says what is held
				}
				continue
			}
			if err := n.evidence.Publish(ctx, e.Bytes); err != nil {
				if ctx.Err() == nil {
					n.o.Logger.Warn("publishing evidence", "origin", e.Origin, "error", err)
				}
				continue
			}
			n.o.Metrics.published.WithLabelValues(EvidenceTopic).Inc()
			n.tally.published.Add(1)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// wasSpread notes that evidence is on the topic, and reports whether it was.
func (n *Node) wasSpread(hash string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := n.spread[hash]
	if len(n.spread) >= maxUseless {
		clear(n.spread) // a wrong index can always be followed by a larger one
	}
	n.spread[hash] = true
	return was
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A heldCache keeps what evidence is held until that changes, because a hub reads
// and verifies its files each time. It may be used concurrently.
type heldCache struct {
	hub     Hub
	mu      sync.Mutex
	changed <-chan struct{}
	list    []federation.Evidence
}

// all returns the evidence that is held. If it cannot be read, warn is told, and
// what was held before is returned.
func (c *heldCache) all(warn func(msg string, args ...any)) []federation.Evidence {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed != nil {
		select {
		case <-c.changed:
		default:
			return c.list
		}
	}
	changed := c.hub.EvidenceChanged()
	list, err := c.hub.Evidence()
	if err != nil {
		warn("evidence cannot be read", "error", err)
		return c.list
	}
	c.changed, c.list = changed, list
	return c.list
}

// find returns held evidence by its hash.
func (n *Node) find(hash string) ([]byte, bool) {
	for _, e := range n.held.all(n.o.Logger.Warn) {
		if e.Hash == hash {
			return e.Bytes, true
		}
	}
	return nil, false
}

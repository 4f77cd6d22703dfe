package p2p

import (
	"bytes"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

// maxAhead is how far ahead of this clock a cosignature may be before the
// checkpoint is not passed on (spec/gossip.md#checkpoints).
const maxAhead = time.Minute

// judgeCheckpoint decides about a checkpoint message, cheapest questions first
// (spec/gossip.md#checkpoints), and has the hub compare it if it is signed.
func (n *Node) judgeCheckpoint(from peer.ID, data []byte) verdict {
	if len(data) > MaxCheckpoint {
		return reject("size")
	}
	first, _, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return reject("malformed")
	}
	in := n.intakes[string(first)]
	if in == nil {
		return ignore("origin")
	}
	origin := string(first)
	if !n.rates.allow(paceCheckpoint, bucketName{from, "checkpoint", origin}, 1) {
		n.o.Metrics.surplus.WithLabelValues("origin").Inc()
		return ignore("surplus")
	}
	note, err := policy.ParseNote(data)
	switch {
	case err != nil:
		return reject("malformed")
	case in.known(note):
		return ignore("known")
	}
	c, v := n.read(origin, data, note)
	if c == nil {
		return v
	}
	c.owner, c.from = from, "gossip of "+from.String()
	if c.stale && !n.rates.allow(paceStale, bucketName{from, "stale", origin}, 1) {
		return ignore("stale")
	}
	taken := in.put(c)
	if !taken {
		n.o.Metrics.surplus.WithLabelValues("intake").Inc()
	}
	if v.result == accept("").result {
		in.saw(contentID(data))
		if taken {
			in.hear(note)
		}
	}
	return v
}

// read verifies the signatures of a note and decides whether it is passed on. The
// candidate is nil if the hub should not see it.
func (n *Node) read(origin string, note []byte, parsed *policy.Note) (*candidate, verdict) {
	if twice(parsed) {
		return nil, ignore("twice")
	}
	got, err := n.o.Hub.Check(note)
	var bad *policy.SignatureError
	switch {
	case errors.As(err, &bad):
		return nil, reject("signature")
	case errors.Is(err, policy.ErrUnknownLog), errors.Is(err, federation.ErrUnknownOrigin):
		return nil, ignore("unsigned") // or by a key that others may know
	case err != nil:
		return nil, reject("malformed")
	case got.Size == 0:
		return nil, ignore("empty")
	}
	c := &candidate{note: note, size: got.Size, stale: n.stale(origin, got.Size)}
	limit := n.o.Now().Add(maxAhead)
	for _, x := range got.Cosignatures {
		if x.Time.After(limit) {
			return c, ignore("future")
		}
	}
	switch {
	case !n.whole(origin, parsed):
		return c, ignore("unknown-signature")
	case n.o.Hub.Convicted(origin):
		return c, ignore("convicted")
	case c.stale:
		return c, ignore("stale")
	}
	return c, accept("new")
}

// keyName is how a signature line names its key.
type keyName struct {
	name string
	id   uint32
}

// twice reports whether two signatures name one key. No honest note is like that,
// and to verify the same line a thousand times is work.
func twice(note *policy.Note) bool {
	seen := make(map[keyName]bool, len(note.Signatures))
	for _, s := range note.Signatures {
		if seen[keyName{s.Name, s.ID}] {
			return true
		}
		seen[keyName{s.Name, s.ID}] = true
	}
	return false
}

// whole reports whether every signature of a verified note is by a key of the
// policy: only then can all others verify what this one did.
func (n *Node) whole(origin string, note *policy.Note) bool {
	l, ok := n.o.Hub.Log(origin)
	if !ok {
		return false
	}
	known := make(map[keyName]bool)
	for _, x := range l.Policy.Logs {
		known[keyName{x.Key.Name, x.Key.ID}] = x.Key.Name == origin
	}
	for _, w := range l.Policy.Witnesses {
		known[keyName{w.Key.Name, w.Key.ID}] = w.Key.Type == policy.TypeCosignature
	}
	for _, s := range note.Signatures {
		if !known[keyName{s.Name, s.ID}] {
			return false
		}
	}
	return true
}

// stale reports whether a checkpoint of this size is older than the best one
// here, or than the largest if none has a quorum.
func (n *Node) stale(origin string, size uint64) bool {
	held := n.o.Hub.Best(origin)
	if held == nil {
		held = n.o.Hub.Latest(origin)
	}
	if held == nil {
		return false
	}
	parsed, err := policy.ParseNote(held)
	if err != nil {
		return false
	}
	head, err := policy.ParseCheckpoint(parsed.Text)
	return err == nil && size < head.Size
}

// judgeEvidence decides about an evidence message and keeps what convicts. Only
// what is new here is passed on, so that a log with a thousand forks does not
// make a thousand messages: at most four files against one key are kept.
func (n *Node) judgeEvidence(from peer.ID, data []byte) verdict {
	if len(data) > MaxEvidence {
		return reject("size")
	}
	if !n.rates.allow(paceEvidence, bucketName{peer: from, what: "evidence"}, 1) {
		n.o.Metrics.surplus.WithLabelValues("evidence").Inc()
		return ignore("surplus")
	}
	added, err := n.o.Hub.AddEvidence(data, "gossip of "+from.String())
	switch {
	case errors.Is(err, evidence.ErrMalformed):
		return reject("malformed")
	case errors.Is(err, evidence.ErrNotEvidence):
		return reject("convicts-nobody")
	case errors.Is(err, evidence.ErrReserved), errors.Is(err, evidence.ErrUnknownKey):
		return ignore("unknown")
	case errors.Is(err, evidence.ErrSetAside):
		return ignore("set-aside")
	case err != nil && !added:
		n.o.Logger.Error("evidence could not be kept", "peer", from.String(), "error", err)
		return ignore("failed")
	case !added:
		return ignore("known")
	}
	n.wasSpread(hashOf(data))
	return accept("new")
}

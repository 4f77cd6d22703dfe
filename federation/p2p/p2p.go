// Package p2p spreads checkpoints and evidence by gossip, so that what one peer
// was shown is before all peers in a second (spec/gossip.md).
//
// A message is the verbatim signed checkpoint, or evidence: bytes that somebody
// else can read and check without this package. Nothing is believed because of
// who sent it. The libp2p key of a peer decides only whether it may connect:
// peers are those of the configuration, and nobody is discovered.
//
// A [Node] forwards only what it has verified line by line by its own policies.
// So whatever an honest peer forwards, every other honest peer can verify too,
// and a bad signature is the fault of the one who sent it. Surplus, stale and
// unknown things are ignored, and are nobody's fault.
//
// It is the only package that imports libp2p, and assembles its host by hand:
// TCP, Noise and yamux, with resource limits, and neither QUIC nor discovery.
package p2p

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/firn-log/firn/federation"
)

// Topics and protocols (spec/gossip.md#topics, spec/gossip.md#anti-entropy).
const (
	CheckpointTopic  = "/firn/checkpoints/1"
	EvidenceTopic    = "/firn/evidence/1"
	LatestProtocol   = "/firn/latest/1"
	EvidenceProtocol = "/firn/evidence/1"
)

// Bounds (spec/gossip.md#limits).
const (
	// MaxCheckpoint bounds a checkpoint message in bytes.
	MaxCheckpoint = 64 << 10
	// MaxEvidence bounds an evidence message in bytes. What is larger is not
	// sent as a message: peers are told its hash and fetch it.
	MaxEvidence = 128 << 10
	// MaxPeers bounds how many peers may be configured or added.
	MaxPeers = 256
)

// A Hub is what a node needs of a [federation.Hub].
type Hub interface {
	federation.Sink
	Log(origin string) (federation.Log, bool)
	Convicted(origin string) bool
	Changed(origin string) <-chan struct{}
	EvidenceChanged() <-chan struct{}
}

var _ Hub = (*federation.Hub)(nil)

// Options are what a Node is made from.
type Options struct {
	Hub Hub
	Key *Key
	// Listen holds multiaddrs such as /ip4/0.0.0.0/tcp/8490. With none the node
	// only dials.
	Listen []string
	Peers  []Peer
	// Room is how many peers [Node.SetPeers] may add to Peers; together they are at
	// most MaxPeers.
	Room int
	// Pace is the least time between two checkpoints of one log that this node
	// publishes; 0 is 1 s.
	Pace time.Duration
	// AntiEntropy is the time between two rounds of asking two random peers for
	// what they know, give or take a quarter; 0 is 1 min.
	AntiEntropy time.Duration
	// Reannounce is the time after which the newest checkpoint is published again
	// although nothing changed; 0 is 3 min. Less than 2 min has no effect: peers
	// remember so long what they have seen.
	Reannounce time.Duration
	Logger     *slog.Logger     // nil says nothing
	Metrics    *Metrics         // nil counts nothing
	Now        func() time.Time // nil is time.Now
}

// Defaults of Options.
const (
	DefaultPace        = time.Second
	DefaultAntiEntropy = time.Minute
	DefaultReannounce  = 3 * time.Minute
)

func withDefaults(o Options) (Options, error) {
	switch {
	case o.Hub == nil:
		return o, errors.New("gossip needs a hub")
	case o.Key == nil:
		return o, errors.New("gossip needs the key of the peer")
	case len(o.Peers)+o.Room > MaxPeers:
		return o, fmt.Errorf("%d peers are configured and %d may be added, at most %d are possible", len(o.Peers), o.Room, MaxPeers)
	}
	if o.Pace == 0 {
		o.Pace = DefaultPace
	}
	if o.AntiEntropy == 0 {
		o.AntiEntropy = DefaultAntiEntropy
	}
	if o.Reannounce == 0 {
		o.Reannounce = DefaultReannounce
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

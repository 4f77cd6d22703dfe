package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p-pubsub/timecache"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Scores (spec/gossip.md#scores). Only a message that no honest peer forwards
// costs anything: the square of their number, times badWeight.
const (
	badWeight = -20
	// Below graylisted, nothing is read any more: reached by three bad messages.
	graylisted   = -120
	noPublishing = -80
	noGossip     = -40

	// seenFor is how long messages are known by their ids, so that the same bytes
	// are not looked at twice. The cache is swept every minute.
	seenFor = 30 * time.Second
	// forgiveness is the time after which a peer's past counts for nothing.
	forgiveness = time.Hour
	// retained is how long the score of a peer that is away is kept, as it is:
	// less than shutOut, so that whoever may come back begins anew.
	retained = shutOut - time.Minute
)

// messageID is the first 20 bytes of the SHA-256 of a message.
func messageID(m *pb.Message) string { return contentID(m.GetData()) }

func contentID(data []byte) string {
	sum := sha256.Sum256(data)
	return string(sum[:20])
}

// join starts GossipSub and joins both topics.
func (n *Node) join(ctx context.Context) error {
	var err error
	n.pubsub, err = pubsub.NewGossipSub(ctx, n.host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithFloodPublish(true),
		pubsub.WithPeerExchange(false),
		pubsub.WithMaxMessageSize(MaxEvidence+64<<10),
		pubsub.WithPeerOutboundQueueSize(64),
		pubsub.WithValidateQueueSize(256),
		pubsub.WithValidateThrottle(32),
		pubsub.WithSeenMessagesTTL(seenFor),
		pubsub.WithSeenMessagesStrategy(timecache.Strategy_FirstSeen),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(
			pubsub.NewAllowlistSubscriptionFilter(CheckpointTopic, EvidenceTopic), 16)),
		pubsub.WithAppSpecificRpcInspector(n.inspect),
		pubsub.WithPeerScore(scoring()),
		pubsub.WithPeerScoreInspect(n.scored, time.Second),
	)
	if err != nil {
		return fmt.Errorf("starting gossip: %w", err)
	}
	// Checkpoints cost only arithmetic, and are judged in a fixed number of
	// goroutines; evidence is written to disk.
	if err := n.pubsub.RegisterTopicValidator(CheckpointTopic, n.checkpoint, pubsub.WithValidatorInline(true)); err != nil {
		return err
	}
	if err := n.pubsub.RegisterTopicValidator(EvidenceTopic, n.proof, pubsub.WithValidatorConcurrency(8)); err != nil {
		return err
	}
	if n.checkpoints, err = n.pubsub.Join(CheckpointTopic); err != nil {
		return err
	}
	n.evidence, err = n.pubsub.Join(EvidenceTopic)
	return err
}

func scoring() (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	topic := &pubsub.TopicScoreParams{
		SkipAtomicValidation: true, TopicWeight: 1,
		TimeInMeshQuantum:              time.Second, // counts for nothing, but is divided by
		InvalidMessageDeliveriesWeight: badWeight,
		InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(forgiveness),
	}
	params := &pubsub.PeerScoreParams{
		SkipAtomicValidation: true,
		Topics:               map[string]*pubsub.TopicScoreParams{CheckpointTopic: topic, EvidenceTopic: topic},
		AppSpecificScore:     func(peer.ID) float64 { return 0 },
		DecayInterval:        time.Second, DecayToZero: 0.01,
		RetainScore: retained, SeenMsgTTL: seenFor,
	}
	return params, &pubsub.PeerScoreThresholds{GossipThreshold: noGossip, PublishThreshold: noPublishing, GraylistThreshold: graylisted}
}

var errSurplus = errors.New("too many messages")

// inspect drops what a peer sends beyond any honest pace, before it costs
// anything: memory for ids least of all. GossipSub's own control messages count
// as well. Nobody is scored for it.
func (n *Node) inspect(from peer.ID, rpc *pubsub.RPC) error {
	count := max(1, len(rpc.GetPublish()))
	if !n.rates.allow(paceMessages, bucketName{peer: from, what: "messages"}, float64(count)) ||
		!n.rates.allow(paceBytes, bucketName{peer: from, what: "bytes"}, float64(rpc.Size())) {
		n.o.Metrics.surplus.WithLabelValues("messages").Add(float64(count))
		return errSurplus
	}
	return nil
}

// scored keeps the scores, and shuts out who is graylisted: what it sends would
// still have to be read.
func (n *Node) scored(scores map[peer.ID]float64) {
	low := 0
	for id, score := range scores {
		if score < graylisted {
			low++
			n.catch(id, "bad messages")
		}
	}
	n.o.Metrics.graylist.Set(float64(low))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.scores = scores
}

// Score returns the score of a peer as of the last second: 0 if it never sent a
// bad message.
func (n *Node) Score(id string) float64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p, score := range n.scores {
		if p.String() == id {
			return score
		}
	}
	return 0
}

// Graylisted returns the ids of the peers that are not listened to, sorted.
func (n *Node) Graylisted() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for id, score := range n.scores {
		if score < graylisted {
			all = append(all, id.String())
		}
	}
	slices.Sort(all)
	return all
}

// A verdict is what a message deserves, and why, for the metrics.
type verdict struct {
	result pubsub.ValidationResult
	why    string
}

func accept(why string) verdict { return verdict{pubsub.ValidationAccept, why} }
func ignore(why string) verdict { return verdict{pubsub.ValidationIgnore, why} }
func reject(why string) verdict { return verdict{pubsub.ValidationReject, why} }

func (v verdict) word() string {
	switch v.result {
	case pubsub.ValidationAccept:
		return "accept"
	case pubsub.ValidationReject:
		return "reject"
	}
	return "ignore"
}

func (n *Node) told(topic string, from peer.ID, v verdict) pubsub.ValidationResult {
	n.o.Metrics.messages.WithLabelValues(topic, v.word(), v.why).Inc()
	switch v.result {
	case pubsub.ValidationAccept:
		n.tally.accepted.Add(1)
	case pubsub.ValidationReject:
		n.tally.rejected.Add(1)
	default:
		n.tally.ignored.Add(1)
	}
	if v.result == pubsub.ValidationReject {
		n.o.Logger.Warn("peer sent a bad message", "peer", from.String(), "topic", topic, "why", v.why)
	}
	return v.result
}

// checkpoint validates a message of the checkpoint topic.
func (n *Node) checkpoint(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == n.host.ID() {
		return pubsub.ValidationAccept
	}
	return n.told(CheckpointTopic, from, n.judgeCheckpoint(from, m.GetData()))
}

// proof validates a message of the evidence topic.
func (n *Node) proof(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == n.host.ID() {
		return pubsub.ValidationAccept
	}
	return n.told(EvidenceTopic, from, n.judgeEvidence(from, m.GetData()))
}

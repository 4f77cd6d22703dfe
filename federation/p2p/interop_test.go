package p2p_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"testing"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/firn-log/firn/federation/p2p"
	"github.com/firn-log/firn/log/logtest"
)

// stranger is a host by libp2p's own constructor, with everything that has, and
// GossipSub as spec/gossip.md describes it.
type stranger struct {
	host        host.Host
	checkpoints *pubsub.Topic
	evidence    *pubsub.Topic
}

func newStranger(t testing.TB) *stranger {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	ps, err := pubsub.NewGossipSub(t.Context(), h,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithFloodPublish(true),
		pubsub.WithPeerOutboundQueueSize(1<<15),
		pubsub.WithMessageIdFn(func(m *pb.Message) string {
			sum := sha256.Sum256(m.GetData())
			return string(sum[:20])
		}))
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{host: h}
	if s.checkpoints, err = ps.Join(p2p.CheckpointTopic); err != nil {
		t.Fatal(err)
	}
	if s.evidence, err = ps.Join(p2p.EvidenceTopic); err != nil {
		t.Fatal(err)
	}
	return s
}

// admitted is the option of a node that lets s in.
func (s *stranger) admitted(t testing.TB) p2p.Peer {
	t.Helper()
	p, err := p2p.ParsePeer(s.host.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *stranger) connect(t testing.TB, to string) error {
	t.Helper()
	a, err := ma.NewMultiaddr(to)
	if err != nil {
		t.Fatal(err)
	}
	info, err := peer.AddrInfoFromP2pAddr(a)
	if err != nil {
		t.Fatal(err)
	}
	return s.host.Connect(t.Context(), *info)
}

// publish waits until the topic has a peer.
func publish(t testing.TB, topic *pubsub.Topic, data []byte) {
	t.Helper()
	waitFor(t, "the topic has a peer", func() bool { return len(topic.ListPeers()) > 0 })
	if err := topic.Publish(t.Context(), data); err != nil {
		t.Fatal(err)
	}
}

func TestStockHostGossipsWithNode(t *testing.T) {
	s := newStranger(t)
	l := logtest.New(t)
	c := newClub(t, 1, l.Policy(), func(int) []string { return []string{l.FileURL()} }, func(_ int, o *p2p.Options) {
		o.Peers = append(o.Peers, s.admitted(t))
	})
	m := c.start(0, nil)
	sub, err := s.checkpoints.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.connect(t, m.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	first := grow(l, 0, 3, "leaf")
	publish(t, s.checkpoints, first)
	waitFor(t, "the node took a checkpoint", func() bool { return bytes.Equal(m.Latest(l.Origin()), first) })

	second := grow(l, 3, 5, "leaf")
	if _, err := m.Offer(t.Context(), second, "test"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		got, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got.ReceivedFrom != s.host.ID() {
			if !bytes.Equal(got.Data, second) {
				t.Errorf("message is %q, want the verbatim checkpoint", got.Data)
			}
			return
		}
	}
}

package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	dialTimeout = 10 * time.Second
	maxRedial   = 20 * time.Second
	// windowSize bounds what one stream may have under way, in bytes. libp2p's
	// own 16 MiB are for moving files.
	windowSize = 1 << 20
)

// newHost assembles a libp2p host of TCP, Noise and yamux. libp2p's own
// constructor would link QUIC, WebRTC and WebTransport even if only TCP listens.
func newHost(k *Key, g *gate, listen []string, peers int) (h host.Host, err error) {
	var opened []func() error
	defer func() {
		if err != nil {
			for i := len(opened) - 1; i >= 0; i-- {
				_ = opened[i]()
			}
		}
	}()
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	opened = append(opened, store.Close)
	if err := errors.Join(store.AddPrivKey(k.id, k.private), store.AddPubKey(k.id, k.private.GetPublic())); err != nil {
		return nil, err
	}
	limits, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(hostLimits(peers)), rcmgr.WithMetricsDisabled())
	if err != nil {
		return nil, err
	}
	opened = append(opened, limits.Close)
	bus := eventbus.NewBus()
	network, err := swarm.NewSwarm(k.id, store, bus, swarm.WithConnectionGater(g), swarm.WithResourceManager(limits), swarm.WithDialTimeout(dialTimeout))
	if err != nil {
		return nil, err
	}
	opened = append(opened, network.Close)
	if err := addTCP(network, k, g, limits); err != nil {
		return nil, err
	}
	conns, err := connmgr.NewConnManager(2*peers+16, 2*peers+64, connmgr.WithGracePeriod(30*time.Second))
	if err != nil {
		return nil, err
	}
	opened = append(opened, conns.Close)
	h, err = basichost.NewHost(network, &basichost.HostOpts{
		EventBus: bus, ConnManager: conns, UserAgent: "firn-peer", ProtocolVersion: "firn/1", NegotiationTimeout: dialTimeout,
	})
	if err != nil {
		return nil, err
	}
	opened = append(opened, h.Close)
	for _, text := range listen {
		addr, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, fmt.Errorf("listening on %q: %w", text, err)
		}
		if err := network.Listen(addr); err != nil {
			return nil, fmt.Errorf("listening on %s: %w", text, err)
		}
	}
	h.(*basichost.BasicHost).Start()
	return h, nil
}

func addTCP(network *swarm.Swarm, k *Key, g *gate, limits network.ResourceManager) error {
	window := *yamux.DefaultTransport.Config()
	window.MaxStreamWindowSize = windowSize
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: (*yamux.Transport)(&window)}}
	secure, err := noise.New(noise.ID, k.private, muxers)
	if err != nil {
		return err
	}
	up, err := upgrader.New([]sec.SecureTransport{secure}, muxers, nil, limits, g)
	if err != nil {
		return err
	}
	t, err := tcp.NewTCPTransport(up, limits, nil, tcp.WithConnectionTimeout(dialTimeout), tcp.DisableReuseport())
	if err != nil {
		return err
	}
	return network.AddTransport(t)
}

// hostLimits bounds what all peers together and each of them may hold: a few
// connections, the streams that gossip and exchanges need, and memory.
func hostLimits(peers int) rcmgr.ConcreteLimitConfig {
	each := rcmgr.LimitVal(2*peers + 16)
	one := rcmgr.ResourceLimits{
		Streams: 64, StreamsInbound: 32, StreamsOutbound: 32,
		Conns: 8, ConnsInbound: 4, ConnsOutbound: 4, FD: 8, Memory: 8 << 20,
	}
	return rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Streams: 32 * each, StreamsInbound: 16 * each, StreamsOutbound: 16 * each,
			Conns: 2 * each, ConnsInbound: each, ConnsOutbound: each, FD: 2 * each,
			Memory: rcmgr.LimitVal64(64<<20 + peers<<20),
		},
		// Handshakes under way, of whomever.
		Transient: rcmgr.ResourceLimits{
			Streams: 8 * each, StreamsInbound: 4 * each, StreamsOutbound: 4 * each,
			Conns: each, ConnsInbound: each / 2, ConnsOutbound: each / 2, FD: each, Memory: 16 << 20,
		},
		ServiceDefault: rcmgr.ResourceLimits{Streams: 32 * each, StreamsInbound: 16 * each, StreamsOutbound: 16 * each, Memory: 64 << 20},
		PeerDefault:    one,
	}.Build(rcmgr.DefaultLimits.Scale(128<<20, 512))
}

// connect keeps one peer connected until ctx ends.
func (n *Node) connect(ctx context.Context, p Peer) {
	wait := time.Second
	for ctx.Err() == nil {
		if n.host.Network().Connectedness(p.id) == network.Connected {
			wait = time.Second
			if sleep(ctx, jitter(2*time.Second)) != nil {
				return
			}
			continue
		}
		// Only where it is configured to be: not where it once said that it is.
		n.host.Peerstore().ClearAddrs(p.id)
		dial, cancel := context.WithTimeout(ctx, dialTimeout)
		err := n.host.Connect(dial, peer.AddrInfo{ID: p.id, Addrs: p.addrs})
		cancel()
		if err == nil {
			continue
		}
		n.o.Logger.Debug("peer is not reachable", "peer", p.ID(), "error", err)
		if sleep(ctx, jitter(wait)) != nil {
			return
		}
		wait = min(2*wait, maxRedial)
	}
}

// stream opens a stream to a peer that is connected; it does not dial.
func (n *Node) stream(ctx context.Context, id peer.ID, proto protocol.ID) (network.Stream, error) {
	return n.host.NewStream(network.WithNoDial(ctx, "gossip only"), id, proto)
}

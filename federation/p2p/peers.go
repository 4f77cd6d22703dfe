package p2p

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// NewPeer returns the peer with this id and those of its addresses, multiaddrs
// without the id, that somebody here can dial. Without any it may only connect. The error
// says that the id is none, or that this is so of all addresses.
func NewPeer(id string, addrs []string) (Peer, error) {
	p := Peer{}
	var bad error
	var err error
	if p.id, err = peer.Decode(id); err != nil {
		return p, fmt.Errorf("%q is not a peer id", id)
	}
	for _, a := range addrs {
		x, err := ParsePeer(a + "/p2p/" + id)
		if err != nil || x.id != p.id {
			bad = fmt.Errorf("peer %s: %q is not an address that can be dialled", id, a)
			continue
		}
		p.addrs = append(p.addrs, x.addrs...)
	}
	if len(addrs) > 0 && len(p.addrs) == 0 {
		return p, bad
	}
	return p, nil
}

func (p Peer) equal(o Peer) bool {
	return p.id == o.id && slices.EqualFunc(p.addrs, o.addrs, func(a, b ma.Multiaddr) bool { return a.Equal(b) })
}

// more are the peers beside the configured ones.
type more struct {
	mu    sync.Mutex // guards what follows
	peers map[peer.ID]*dialled
	ctx   context.Context // of Run while it runs, otherwise nil
	wg    sync.WaitGroup  // of those who dial
}

type dialled struct {
	Peer
	stop context.CancelFunc // nil if it is not dialled now
}

// SetPeers replaces the peers that are admitted, and dialled where an address is known,
// beside those of Options, which it leaves as they are (spec/gossip.md#peers). Whoever is not in the
// list any more is disconnected. More than Options.Room are an error and change nothing.
func (n *Node) SetPeers(list []Peer) error {
	want := make(map[peer.ID]Peer)
	for _, p := range list {
		if p.id != n.o.Key.id && !slices.ContainsFunc(n.o.Peers, func(o Peer) bool { return o.id == p.id }) {
			want[p.id] = p
		}
	}
	if len(want) > n.o.Room {
		return fmt.Errorf("%d peers beside the configured ones are too many; there is room for %d", len(want), n.o.Room)
	}
	n.more.mu.Lock()
	defer n.more.mu.Unlock()
	for id, d := range n.more.peers {
		p, stays := want[id]
		if stays && p.equal(d.Peer) {
			delete(want, id)
			continue
		}
		if d.stop != nil {
			d.stop()
		}
		delete(n.more.peers, id)
		if !stays {
			n.gate.forget(id)
			go n.host.Network().ClosePeer(id)
			n.o.Logger.Info("peer is not admitted any more", "peer", id.String())
		}
	}
	for id, p := range want {
		n.gate.admit(id)
		d := &dialled{Peer: p}
		n.more.peers[id] = d
		n.dial(d)
		n.o.Logger.Info("peer is admitted", "peer", id.String(), "addresses", words(p.addrs))
	}
	return nil
}

func words(addrs []ma.Multiaddr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return strings.Join(all, " ")
}

// dial begins to keep a peer connected, if the node runs. The caller holds more.mu.
func (n *Node) dial(d *dialled) {
	if n.more.ctx == nil || len(d.addrs) == 0 {
		return
	}
	ctx, stop := context.WithCancel(n.more.ctx)
	d.stop = stop
	n.more.wg.Go(func() { n.connect(ctx, d.Peer) })
}

// dialMore dials the peers beside the configured ones until the function that it
// returns is called, after ctx has ended.
func (n *Node) dialMore(ctx context.Context) (wait func()) {
	n.more.mu.Lock()
	defer n.more.mu.Unlock()
	n.more.ctx = ctx
	for _, d := range n.more.peers {
		n.dial(d)
	}
	return func() {
		n.more.mu.Lock()
		n.more.ctx = nil
		n.more.mu.Unlock()
		n.more.wg.Wait()
	}
}

// forget admits a peer no more. If it is shut out it stays so.
func (g *gate) forget(id peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.allowed, id)
	for id, until := range g.until {
		if !g.now().Before(until) {
			delete(g.until, id)
		}
	}
}

// knows reports whether a peer is admitted, shut out or not.
func (g *gate) knows(id peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.allowed[id]
}

package p2p

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// shutOut is how long a peer that was caught may not connect.
const shutOut = forgiveness

// A gate admits peers by their ids, which the Noise handshake proves. It
// implements libp2p's ConnectionGater, and may be used concurrently.
type gate struct {
	metrics *Metrics
	now     func() time.Time

	mu      sync.Mutex
	allowed map[peer.ID]bool
	until   map[peer.ID]time.Time // when a peer that was shut out may come back; only of allowed ones
}

func newGate(o Options) *gate {
	return &gate{metrics: o.Metrics, now: o.Now, allowed: make(map[peer.ID]bool), until: make(map[peer.ID]time.Time)}
}

func (g *gate) admit(id peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allowed[id] = true
}

// shut keeps a peer out for a while, and reports whether it was in before. For
// one that is out already the while does not begin anew.
func (g *gate) shut(id peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.allowed[id] || g.now().Before(g.until[id]) {
		return false
	}
	g.until[id] = g.now().Add(shutOut)
	return true
}

// admitted returns the peers that are admitted, and whether each is shut out.
func (g *gate) admitted() map[peer.ID]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make(map[peer.ID]bool, len(g.allowed))
	for id := range g.allowed {
		all[id] = g.now().Before(g.until[id])
	}
	return all
}

func (g *gate) allows(id peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	why := ""
	switch {
	case !g.allowed[id]:
		why = "unknown"
	case g.now().Before(g.until[id]):
		why = "graylisted"
	default:
		return true
	}
	g.metrics.refused.WithLabelValues(why).Inc()
	return false
}

// InterceptPeerDial implements libp2p's ConnectionGater.
func (g *gate) InterceptPeerDial(id peer.ID) bool { return g.allows(id) }

// InterceptAddrDial implements libp2p's ConnectionGater.
func (g *gate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept implements libp2p's ConnectionGater. Who it is shows the
// handshake; how many may shake hands at once is for the resource manager.
func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements libp2p's ConnectionGater: here the id is proven.
func (g *gate) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return g.allows(id)
}

// InterceptUpgraded implements libp2p's ConnectionGater.
func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

package p2p

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/firn-log/firn/federation"
)

// tally counts messages for the status page.
type tally struct{ accepted, ignored, rejected, published atomic.Uint64 }

// Status returns what a status page shows: every peer that is admitted, and
// messages since the start.
func (n *Node) Status() *federation.Gossip {
	g := &federation.Gossip{
		ID: n.ID(), Accepted: n.tally.accepted.Load(), Ignored: n.tally.ignored.Load(),
		Rejected: n.tally.rejected.Load(), Published: n.tally.published.Load(),
	}
	connected := n.host.Network().Peers()
	n.mu.Lock()
	scores := n.scores
	n.mu.Unlock()
	for id, out := range n.gate.admitted() {
		g.Peers = append(g.Peers, federation.GossipPeer{
			ID: id.String(), Connected: slices.Contains(connected, id), ShutOut: out, Bad: !out && scores[id] < 0,
		})
	}
	slices.SortFunc(g.Peers, func(a, b federation.GossipPeer) int { return strings.Compare(a.ID, b.ID) })
	return g
}

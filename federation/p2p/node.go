package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A Node gossips. It may be used concurrently.
type Node struct {
	o     Options
	gate  *gate
	host  host.Host
	rates *rates
	held  *heldCache

	pubsub      *pubsub.PubSub
	checkpoints *pubsub.Topic
	evidence    *pubsub.Topic
	stop        context.CancelFunc // of pubsub
	more        more               // peers beside the configured ones
	intakes     map[string]*intake // by origin; not changed after New
	asks        *asks
	serving     chan struct{} // a token for each exchange that is answered
	tally       tally

	mu      sync.Mutex
	served  map[peer.ID]int // exchanges of one peer that are answered now
	scores  map[peer.ID]float64
	strikes map[peer.ID]int
	useless map[string]bool // hashes of evidence that convicts nobody here
	spread  map[string]bool // hashes of evidence that was on the topic
}

// New makes a node that listens but does nothing else before Run.
func New(o Options) (*Node, error) {
	o, err := withDefaults(o)
	if err != nil {
		return nil, err
	}
	n := &Node{
		o: o, gate: newGate(o), rates: newRates(o.Now), held: &heldCache{hub: o.Hub},
		intakes: make(map[string]*intake), more: more{peers: make(map[peer.ID]*dialled)},
		asks: newAsks(), serving: make(chan struct{}, maxServing), served: make(map[peer.ID]int),
		scores: make(map[peer.ID]float64), strikes: make(map[peer.ID]int),
		useless: make(map[string]bool), spread: make(map[string]bool),
	}
	for _, origin := range o.Hub.Origins() {
		n.intakes[origin] = newIntake()
	}
	for _, p := range o.Peers {
		if p.id == o.Key.id {
			return nil, fmt.Errorf("peer %s is this peer itself", p.ID())
		}
		n.gate.admit(p.id)
	}
	if n.host, err = newHost(o.Key, n.gate, o.Listen, len(o.Peers)+o.Room); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	if err := n.join(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Close ends everything. Run ends it as well.
func (n *Node) Close() error {
	n.stop()
	return n.host.Close()
}

// ID returns the peer id.
func (n *Node) ID() string { return n.o.Key.ID() }

// Addrs returns the multiaddrs by which others reach this node, as far as it
// knows itself, each with its peer id.
func (n *Node) Addrs() []string {
	var all []string
	for _, a := range n.host.Addrs() {
		all = append(all, a.String()+"/p2p/"+n.ID())
	}
	return all
}

// Connected returns the ids of the peers that are connected, sorted.
func (n *Node) Connected() []string {
	var all []string
	for _, id := range n.host.Network().Peers() {
		all = append(all, id.String())
	}
	slices.Sort(all)
	return all
}

// Run gossips until ctx ends, and closes the node.
func (n *Node) Run(ctx context.Context) error {
	defer n.Close()
	notify := &network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { n.connected(c.RemotePeer()) },
		DisconnectedF: func(network.Network, network.Conn) { n.count() },
	}
	n.host.Network().Notify(notify)
	defer n.host.Network().StopNotify(notify)
	n.host.SetStreamHandler(LatestProtocol, n.serveLatest)
	n.host.SetStreamHandler(EvidenceProtocol, n.serveEvidence)
	for _, id := range n.host.Network().Peers() {
		n.connected(id) // while nobody listened
	}
	drains := []*pubsub.Topic{n.checkpoints, n.evidence}
	var wg sync.WaitGroup
	for _, t := range drains {
		sub, err := t.Subscribe(pubsub.WithBufferSize(1))
		if err != nil {
			return fmt.Errorf("subscribing to %s: %w", t, err)
		}
		wg.Go(func() { drain(ctx, sub) })
	}
	for origin, in := range n.intakes {
		wg.Go(func() { n.take(ctx, origin, in) })
		wg.Go(func() { n.announce(ctx, origin, in) })
	}
	wg.Go(func() { n.announceEvidence(ctx) })
	wg.Go(func() { n.exchanges(ctx) })
	for _, p := range n.o.Peers {
		if len(p.addrs) > 0 {
			wg.Go(func() { n.connect(ctx, p) })
		}
	}
	n.o.Logger.Info("gossiping", "peer", n.ID(), "addresses", n.Addrs(), "peers", len(n.o.Peers))
	wait := n.dialMore(ctx)
	wg.Wait()
	wait()
	return nil
}

// drain reads a subscription, without which a topic is not joined. What matters
// was done by the validator.
func drain(ctx context.Context, sub *pubsub.Subscription) {
	defer sub.Cancel()
	for {
		if _, err := sub.Next(ctx); err != nil {
			return
		}
	}
}

func (n *Node) connected(id peer.ID) {
	if !n.gate.knows(id) {
		go n.host.Network().ClosePeer(id) // SetPeers was faster than its handshake
		return
	}
	n.count()
	n.ask(id)
}

func (n *Node) count() { n.o.Metrics.peers.Set(float64(len(n.host.Network().Peers()))) }

// ask has a peer asked for what it knows, soon, unless it gives too much reason to.
func (n *Node) ask(id peer.ID) {
	if n.rates.allow(paceExchange, bucketName{peer: id, what: "ask"}, 1) {
		n.asks.add(id)
	}
}

// catch shuts a peer out that sent what no honest peer sends.
func (n *Node) catch(id peer.ID, why string) {
	if n.gate.shut(id) {
		n.o.Logger.Warn("peer is shut out", "peer", id.String(), "why", why, "for", shutOut)
	}
	go n.host.Network().ClosePeer(id)
}

// strike catches a peer at the third lie in an exchange.
func (n *Node) strike(id peer.ID, why string) {
	n.mu.Lock()
	n.strikes[id]++
	out := n.strikes[id] >= 3
	if out {
		delete(n.strikes, id)
	}
	n.mu.Unlock()
	if out {
		n.catch(id, why)
	}
}

// jitter returns between three and five quarters of d.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }

// sleep returns after d, or with an error when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

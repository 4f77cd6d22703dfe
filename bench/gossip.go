package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/federation/p2p"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

const (
	gossipPeers  = 20 // honest, and one more to whom the other history is shown
	gossipForks  = 10
	gossipTarget = 2 * time.Second
	gossipWait   = time.Minute
)

// forkedLog signs whatever it is told to.
type forkedLog struct {
	key     policy.Key
	private ed25519.PrivateKey
}

func newForkedLog(i int) (*forkedLog, error) {
	seed := sha256.Sum256(fmt.Appendf(nil, "forked log %d", i))
	private := ed25519.NewKeyFromSeed(seed[:])
	key, err := policy.NewKey(fmt.Sprintf("log%d.bench.example/%08x", i, i), policy.TypeEd25519, private.Public().(ed25519.PublicKey))
	return &forkedLog{key, private}, err
}

// sign returns a checkpoint with one entry.
func (l *forkedLog) sign(root byte) []byte {
	text := policy.Head{Origin: l.key.Name, Size: 1, Root: [32]byte{root}}.Text()
	n := policy.Note{Text: text, Signatures: []policy.Signature{{Name: l.key.Name, ID: l.key.ID, Sig: ed25519.Sign(l.private, []byte(text))}}}
	return n.Marshal()
}

// gossiper is a peer in this process, on loopback.
type gossiper struct {
	hub  *federation.Hub
	node *p2p.Node
}

// benchGossip shows 20 peers a checkpoint of a log and one more peer another one of
// the same size, and waits until evidence is on the disks of all; with ten logs,
// one after the other.
func benchGossip(ctx context.Context, dir string) (rows []row, err error) {
	var logs []*forkedLog
	var text strings.Builder
	for i := range gossipForks {
		l, err := newForkedLog(i)
		if err != nil {
			return nil, err
		}
		logs = append(logs, l)
		fmt.Fprintf(&text, "log %s\n", l.key)
	}
	pol, err := policy.Parse([]byte(text.String() + "quorum none\n"))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() { stop(); wg.Wait() }()
	peers, err := startGossip(ctx, &wg, filepath.Join(dir, "gossip"), pol)
	if err != nil {
		return nil, err
	}
	var spread, found rate
	for _, l := range logs {
		one, other := l.sign(1), l.sign(2)
		begin := time.Now()
		if _, err := peers[0].hub.Offer(ctx, one, "bench"); err != nil {
			return nil, err
		}
		if err := everybody(ctx, peers, func(p *gossiper) bool { return p.hub.Latest(l.key.Name) != nil }); err != nil {
			return nil, err
		}
		spread.latency = append(spread.latency, time.Since(begin))
		begin = time.Now()
		var fork *federation.ForkError
		if _, err := peers[gossipPeers].hub.Offer(ctx, other, "bench"); !errors.As(err, &fork) {
			return nil, fmt.Errorf("the fork was not found: %w", err)
		}
		if err := everybody(ctx, peers, func(p *gossiper) bool { return p.hub.Convicted(l.key.Name) }); err != nil {
			return nil, err
		}
		found.latency = append(found.latency, time.Since(begin))
	}
	worst := found.quantile(1)
	return []row{
		{what: "a checkpoint at 20 peers by gossip, loopback", value: fmt.Sprintf("median %s, worst of %d %s", millis(spread.quantile(.5)), gossipForks, millis(spread.quantile(1)))},
		{
			what:     "evidence at 20 honest peers after a fork is visible to one",
			value:    fmt.Sprintf("median %s, worst of %d %s", millis(found.quantile(.5)), gossipForks, millis(worst)),
			target:   "≤ 2 s",
			fraction: fmt.Sprintf("%.3f of the target", worst.Seconds()/gossipTarget.Seconds()),
			met:      worst <= gossipTarget,
		},
	}, nil
}

// startGossip makes peers that are all connected with each other.
func startGossip(ctx context.Context, wg *sync.WaitGroup, dir string, pol *policy.Policy) ([]*gossiper, error) {
	var keys []*p2p.Key
	for range gossipPeers + 1 {
		k, _, err := p2p.GenerateKey()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	var peers []*gossiper
	for i, k := range keys {
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(own, 0o755); err != nil {
			return nil, err
		}
		o := federation.Options{Dir: filepath.Join(own, "hub"), Evidence: evidence.NewStore(filepath.Join(own, "evidence"))}
		for _, origin := range pol.Origins() {
			o.Logs = append(o.Logs, federation.Log{Policy: pol, Origin: origin})
		}
		hub, err := federation.NewHub(o)
		if err != nil {
			return nil, err
		}
		g := p2p.Options{Hub: hub, Key: k, Listen: []string{"/ip4/127.0.0.1/tcp/0"}}
		for j, other := range keys {
			if j == i {
				continue
			}
			at := other.ID()
			if j < i {
				at = peers[j].node.Addrs()[0]
			}
			p, err := p2p.ParsePeer(at)
			if err != nil {
				return nil, err
			}
			g.Peers = append(g.Peers, p)
		}
		node, err := p2p.New(g)
		if err != nil {
			return nil, err
		}
		wg.Go(func() { _ = node.Run(ctx) }) // ends with ctx, and without an error
		peers = append(peers, &gossiper{hub, node})
	}
	return peers, everybody(ctx, peers, func(p *gossiper) bool { return len(p.node.Connected()) == gossipPeers })
}

// everybody waits until something is so at all peers.
func everybody(ctx context.Context, peers []*gossiper, ok func(*gossiper) bool) error {
	ctx, cancel := context.WithTimeout(ctx, gossipWait)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, p := range peers {
		for !ok(p) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("waiting for %d peers: %w", len(peers), ctx.Err())
			}
		}
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/federation/p2p"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/statement"
)

// gossipKey is the default name of the key file in a peer's directory.
const gossipKey = "peer.key"

// gossipConfig says who gossips with this peer (spec/gossip.md#configuration).
type gossipConfig struct {
	Enabled bool `toml:"enabled"`
	// Listen holds multiaddrs. With none, this peer only dials.
	Listen []string `toml:"listen" comment:"Where others may connect, as multiaddrs: [\"/ip4/0.0.0.0/tcp/8491\"]. With none, this peer only dials."`
	// Key is the file of the key by which others know this peer.
	Key string `toml:"key" comment:"Key by which others know this peer; it signs nothing but handshakes. Its id: firn-peer id DIR"`
	// Peers are those who may connect, and are dialled if an address is given.
	Peers []string `toml:"peers" comment:"Who may connect: a peer id, or /dns/peer.example/tcp/8491/p2p/ID, which is dialled too. Nobody else is let in."`
	// Operators are ids of operators whose peer statements are followed.
	Operators []string `toml:"operators" comment:"Operator ids: the peers that these say they run, in the logs of the policies, may connect and are dialled too."`
	// OperatorsInterval is between two readings of what they say.
	OperatorsInterval duration `toml:"operators-interval" comment:"How often the logs are asked for what these operators say, give or take a quarter."`
	// AntiEntropy is how often two random peers are asked what they know.
	AntiEntropy duration `toml:"anti-entropy" comment:"How often two peers at random are asked for what they know."`
}

func defaultGossip() gossipConfig {
	return gossipConfig{
		Listen: []string{}, Key: gossipKey, Peers: []string{}, Operators: []string{},
		OperatorsInterval: duration{federation.DefaultOperatorsInterval}, AntiEntropy: duration{p2p.DefaultAntiEntropy},
	}
}

// check returns the peers.
func (g *gossipConfig) check(bad func(string, ...any)) []p2p.Peer {
	var all []p2p.Peer
	seen := map[string]bool{}
	for _, s := range g.Peers {
		p, err := p2p.ParsePeer(s)
		switch {
		case err != nil:
			bad("p2p: %w", err)
			continue
		case seen[p.ID()]:
			bad("p2p: peer %s is named twice", p.ID())
		}
		seen[p.ID()] = true
		all = append(all, p)
	}
	if len(all) > p2p.MaxPeers {
		bad("p2p: %d peers are too many; at most %d are possible", len(all), p2p.MaxPeers)
	}
	for _, s := range g.Listen {
		if err := p2p.CheckListen(s); err != nil {
			bad("p2p: %w", err)
		}
	}
	if d := g.AntiEntropy.Duration; d < time.Second || d > time.Hour {
		bad("p2p: anti-entropy: %v is not between 1s and 1h", d)
	}
	if d := g.OperatorsInterval.Duration; d < time.Second || d > 24*time.Hour {
		bad("p2p: operators-interval: %v is not between 1s and 24h", d)
	}
	g.operators(bad)
	if g.Enabled && g.Key == "" {
		bad("p2p: key: the file is not named")
	}
	return all
}

// operators returns the ids of the operators that are followed.
func (g *gossipConfig) operators(bad func(string, ...any)) []statement.ID {
	var all []statement.ID
	for _, s := range g.Operators {
		id, err := statement.ParseID(s)
		switch {
		case err != nil:
			bad("p2p: operators: %q is not an operator id, which has 64 hexadecimal digits", s)
		case slices.Contains(all, id):
			bad("p2p: operators: %s is named twice", s)
		default:
			all = append(all, id)
		}
	}
	if len(all) > federation.MaxOperators {
		bad("p2p: operators: %d are too many; at most %d are followed", len(all), federation.MaxOperators)
	}
	return all
}

// privateFile returns the path of a file with a key in dir, which nobody else may read.
func privateFile(dir, file string) (string, error) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	st, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w; make one with: openssl genpkey -algorithm ed25519", err)
	}
	if err != nil {
		return "", err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s may be read by others; chmod 600 it", file)
	}
	return file, nil
}

// readGossipKey reads the key of the peer in dir.
func readGossipKey(dir, file string) (*p2p.Key, error) {
	file, err := privateFile(dir, file)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	k, err := p2p.ParseKey(string(b))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return k, nil
}

// makeGossipKey makes the key of a new peer and returns its id.
func makeGossipKey(dir string) (string, error) {
	k, text, err := p2p.GenerateKey()
	if err != nil {
		return "", err
	}
	return k.ID(), durable.WriteFile(filepath.Join(dir, gossipKey), []byte(text), 0o600)
}

// gossip returns the options of the node, whose key is read.
func (p *peer) gossip(dir string) (*p2p.Options, error) {
	k, err := readGossipKey(dir, p.config.P2P.Key)
	if err != nil {
		return nil, fmt.Errorf("key of the peer: %w", err)
	}
	o := &p2p.Options{
		Hub: p.hub, Key: k, Listen: p.config.P2P.Listen, AntiEntropy: p.config.P2P.AntiEntropy.Duration,
		Logger: p.logger, Metrics: p2p.NewMetrics(p.registry),
	}
	for _, s := range p.config.P2P.Peers {
		x, err := p2p.ParsePeer(s)
		if err != nil {
			return nil, err
		}
		if x.ID() == k.ID() {
			return nil, fmt.Errorf("peer %s is this peer itself", x.ID())
		}
		o.Peers = append(o.Peers, x)
	}
	o.Room = min(p2p.MaxPeers-len(o.Peers), len(p.config.P2P.Operators)*federation.MaxOperatorPeers)
	return o, nil
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/durable"
)

type initFlags struct {
	name, listen string
	policies     []string
	peers        []string
	witnesses    []string
	mirror       bool
	p2pListen    []string
	p2pPeers     []string
	p2pOperators []string
}

func newInitCmd(a *app) *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init --policy FILE DIR",
		Short: "Make the directory of a new peer",
		Long: `Make the directory of a new peer in DIR, which must be missing or empty.

The policies are copied into it. DIR/firn-peer.toml holds every setting with a
comment. A peer can sign nothing that anybody believes: DIR/peer.key is only how
others know it when it gossips, and DIR/submit.key signs the statements that carry
evidence into logs, which anybody may do. The peer id, which others let in, is
printed.`,
		Example: `  firn-peer init --policy demo.policy --mirror --peer https://peer.example /var/lib/firn-peer
  firn-peer init --policy demo.policy --p2p-listen /ip4/0.0.0.0/tcp/8491 --p2p-peer /dns/peer.example/tcp/8491/p2p/ID /var/lib/firn-peer`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return initPeer(a, &f, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.name, "name", "", "name of the peer, for people (default: the host name)")
	fl.StringVar(&f.listen, "listen", "", "address and port to listen on (default 127.0.0.1:8490)")
	fl.StringArrayVar(&f.policies, "policy", nil, "C2SP tlog-policy file of logs to follow (may be repeated)")
	fl.StringArrayVar(&f.peers, "peer", nil, "URL of another peer (may be repeated)")
	fl.StringArrayVar(&f.witnesses, "witness", nil, "monitoring prefix of a witness (may be repeated)")
	fl.StringArrayVar(&f.p2pListen, "p2p-listen", nil, "gossip, and listen on this multiaddr (may be repeated)")
	fl.StringArrayVar(&f.p2pPeers, "p2p-peer", nil, "gossip, and let in this peer id or multiaddr that ends in one (may be repeated)")
	fl.StringArrayVar(&f.p2pOperators, "p2p-operator", nil, "gossip, and let in the peers that the operator with this id says it runs (may be repeated)")
	fl.BoolVar(&f.mirror, "mirror", false, "mirror every log")
	return cmd
}

func initPeer(a *app, f *initFlags, dir string) error {
	if len(f.policies) == 0 {
		return fail(exitUsage, "it is the file that readers of the log use too", errors.New("--policy is missing"))
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fail(exitFailed, "", err)
	case len(entries) > 0:
		return fail(exitFailed, "", fmt.Errorf("making a peer in %s: it is not empty", dir))
	}
	c := defaultConfig()
	if f.name != "" {
		c.Name = f.name
	}
	if f.listen != "" {
		c.Listen = f.listen
	}
	for _, u := range f.peers {
		c.Peers = append(c.Peers, peerConfig{Name: nameOf(u), URL: u})
	}
	for _, u := range f.witnesses {
		c.Witnesses = append(c.Witnesses, witnessConfig{Name: nameOf(u), Monitoring: u})
	}
	c.P2P.Enabled = len(f.p2pListen)+len(f.p2pPeers)+len(f.p2pOperators) > 0
	c.P2P.Listen = append(c.P2P.Listen, f.p2pListen...)
	c.P2P.Peers = append(c.P2P.Peers, f.p2pPeers...)
	c.P2P.Operators = append(c.P2P.Operators, f.p2pOperators...)
	// The policies are read where they are, before anything is written.
	c.Policies = nil
	for _, p := range f.policies {
		abs, err := filepath.Abs(p)
		if err != nil {
			return fail(exitUsage, "", err)
		}
		c.Policies = append(c.Policies, abs)
	}
	logs, err := c.check(dir)
	if err != nil {
		return fail(exitUsage, "", err)
	}
	if f.mirror {
		for _, l := range logs {
			c.Logs = append(c.Logs, logConfig{Origin: l.Origin, URLs: []string{}, Mirror: true})
		}
	}
	id, err := writePeer(c, dir)
	if err != nil {
		return fail(exitFailed, "", fmt.Errorf("making a peer in %s: %w", dir, err))
	}
	fmt.Fprintln(a.Stdout, id)
	fmt.Fprintf(a.Stderr, "made a peer in %s; start it with: firn-peer serve %s\n", dir, dir)
	return nil
}

// writePeer copies the policies, makes the keys, returns the peer id, and writes the
// configuration last.
func writePeer(c *config, dir string) (id string, err error) {
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for i, path := range c.Policies {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		name := "log.policy"
		if i > 0 {
			name = fmt.Sprintf("log-%d.policy", i+1)
		}
		if err := durable.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return "", err
		}
		c.Policies[i] = name
	}
	if id, err = makeGossipKey(dir); err != nil {
		return "", err
	}
	if err := makeSubmitKey(dir); err != nil {
		return "", err
	}
	b, err := c.marshal()
	if err != nil {
		return "", err
	}
	return id, durable.WriteFile(filepath.Join(dir, configName), b, 0o644)
}

// nameOf returns a name for a URL: its host and path, or the URL itself.
func nameOf(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return s
	}
	return u.Host + u.Path
}

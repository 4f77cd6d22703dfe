package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log/statement"
)

func newOperatorPeerCmd(a *app) *cobra.Command {
	var f signFlags
	var addrs []string
	c := &cobra.Command{
		Use:   "peer PEER-ID --identity KEY",
		Short: "Say which peer of the gossip is yours",
		Long: `Peer says, signed by your identity key, that you run the peer with this id and,
with --addr, where others may dial it. It replaces what you said of that peer
before. firn-peer id DIR prints the id.

` + keySpecHelp,
		Example: `  firn operator peer "$(firn-peer id /var/lib/firn-peer)" --addr /dns/peer.example/tcp/8491 --identity alice`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			peer := &statement.Peer{PeerID: args[0], Addrs: addrs}
			if err := peer.Check(); err != nil {
				return failf(exitUsage, "an id begins with 12D3KooW, and an address is a multiaddr such as /dns/peer.example/tcp/8491", "%w", err)
			}
			identity, client, err := f.open(ctx, a)
			if err != nil {
				return err
			}
			h, err := ownHistory(ctx, client, identity.PublicKey().ID())
			if err != nil {
				return err
			}
			peer.OperatorID = h.ID
			b := &batch{signer: identity, prev: &h.Head}
			if said := h.peer(args[0]); said != nil && slices.Equal(said.Addrs, addrs) {
				return b.send(ctx, a, client, &f, h.ID) // said already
			}
			if err := b.sign(ctx, peer); err != nil {
				return err
			}
			return b.send(ctx, a, client, &f, h.ID)
		},
	}
	f.add(c)
	c.Flags().StringArrayVar(&addrs, "addr", nil, "multiaddr without the peer id (may be repeated, the preferred one first)")
	return c
}

// peer returns what the operator said of a peer last, or nil.
func (h *history) peer(id string) (last *statement.Peer) {
	for _, e := range h.Steps {
		if p, ok := e.Statement.Body.(*statement.Peer); ok && e.Counts && p.OperatorID == h.ID && p.PeerID == id {
			last = p
		}
	}
	return last
}

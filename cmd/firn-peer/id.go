package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newIDCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "id DIR",
		Short: "Print the peer id by which others let this peer in",
		Long: `Print the peer id of the peer in DIR.

Others put it into their configuration under p2p, with an address if they are to
dial this peer: /dns/peer.example/tcp/8491/p2p/ID`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, _, err := readConfig(filepath.Join(args[0], configName), args[0])
			if err != nil {
				return fail(exitUsage, "", err)
			}
			k, err := readGossipKey(args[0], c.P2P.Key)
			if err != nil {
				return fail(exitFailed, "", err)
			}
			fmt.Fprintln(a.Stdout, k.ID())
			return nil
		},
	}
}

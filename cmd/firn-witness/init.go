package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/witness/server"
)

func newInitCmd(a *app) *cobra.Command {
	var name, listen, from string
	var logs, lists, peers []string
	cmd := &cobra.Command{
		Use:   "init --name NAME DIR",
		Short: "Make a new witness",
		Long: `Make a new witness in DIR, which must be missing or empty.

It has a key of its own with the name NAME, used for cosignatures and nothing
else. DIR/firn-witness.toml holds every setting with a comment. The verifier
key, which readers and logs put into their policies, is printed.

With --from, the witness that was moved away with firn-witness move goes on in
DIR. An export is for one place: it is renamed when it has been used.`,
		Example: `  firn-witness init --name witness.example/w1 --log "$(firn-log vkey /var/lib/firn-log)" /var/lib/firn-witness
  firn-witness init --from w1.firn-export /var/lib/firn-witness`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			vkey, err := "", error(nil)
			switch {
			case from != "" && (name != "" || listen != "" || len(logs)+len(lists)+len(peers) > 0):
				return fail(exitUsage, "what was moved keeps its settings; change firn-witness.toml afterwards", errors.New("--from stands alone"))
			case from != "":
				vkey, err = server.Import(args[0], from)
			case name == "":
				return fail(exitUsage, "a name below a host name of yours is a good one: witness.example/w1", errors.New("--name is missing"))
			default:
				vkey, err = server.Init(args[0], server.InitOptions{Name: name, Change: func(c *server.Config) {
					if listen != "" {
						c.Listen = listen
					}
					c.LogLists = append(c.LogLists, lists...)
					for _, vkey := range logs {
						c.Logs = append(c.Logs, server.LogConfig{VKey: vkey})
					}
					for _, url := range peers {
						c.Peers = append(c.Peers, server.PeerConfig{URL: url})
					}
				}})
			}
			var wrong *server.ConfigError
			switch {
			case errors.As(err, &wrong):
				return fail(exitUsage, "", wrong)
			case err != nil:
				return fail(exitFailed, "", fmt.Errorf("making a witness in %s: %w", args[0], err))
			}
			fmt.Fprintln(a.Stdout, vkey)
			fmt.Fprintf(a.Stderr, "made a witness in %s; start it with: firn-witness serve %s\n", args[0], args[0])
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name of the witness's key, for instance witness.example/w1")
	f.StringVar(&listen, "listen", "", "address and port to listen on (default 127.0.0.1:8480)")
	f.StringArrayVar(&logs, "log", nil, "verifier key of a log to witness (may be repeated)")
	f.StringArrayVar(&lists, "log-list", nil, "file or URL with a list of logs, logs/v0 (may be repeated)")
	f.StringArrayVar(&peers, "peer", nil, "URL that keeps checkpoints this witness has cosigned (may be repeated)")
	f.StringVar(&from, "from", "", "export of a witness that was moved away")
	return cmd
}

func newVKeyCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "vkey DIR",
		Short: "Print the verifier key of a witness",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			vkey, err := server.VKey(args[0])
			if err != nil {
				return fail(exitFailed, "", err)
			}
			fmt.Fprintln(a.Stdout, vkey)
			return nil
		},
	}
}

package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/witness/server"
)

func newMoveCmd(a *app) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "move [--to FILE] DIR",
		Short: "Freeze a witness for good and export it for another place",
		Long: `Freeze the witness in DIR and write everything it needs elsewhere to a file: its
configuration, its private key, what it has cosigned, the logs that lists have
named, and evidence.

The freeze comes first, is durable, and cannot be undone: whatever happens to
FILE, this copy never signs again. It still serves reads. FILE holds the private
key, and is for one place: firn-witness init --from FILE. If it is lost before
that, run this command again.`,
		Example: `  firn-witness move --to w1.firn-export /var/lib/firn-witness
  firn-witness init --from w1.firn-export /srv/firn-witness`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if to == "" {
				to = filepath.Clean(args[0]) + ".firn-export"
			}
			if err := server.Move(args[0], to); err != nil {
				return startFailure(fmt.Errorf("moving the witness in %s: %w", args[0], err))
			}
			fmt.Fprintf(a.Stderr, "%s signs nothing any more; go on elsewhere with: firn-witness init --from %s DIR\n", args[0], to)
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "file to export to; must not exist (default DIR.firn-export)")
	return cmd
}

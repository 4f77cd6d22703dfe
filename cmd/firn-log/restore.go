package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/server"
)

func newRestoreCmd(a *app) *cobra.Command {
	var mirror string
	cmd := &cobra.Command{
		Use:   "restore --from-mirror FOLDER|URL DIR",
		Short: "Make a log again from its key, its configuration and a mirror",
		Long: `Restore fills DIR, which holds the configuration and the key of a log from a backup and
no tree, with the tree of a mirror: a folder or URL with checkpoint and tile/ in it, or a
firn-peer that mirrors this log. Every tile and every entry is verified before it is kept.

A mirror may be behind what the log has signed. Therefore the next start signs and takes
nothing before all witnesses have said that they know nothing newer. Take the largest mirror
that there is.`,
		Example: `  firn-log restore --from-mirror https://peer.example /var/lib/firn-log`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if mirror == "" {
				return fail(exitUsage, "a folder or URL with the tree of this log, or a firn-peer that has it", errors.New("--from-mirror is missing"))
			}
			res, err := server.Restore(c.Context(), args[0], mirror, nil)
			if err != nil {
				return restoreFailure(args[0], err)
			}
			fmt.Fprintf(a.Stdout, "%s: %d entries restored\n", res.Origin, res.Size)
			if res.Lists+res.MissingLists > 0 {
				fmt.Fprintf(a.Stdout, "%d lists of paths restored, %d not found at the mirror\n", res.Lists, res.MissingLists)
			}
			next := "all witnesses must answer before it signs"
			if !res.Witnesses {
				next = "without witnesses nobody can say whether this is the newest copy, so it starts only with --no-witness-check"
			}
			fmt.Fprintf(a.Stderr, "start it with: firn-log serve %s (%s)\n", args[0], next)
			return nil
		},
	}
	cmd.Flags().StringVar(&mirror, "from-mirror", "", "folder or URL of a mirror of this log")
	return cmd
}

func restoreFailure(dir string, err error) error {
	var locked *durable.LockedError
	var rollback *server.RollbackError
	var path *fs.PathError
	switch {
	case errors.As(err, &locked):
		return fail(exitFailed, fmt.Sprintf("stop process %d first", locked.PID), fmt.Errorf("the log in %s is running (process %d)", dir, locked.PID))
	case errors.As(err, &rollback):
		return fail(exitFailed, rollback.Hint, fmt.Errorf("refusing to restore: %s", rollback.Why))
	case errors.Is(err, log.ErrNotFound), errors.Is(err, log.ErrUnreachable):
		return fail(exitFailed, "the mirror is not whole, or is not there; `firn log fsck` says what it lacks", err)
	case errors.As(err, &path) && errors.Is(err, os.ErrNotExist):
		return fail(exitUsage, "unpack the backup of the log there first: firn-log.toml, log.key and the policy of its witnesses", fmt.Errorf("there is no log to restore in %s: %w", dir, err))
	}
	return fail(exitFailed, "", err)
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/server"
)

func newResetIndexCmd(a *app) *cobra.Command {
	var origin string
	cmd := &cobra.Command{
		Use:   "reset-index --origin ORIGIN DIR",
		Short: "Take back what a log has stated of its index",
		Long: `Have the next start of the log in DIR, which must not be running, state that every
revision of its index so far is withdrawn, and make the index anew from the entries.

This is for one case: the log has stated a wrong revision, and says so in /readyz, or an
auditor has. A damaged index is no such case: remove DIR/index, and it is made anew.
Auditors and watchers see the statement for ever. Until the next start it can be taken back
by removing DIR/reset-index. --origin names the log, so that no other one is meant by
mistake.`,
		Example: `  firn-log reset-index --origin demo.firn.example/3f9a01bc /var/lib/firn-log`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := args[0]
			if origin == "" {
				return fail(exitUsage, "it is the first word of what `firn-log vkey "+dir+"` prints, up to the +", errors.New("--origin is missing: name the log whose index is taken back"))
			}
			if err := server.ResetIndex(c.Context(), dir, origin); err != nil {
				return resetFailure(dir, err)
			}
			fmt.Fprintf(a.Stderr, "every revision of the index so far is withdrawn with the next start: firn-log serve %s\nuntil then, rm %s takes that back\n", dir, filepath.Join(dir, "reset-index"))
			return nil
		},
	}
	cmd.Flags().StringVar(&origin, "origin", "", "origin of the log whose index is taken back")
	return cmd
}

func resetFailure(dir string, err error) error {
	var locked *durable.LockedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noLog(dir, err)
	case errors.As(err, &locked):
		return fail(exitFailed, fmt.Sprintf("stop process %d first; the index is taken back with the next start", locked.PID), fmt.Errorf("the log in %s is running (process %d)", dir, locked.PID))
	}
	return fail(exitFailed, "", fmt.Errorf("taking the index of the log in %s back: %w", dir, err))
}

package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/server"
	"github.com/firn-log/firn/log/statement"
)

func newFreezeCmd(a *app) *cobra.Command {
	var o server.FreezeOptions
	cmd := &cobra.Command{
		Use:   "freeze --origin ORIGIN DIR",
		Short: "End a log for good",
		Long: `Sign the last statement of the log in DIR, which must not be running: it takes nothing
any more, and a reader who finds this statement at its end does not wait for anything
newer. --successor says which log goes on.

It becomes true with the next start: firn-log serve adds the statement, has the last
checkpoint cosigned, refuses whatever is sent, and goes on answering readers. Until that
start it can be taken back by removing DIR/freeze; afterwards nothing takes it back.
--origin names the log, so that no other one is frozen by mistake.`,
		Example: `  firn-log freeze --origin demo.firn.example/3f9a01bc --successor "$(firn-log vkey /var/lib/firn-log-2)" /var/lib/firn-log`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := args[0]
			if o.Origin == "" {
				return fail(exitUsage, "it is the first word of what `firn-log vkey "+dir+"` prints, up to the +", errors.New("--origin is missing: name the log that is to end"))
			}
			body, err := server.Freeze(c.Context(), dir, o)
			if err != nil {
				return freezeFailure(dir, err)
			}
			fmt.Fprintln(a.Stdout, body.Words())
			fmt.Fprintf(a.Stderr, "it becomes true with the next start: firn-log serve %s\n", dir)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Origin, "origin", "", "origin of the log that is to end")
	f.StringVar(&o.Successor, "successor", "", "verifier key of the log that goes on")
	f.StringVar(&o.Reason, "reason", "", "why, for people, at most 256 bytes; it is public for ever")
	return cmd
}

func freezeFailure(dir string, err error) error {
	var locked *durable.LockedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noLog(dir, err)
	case errors.As(err, &locked):
		return fail(exitFailed, fmt.Sprintf("stop process %d first; the statement is added with the next start", locked.PID), fmt.Errorf("the log in %s is running (process %d)", dir, locked.PID))
	case statement.CodeOf(err) != "":
		return fail(exitUsage, "see `firn-log freeze --help`", err)
	}
	return fail(exitFailed, "", fmt.Errorf("freezing the log in %s: %w", dir, err))
}

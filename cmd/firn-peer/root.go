package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/cmdline"
)

// Exit statuses are interface (spec/cli.md#exit-status).
const (
	exitFailed = cmdline.ExitFailed // could not do it
	exitUsage  = cmdline.ExitUsage  // usage or configuration
)

// app is the world that a command sees, so that tests can give it another.
type app struct {
	Stdout, Stderr io.Writer
}

// fail returns err as a failure that ends the program with status code.
func fail(code int, hint string, err error) error { return cmdline.Fail(code, hint, err) }

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "firn-peer",
		Short: "Compare what everybody is shown of a log, and mirror it",
		Example: `  firn-peer init --policy demo.policy /var/lib/firn-peer
  firn-peer serve /var/lib/firn-peer`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.AddCommand(newInitCmd(a), newServeCmd(a), newIDCmd(a))
	cmdline.Polish(root)
	return root
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, a *app, args []string) int {
	return cmdline.Run(ctx, newRootCmd(a), a.Stderr, args)
}

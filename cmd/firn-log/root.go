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
		Use:   "firn-log",
		Short: "Run a log of signed statements about builds",
		Example: `  firn-log init --name demo.firn.example /var/lib/firn-log
  firn-log serve /var/lib/firn-log`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.AddCommand(newInitCmd(a), newServeCmd(a), newVKeyCmd(a), newFreezeCmd(a), newResetIndexCmd(a), newRestoreCmd(a), newBlobsCmd(a))
	cmdline.Polish(root)
	return root
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, a *app, args []string) int {
	return cmdline.Run(ctx, newRootCmd(a), a.Stderr, args)
}

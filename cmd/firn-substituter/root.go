package main

import (
	"context"
	"io"
	"os"

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
	Getenv         func(string) string
}

func newApp() *app { return &app{Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv} }

// fail returns err as a failure that ends the program with status code.
func fail(code int, hint string, err error) error { return cmdline.Fail(code, hint, err) }

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "firn-substituter",
		Short: "Give this machine's Nix only what a policy lets in",
		Example: `  firn-substituter init --policy /etc/firn/firn.policy /var/lib/firn-substituter
  firn-substituter serve /var/lib/firn-substituter
  firn substituter setup`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.AddCommand(newInitCmd(a), newServeCmd(a), newKeyCmd(a))
	cmdline.Polish(root)
	return root
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, a *app, args []string) int {
	return cmdline.Run(ctx, newRootCmd(a), a.Stderr, args)
}

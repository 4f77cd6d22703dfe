package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/cmdline"
	"github.com/firn-log/firn/log/evidence"
)

// Exit statuses are interface (spec/cli.md#exit-status).
const (
	exitOK           = cmdline.ExitOK
	exitFailed       = cmdline.ExitFailed // could not do it
	exitUsage        = cmdline.ExitUsage  // usage or configuration
	exitUntrusted    = 3                  // checked, and untrusted or contradicted
	exitInconclusive = 4                  // what is missing could change the answer
	exitMisbehaviour = 5                  // somebody misbehaved and the evidence is on disk
)

// app is the world that a command sees, so that tests can give it another.
type app struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string

	hooks *evidence.Hooks // see loadHooks
}

// failf returns a failure that ends firn with status code. hint may be empty.
func failf(code int, hint, format string, args ...any) error {
	return &cmdline.Failure{Code: code, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// errSilent ends firn with a status after a command has said everything.
func errSilent(code int) error { return &cmdline.Failure{Code: code} }

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "firn",
		Short:         "Check what you install against a log of who built it",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.AddCommand(
		// one line per command, each in a file of its own
		newLogCmd(a),
		newKeyCmd(a),
		newOperatorCmd(a),
		newStatementCmd(a),
		newPolicyCmd(a),
		newEvidenceCmd(a),
		newVerifyCmd(a),
		newStatusCmd(a),
		newChallengeCmd(a),
		newBundleCmd(a),
		newWatchCmd(a),
		newSubmitCmd(a),
		newImportCmd(a),
		newHookCmd(a),
		newRebuildCmd(a),
		newRebuilderCmd(a),
		newDiffCmd(a),
		newSubstituterCmd(a),
		newReproCmd(a),
	)
	cmdline.Polish(root)
	return root
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, a *app, args []string) int {
	defer a.waitForHooks()
	return cmdline.Run(ctx, newRootCmd(a), a.Stderr, args)
}

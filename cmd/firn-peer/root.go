package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit statuses are interface (spec/cli.md#exit-status).
const (
	exitOK     = 0
	exitFailed = 1 // could not do it
	exitUsage  = 2 // usage or configuration
)

// app is the world that a command sees, so that tests can give it another.
type app struct {
	Stdout, Stderr io.Writer
}

// failure is an error with its exit status and, if there is something to do
// about it, a hint.
type failure struct {
	code int
	hint string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail returns err as a failure that ends the program with status code.
func fail(code int, hint string, err error) error { return &failure{code: code, hint: hint, err: err} }

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
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fail(exitUsage, "run `"+c.CommandPath()+" --help` for its flags", err)
	})
	root.AddCommand(newInitCmd(a), newServeCmd(a), newIDCmd(a))
	return root
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, a *app, args []string) int {
	root := newRootCmd(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var f *failure
	if !errors.As(err, &f) {
		// What is left are cobra's own complaints about the command line.
		f = &failure{code: exitUsage, hint: "run `firn-peer --help` for the commands", err: err}
	}
	fmt.Fprintf(a.Stderr, "firn-peer: error: %v\n", f.err)
	if f.hint != "" {
		fmt.Fprintf(a.Stderr, "firn-peer: hint: %s\n", f.hint)
	}
	return f.code
}

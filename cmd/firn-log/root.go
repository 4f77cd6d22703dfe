package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/cmdline"
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
		Use:   "firn-log",
		Short: "Run a log of signed statements about builds",
		Example: `  firn-log init --name demo.firn.example /var/lib/firn-log
  firn-log serve /var/lib/firn-log`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.AddCommand(newInitCmd(a), newServeCmd(a), newVKeyCmd(a))
	cmdline.Polish(root)
	return root
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, a *app, args []string) int {
	root := newRootCmd(a)
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var f *failure
	if !errors.As(err, &f) {
		// What is left are complaints about the command line.
		wrong := cmdline.Explain(c, err)
		f = &failure{code: exitUsage, hint: wrong.Hint, err: wrong}
	}
	fmt.Fprintf(a.Stderr, "firn-log: error: %v\n", f.err)
	if f.hint != "" {
		fmt.Fprintf(a.Stderr, "firn-log: hint: %s\n", f.hint)
	}
	return f.code
}

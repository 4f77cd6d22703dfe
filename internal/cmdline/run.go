package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses that every program has (spec/cli.md#exit-status); firn has more.
const (
	ExitOK     = 0
	ExitFailed = 1 // could not do it
	ExitUsage  = 2 // usage or configuration
)

// Failure is an error with the exit status that it ends the program with and,
// if there is something to do about it, a hint. Without Err everything has been
// said already.
type Failure struct {
	Code int
	Hint string // may be empty
	Err  error  // may be nil
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return fmt.Sprintf("exit status %d", f.Code)
	}
	return f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }

// Fail returns err as a failure that ends the program with status code.
func Fail(code int, hint string, err error) error { return &Failure{Code: code, Hint: hint, Err: err} }

// Main runs a program, whose context ends with SIGINT or SIGTERM, and exits with the status
// that it returns.
func Main(run func(context.Context) int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx)
	stop()
	os.Exit(code)
}

// Run executes one command line of a tree of commands that [Polish] prepared,
// and returns the exit status. Errors are told on stderr under the name of
// root; one that is no [Failure] is a complaint about the command line.
func Run(ctx context.Context, root *cobra.Command, stderr io.Writer, args []string) int {
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	var f *Failure
	if !errors.As(err, &f) {
		wrong := Explain(c, err)
		f = &Failure{Code: ExitUsage, Hint: wrong.Hint, Err: wrong}
	}
	if f.Err != nil {
		fmt.Fprintf(stderr, "%s: error: %v\n", root.Name(), f.Err)
		if f.Hint != "" {
			fmt.Fprintf(stderr, "%s: hint: %s\n", root.Name(), f.Hint)
		}
	}
	return f.Code
}

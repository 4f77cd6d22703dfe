package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/cmdline"
	"github.com/firn-log/firn/internal/daemon"
	"github.com/firn-log/firn/log/statement"
)

// Exit statuses are interface (spec/cli.md#exit-status).
const (
	exitFailed       = cmdline.ExitFailed // could not do it
	exitUsage        = cmdline.ExitUsage  // usage or configuration
	exitMisbehaviour = 5                  // a log was caught, and evidence is kept
)

// app is the world that a command sees, so that tests can give it another.
type app struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
}

func newApp() *app {
	return &app{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
}

// fail returns err as a failure that ends the program with status code.
func fail(code int, hint string, err error) error { return cmdline.Fail(code, hint, err) }

// commands make the commands of the program.
var commands = []func(*app) *cobra.Command{newServeCmd, newRebuildCmd, newDumpCmd, newQueueCmd, evalCommand}

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "firn-tracker",
		Short: "Show what logs say about packages",
		Long: `Firn-tracker follows the logs of your firn.policy and shows, for every package,
maintainer, channel and closure, who built what, who agrees and who does not.

Without a command it serves: with your policy, from a database of its own in the
state folder, on http://127.0.0.1:8476/.`,
		Example: `  firn-tracker
  firn-tracker --policy ./firn.policy
  firn-tracker --log https://log.example --log-policy log.policy`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	for _, c := range commands {
		root.AddCommand(c(a))
	}
	cmdline.Polish(root)
	return root
}

// run executes one command line and returns the exit status. One that names no command
// serves.
func run(ctx context.Context, a *app, args []string) int {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") && args[0] != "-h" && args[0] != "--help" && args[0] != "--version" && args[0] != "-v" {
		args = append([]string{"serve"}, args...)
	}
	return cmdline.Run(ctx, newRootCmd(a), a.Stderr, args)
}

// logger writes what the program says to stderr.
func (a *app) logger(debug bool) *slog.Logger { return daemon.Logger(a.Stderr, debug) }

// openSigner opens the key that spec names, as `firn key show` takes it.
func (a *app) openSigner(ctx context.Context, spec string, useLogin bool) (statement.Signer, error) {
	o := statement.SignerOptions{UseLoginKey: useLogin, AgentSocket: a.Getenv("SSH_AUTH_SOCK"), Stderr: a.Stderr}
	if home := a.Getenv("HOME"); filepath.IsAbs(home) {
		o.SSHDir = filepath.Join(home, ".ssh")
	}
	s, err := statement.OpenSigner(ctx, spec, o)
	if err == nil {
		return s, nil
	}
	hint := ""
	switch {
	case errors.Is(err, statement.ErrLoginKey):
		hint = "`firn key new FILE` makes a key of its own; use-login-key uses this one nevertheless"
	case errors.Is(err, statement.ErrPassphrase):
		hint = "load the key with ssh-add and name it as agent:WHICH"
	case errors.Is(err, statement.ErrNoAgent):
		hint = "start one with: eval $(ssh-agent) && ssh-add FILE"
	case errors.Is(err, statement.ErrAgentKey):
		hint = "`ssh-add -l` lists the agent's keys; name one by its SHA256:... fingerprint"
	}
	return nil, fail(exitUsage, hint, err)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/daemon"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/witness/server"
)

type serveFlags struct {
	config      string
	listen      string
	check       bool
	noPeerCheck bool
	debug       bool
}

func newServeCmd(a *app) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve DIR",
		Short: "Serve a witness",
		Long: `Serve the witness in DIR until interrupted.

If its state is missing, or the machine, the file system or the directory is
another one than when it cosigned last, this may be an older copy: then it serves
reads only, until a configured peer has answered with nothing newer that this
witness has cosigned.`,
		Example: `  firn-witness serve --check /var/lib/firn-witness && firn-witness serve /var/lib/firn-witness`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return serve(c.Context(), a, &f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "configuration file (default DIR/firn-witness.toml)")
	fl.StringVar(&f.listen, "listen", "", "address and port, instead of the configured ones")
	fl.BoolVar(&f.check, "check", false, "check configuration, key and state, and exit")
	fl.BoolVar(&f.noPeerCheck, "no-peer-check", false, "go on although the state is missing or the directory is in another place; only if you know that this is the newest copy")
	fl.BoolVar(&f.debug, "debug", false, "log more")
	return cmd
}

func serve(ctx context.Context, a *app, f *serveFlags, dir string) error {
	path := f.config
	if path == "" {
		path = filepath.Join(dir, server.ConfigName)
	}
	config, err := server.ReadConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(exitUsage, "make one with: firn-witness init --name NAME "+dir, fmt.Errorf("there is no witness in %s: %w", dir, err))
	}
	if err != nil {
		return fail(exitUsage, "", err)
	}
	if f.listen != "" {
		config.Listen = f.listen
	}
	o := server.Options{
		Dir: dir, Config: config, NoPeerCheck: f.noPeerCheck,
		Logger: daemon.Logger(a.Stderr, f.debug),
	}
	if f.check {
		return check(a, o)
	}
	ln, err := net.Listen("tcp", o.Config.Listen)
	if err != nil {
		return fail(exitFailed, "another program may be using the port; choose one with --listen", err)
	}
	s, err := server.New(ctx, o)
	if err != nil {
		return startFailure(errors.Join(err, ln.Close()))
	}
	o.Logger.Info("serving", "name", config.Name, "address", ln.Addr().String(), "vkey", s.VKey())
	if err := s.Serve(ctx, ln); err != nil {
		return fail(exitFailed, "", err)
	}
	o.Logger.Info("stopped")
	return nil
}

// check says whether the witness could be served and would cosign.
func check(a *app, o server.Options) error {
	doubt, err := server.Check(o)
	if err != nil {
		return startFailure(err)
	}
	if doubt != "" && !o.NoPeerCheck {
		hint := "it will serve reads only until a [[peer]] has answered"
		if len(o.Config.Peers) == 0 {
			hint = "configure a [[peer]]; or, only if you know that this is the newest copy and no other will ever sign: serve --no-peer-check"
		}
		return fail(exitFailed, hint, errors.New(doubt))
	}
	fmt.Fprintf(a.Stdout, "%s: configuration, key and state are good\n", o.Config.Name)
	return nil
}

// startFailure adds what can be done about a witness that does not start.
func startFailure(err error) error {
	var locked *durable.LockedError
	if errors.As(err, &locked) {
		return fail(exitFailed, fmt.Sprintf("stop process %d first; one directory has one witness", locked.PID), err)
	}
	return fail(exitFailed, "", err)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/daemon"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/server"
	"github.com/firn-log/firn/log/server/store"
)

type serveFlags struct {
	config         string
	listen         string
	check          bool
	noWitnessCheck bool
	debug          bool
}

func newServeCmd(a *app) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve DIR",
		Short: "Serve a log",
		Long: `Serve the log in DIR until interrupted.

At start the log checks that this directory is the newest copy of itself, as
far as it can tell, and refuses to go on otherwise: a log that signs in an
older copy shows two histories. With witnesses it signs nothing new until those
that make up the quorum have answered, all of them if the directory is in another
place; reading goes on meanwhile, and /readyz says who is missing.`,
		Example: `  firn-log serve --check /var/lib/firn-log && firn-log serve /var/lib/firn-log`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return serve(c.Context(), a, &f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "configuration file (default DIR/firn-log.toml)")
	fl.StringVar(&f.listen, "listen", "", "address and port, instead of the configured ones")
	fl.BoolVar(&f.check, "check", false, "check configuration, key and record, and exit")
	fl.BoolVar(&f.noWitnessCheck, "no-witness-check", false, "sign at once, although the record is missing, the directory is in another place, or witnesses have not answered")
	fl.BoolVar(&f.debug, "debug", false, "log more")
	return cmd
}

func serve(ctx context.Context, a *app, f *serveFlags, dir string) error {
	path := f.config
	if path == "" {
		path = filepath.Join(dir, server.ConfigName)
	}
	config, err := server.ReadConfig(path)
	if errors.Is(err, os.ErrNotExist) {
		return noLog(dir, err)
	}
	if err != nil {
		return fail(exitUsage, "", err)
	}
	if f.listen != "" {
		config.Listen = f.listen
		if err := config.Check(); err != nil {
			return fail(exitUsage, "for instance --listen 127.0.0.1:8470", err)
		}
	}
	o := server.Options{
		Dir: dir, Config: config, NoWitnessCheck: f.noWitnessCheck,
		Logger: daemon.Logger(a.Stderr, f.debug),
	}
	store.LogTo(o.Logger)
	if f.check {
		if err := server.Check(o); err != nil {
			return startFailure(err)
		}
		fmt.Fprintf(a.Stdout, "%s: configuration, key and record are good\n", config.Origin)
		return nil
	}
	return listenAndServe(ctx, o)
}

func listenAndServe(ctx context.Context, o server.Options) error {
	// The directory comes first: somebody who starts a second server on it must
	// hear that, and not that the port is taken.
	s, err := server.New(ctx, o)
	if err != nil {
		return startFailure(err)
	}
	ln, err := net.Listen("tcp", o.Config.Listen)
	if err != nil {
		err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
		return fail(exitFailed, "another program may be using the port; choose one with --listen", err)
	}
	o.Logger.Info("serving", "origin", s.Origin(), "address", ln.Addr().String(), "vkey", s.VKey())
	if err := s.Serve(ctx, ln); err != nil {
		return fail(exitFailed, "", err)
	}
	o.Logger.Info("stopped")
	return nil
}

// startFailure adds what can be done about a log that does not start.
func startFailure(err error) error {
	var rollback *server.RollbackError
	var locked *durable.LockedError
	switch {
	case errors.As(err, &rollback):
		return fail(exitFailed, rollback.Hint, err)
	case errors.As(err, &locked):
		return fail(exitFailed, fmt.Sprintf("stop process %d first; one log directory has one server", locked.PID), err)
	}
	return fail(exitFailed, "", err)
}

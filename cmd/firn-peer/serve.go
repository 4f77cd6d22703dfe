package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/federation/p2p"
	"github.com/firn-log/firn/internal/daemon"
	"github.com/firn-log/firn/internal/durable"
)

type serveFlags struct {
	config string
	listen string
	check  bool
	debug  bool
}

func newServeCmd(a *app) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve DIR",
		Short: "Run a peer",
		Long: `Run the peer in DIR until interrupted.

It asks logs, witnesses and other peers for checkpoints, compares each with the
largest tree that it verified, keeps evidence in DIR/evidence, shows new
checkpoints to witnesses, and serves all of it again.`,
		Example: `  firn-peer serve --check /var/lib/firn-peer && firn-peer serve /var/lib/firn-peer`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return serve(c.Context(), a, &f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "configuration file (default DIR/firn-peer.toml)")
	fl.StringVar(&f.listen, "listen", "", "address and port, instead of the configured ones")
	fl.BoolVar(&f.check, "check", false, "check configuration, policies and state, and exit")
	fl.BoolVar(&f.debug, "debug", false, "log more")
	return cmd
}

func serve(ctx context.Context, a *app, f *serveFlags, dir string) error {
	path := f.config
	if path == "" {
		path = filepath.Join(dir, configName)
	}
	c, logs, err := readConfig(path, dir)
	if errors.Is(err, os.ErrNotExist) && f.config == "" {
		return fail(exitUsage, "make one with: firn-peer init --policy FILE "+dir, fmt.Errorf("there is no peer in %s: %w", dir, err))
	}
	if err != nil {
		return fail(exitUsage, "", err)
	}
	if f.listen != "" {
		c.Listen = f.listen
	}
	logger := daemon.Logger(a.Stderr, f.debug)
	lock, err := durable.Acquire(filepath.Join(dir, "lock"))
	var locked *durable.LockedError
	switch {
	case errors.As(err, &locked):
		return fail(exitFailed, fmt.Sprintf("stop process %d first; one directory has one peer", locked.PID), err)
	case err != nil:
		return fail(exitFailed, "", err)
	}
	defer lock.Unlock()
	p, err := newPeer(ctx, dir, c, logs, logger)
	if err != nil {
		return fail(exitFailed, "", err)
	}
	if f.check {
		fmt.Fprintf(a.Stdout, "%s: configuration, policies and state are good; %s\n", c.Name, p.summary())
		return nil
	}
	return p.listenAndServe(ctx)
}

func (p *peer) listenAndServe(ctx context.Context) error {
	ln, err := net.Listen("tcp", p.config.Listen)
	if err != nil {
		return fail(exitFailed, "another program may be using the port; choose one with --listen", err)
	}
	if p.gossips != nil {
		if p.node, err = p2p.New(*p.gossips); err != nil {
			return fail(exitFailed, "", errors.Join(fmt.Errorf("starting gossip: %w", err), ln.Close()))
		}
	}
	srv := &http.Server{
		Handler: p.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(p.logger.Handler(), slog.LevelDebug),
	}
	p.logger.Info("serving", "address", ln.Addr().String(), "what", p.summary())
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	for _, run := range p.workers() {
		wg.Go(func() { run(work) })
	}
	gossip := make(chan error, 1)
	if p.node != nil {
		wg.Go(func() { gossip <- p.node.Run(work) })
	}
	select {
	case err = <-failed:
	case err = <-gossip:
	case <-ctx.Done():
		stop, done := context.WithTimeout(context.WithoutCancel(ctx), daemon.Patience)
		defer done()
		err = srv.Shutdown(stop)
	}
	cancel()
	wg.Wait()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), daemon.Patience)
	defer done()
	p.hooks.Wait(stop)
	if err != nil {
		return fail(exitFailed, "", err)
	}
	p.logger.Info("stopped")
	return nil
}

// version returns the version of the program.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

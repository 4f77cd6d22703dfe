package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/daemon"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/verify/closure"
	"github.com/firn-log/firn/verify/substituter"
)

// reloadEvery is how often the policy is looked at.
const reloadEvery = 2 * time.Second

type serveFlags struct {
	config, listen string
	check, debug   bool
}

func newServeCmd(a *app) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve DIR",
		Short: "Serve this machine's Nix",
		Long: `Serve the substituter in DIR until interrupted.

The policy is read again when it, or a file that it names, changes, and on
SIGHUP; one with mistakes changes nothing, and the status page says what they are.
A socket that systemd hands over is used in place of the configured address.`,
		Example: `  firn-substituter serve --check /var/lib/firn-substituter && firn-substituter serve /var/lib/firn-substituter`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return serve(c.Context(), a, &f, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "configuration file (default DIR/firn-substituter.toml)")
	fl.StringVar(&f.listen, "listen", "", "address and port, instead of the configured ones")
	fl.BoolVar(&f.check, "check", false, "check configuration, policy and key, and exit")
	fl.BoolVar(&f.debug, "debug", false, "log more")
	return cmd
}

func serve(ctx context.Context, a *app, f *serveFlags, dir string) error {
	c, err := open(f.config, dir)
	if err != nil {
		return err
	}
	if f.listen != "" {
		c.Listen = f.listen
		if err := c.check(); err != nil {
			return fail(exitUsage, "", fmt.Errorf("--%w", err))
		}
	}
	pol, text, err := usePolicy(c.Policy)
	if err != nil {
		return err
	}
	key, err := readKey(c.Key)
	if err != nil {
		return err
	}
	if f.check {
		fmt.Fprintf(a.Stdout, "%s: configuration, policy and key are good\n", dir)
		return nil
	}
	logger := daemon.Logger(a.Stderr, f.debug)
	ln, err := listen(a, c.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fail(exitFailed, "is it running already? Otherwise choose another port with --listen", err)
	case err != nil:
		return fail(exitFailed, "", err)
	}
	hooks, err := evidence.NewHooks(c.Evidence, logger)
	if err != nil {
		return fail(exitUsage, "", err)
	}
	s, err := substituter.New(pol, text, substituter.Options{
		Key: key, Store: store(ctx, logger), State: filepath.Join(dir, "state"), Hosts: c.Hosts, NoSubmit: !c.Submit, Most: c.Decisions, Log: logger, OnEvidence: hooks.Run,
	})
	var held *durable.LockedError
	switch {
	case errors.As(err, &held):
		_ = ln.Close()
		return fail(exitFailed, fmt.Sprintf("it is running already; stop process %d first", held.PID), err)
	case err != nil:
		return fail(exitFailed, "", errors.Join(err, ln.Close()))
	}
	logger.Info("serving", "address", ln.Addr().String(), "key", key.Public().String())
	go reload(ctx, s, c.Policy, text, logger)
	err = daemon.Serve(ctx, ln, newServer(handler(s)))
	hooksCtx, cancel := context.WithTimeout(context.Background(), daemon.Patience)
	defer cancel()
	hooks.Wait(hooksCtx)
	if err = errors.Join(err, s.Close()); err != nil {
		return fail(exitFailed, "", err)
	}
	logger.Info("stopped")
	return nil
}

// store is that of this machine, nil if it cannot be read: then rules that look at more than names
// are as strict as they can be.
func store(ctx context.Context, logger *slog.Logger) *closure.Store {
	src, err := nixdb.OpenStore(ctx, "/nix/var/nix", nix.DefaultStoreDir, "")
	if err != nil {
		logger.Warn("the database of Nix cannot be read, so systems, fixed content and closures are not known to rules", "error", err)
		return nil
	}
	return &closure.Store{Source: src, Root: "/"}
}

// listen returns the socket that systemd handed over, which must be of this machine alone, or a new one.
func listen(a *app, address string) (net.Listener, error) {
	ln, handed, err := daemon.Listen(a.Getenv, address)
	if err != nil {
		return nil, err
	}
	if at, ok := ln.Addr().(*net.TCPAddr); handed && ok && !at.IP.IsLoopback() {
		_ = ln.Close()
		return nil, fmt.Errorf("the socket of systemd listens on %s, which is not of this machine alone: correct ListenStream in firn-substituter.socket", at)
	}
	return ln, nil
}

// newServer returns the server of h.
func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
}

// reload makes the substituter obey the policy as it is now, whenever it changes.
func reload(ctx context.Context, s *substituter.Substituter, path string, text []byte, logger *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	last, told := string(text), ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		case <-tick.C:
		}
		pol, text, err := readPolicy(path)
		if err == nil && string(text) != last {
			if err = s.SetPolicy(pol, text); err == nil {
				last = string(text)
			}
		}
		why := ""
		if err != nil {
			why = err.Error()
		}
		if why != told {
			told = why
			s.Doubt(why)
			if why != "" {
				logger.Error("the policy has changed and cannot be used; the one before still holds", "error", why)
			}
		}
	}
}

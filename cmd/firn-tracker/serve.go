package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// stopPatience bounds how long open requests and hooks may take when the program stops.
const stopPatience = 10 * time.Second

func newServeCmd(a *app) *cobra.Command {
	var f flags
	var listen string
	var check bool
	cmd := &cobra.Command{
		Use:   "serve [DIR]",
		Short: "Follow logs and serve the pages",
		Long: `Follow the logs of a policy and serve the pages until interrupted.

DIR holds the database and all that is kept; it is made if it is missing, and is
firn-tracker in the state folder unless it is named. DIR/firn-tracker.toml may
configure the tracker and need not be there. Evaluation files that come into
DIR/evals are taken as they come.

A socket that systemd hands over is used in place of the configured address.`,
		Example: `  firn-tracker serve
  firn-tracker serve --check /var/lib/firn-tracker && firn-tracker serve /var/lib/firn-tracker
  firn-tracker serve --database postgres:///firn`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.settings(&f, args)
			if err != nil {
				return err
			}
			if listen != "" {
				s.Listen = listen
				if err := s.check(); err != nil {
					return fail(exitUsage, "", err)
				}
			}
			if check {
				fmt.Fprintf(a.Stdout, "%s: configuration and policies are good; %s\n", s.dir, s.summary())
				return nil
			}
			return a.serve(c.Context(), &f, s)
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&listen, "listen", "", "address and port, instead of the configured ones")
	cmd.Flags().BoolVar(&check, "check", false, "check configuration and policies, and exit")
	return cmd
}

func (a *app) serve(ctx context.Context, f *flags, s *settings) error {
	logger := a.logger(f.debug)
	ln, err := listen(a, s.Listen)
	if err != nil {
		return fail(exitFailed, "another program may be using the port; choose one with --listen", err)
	}
	t, err := s.open(ctx, logger, false)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	logger.Info("serving", "address", ln.Addr().String(), "folder", s.dir, "what", s.summary())
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := t.watchFile(work); err != nil {
			gone(err)
		}
	})
	wg.Go(func() { t.follower.Run(work) })
	wg.Go(func() { t.evaluations.Run(work, s.Poll.Duration) })
	if s.Publish.Every.Duration > 0 {
		wg.Go(func() { a.publishAgain(work, t) })
	}
	err = answer(ctx, ln, t.handler())
	cancel()
	wg.Wait()
	hooks, done := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer done()
	t.hooks.Wait(hooks)
	if why := context.Cause(ctx); errors.Is(why, errGone) {
		err = errors.Join(why, err)
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return fail(exitFailed, "", err)
	}
	logger.Info("stopped")
	return nil
}

// listen returns the socket that systemd handed over (sd_listen_fds), or a new one.
func listen(a *app, address string) (net.Listener, error) {
	if a.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || a.Getenv("LISTEN_FDS") == "" {
		return net.Listen("tcp", address)
	}
	if n := a.Getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("systemd hands over %s sockets, not one", n)
	}
	const first = 3
	syscall.CloseOnExec(first)
	f := os.NewFile(first, "socket of systemd")
	defer f.Close()
	return net.FileListener(f)
}

// answer serves until ctx ends, and lets what is on its way come to its end.
func answer(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		return srv.Close()
	}
	return nil
}

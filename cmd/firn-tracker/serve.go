package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/daemon"
)

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
	ln, _, err := daemon.Listen(a.Getenv, s.Listen)
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
	err = daemon.Serve(ctx, ln, newServer(t.handler()))
	cancel()
	wg.Wait()
	hooks, done := context.WithTimeout(context.WithoutCancel(ctx), daemon.Patience)
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

// newServer returns the server of the pages.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
}

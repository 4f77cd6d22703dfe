package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/firn-log/firn/federation/audit"
	"github.com/firn-log/firn/internal/daemon"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/server"
)

type serveFlags struct {
	listen      string
	check       bool
	noPeerCheck bool
	debug       bool
}

func newServeCmd(a *app) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve DIR",
		Short: "Serve an auditor",
		Long: `Serve the auditor in DIR until interrupted.

If its state is missing, or the machine, the file system or the directory is
another one than when it cosigned last, this may be an older copy: then it serves
reads only, until a configured peer has answered with nothing newer that this
auditor has cosigned.

It reads every entry of its log, computes the index again, and cosigns the
checkpoints that the log sends if every revision in them is right. When one is not
it cosigns nothing until the log resets its index, and keeps evidence.`,
		Example: `  firn-auditor serve --check /var/lib/firn-auditor && firn-auditor serve /var/lib/firn-auditor`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.check {
				return check(a, &f, args[0])
			}
			return serve(c.Context(), a, &f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "", "address and port, instead of the configured ones")
	fl.BoolVar(&f.check, "check", false, "check configuration, key and state, and exit")
	fl.BoolVar(&f.noPeerCheck, "no-peer-check", false, "go on although the state is missing or the directory is in another place; only if you know that this is the newest copy")
	fl.BoolVar(&f.debug, "debug", false, "log more")
	return cmd
}

// check tries everything that does not need a port.
func check(a *app, f *serveFlags, dir string) error {
	c, err := load(dir)
	if err != nil {
		return err
	}
	doubt, err := server.Check(server.Options{Dir: dir, Config: c.witness()})
	if err != nil {
		return startFailure(err)
	}
	if doubt != "" && !f.noPeerCheck {
		hint := "it will serve reads only until a [[peer]] has answered"
		if len(c.Peers) == 0 {
			hint = "configure a [[peer]] that keeps what this auditor has cosigned; or, only if you know that this is the newest copy and no other will ever sign: serve --no-peer-check"
		}
		return fail(exitFailed, hint, errors.New(doubt))
	}
	fmt.Fprintf(a.Stdout, "%s: configuration, key and state are good\n", c.Name)
	return nil
}

func load(dir string) (*config, error) {
	c, err := configIn(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(exitUsage, "make one with: firn-auditor init --name NAME --policy FILE "+dir, fmt.Errorf("there is no auditor in %s: %w", dir, err))
	}
	if err != nil {
		return nil, fail(exitUsage, "", err)
	}
	return c, nil
}

func serve(ctx context.Context, a *app, f *serveFlags, dir string) error {
	c, err := load(dir)
	if err != nil {
		return err
	}
	if f.listen != "" {
		c.Listen = f.listen
	}
	logger := daemon.Logger(a.Stderr, f.debug)
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fail(exitFailed, "another program may be using the port; choose one with --listen", err)
	}
	p, err := newProgram(ctx, dir, c, logger, f.noPeerCheck)
	if err != nil {
		return startFailure(errors.Join(err, ln.Close()))
	}
	logger.Info("serving", "name", c.Name, "address", ln.Addr().String(), "vkey", p.server.VKey())
	if err := p.serve(ctx, ln); err != nil {
		return fail(exitFailed, "", err)
	}
	logger.Info("stopped")
	return nil
}

// program is a running auditor: a witness whose gate are the audits.
type program struct {
	server *server.Server
	audits []*audit.Auditor
	hooks  *evidence.Hooks
}

func newProgram(ctx context.Context, dir string, c *config, logger *slog.Logger, noPeerCheck bool) (*program, error) {
	hooks, err := evidence.NewHooks(c.Evidence, logger)
	if err != nil {
		return nil, err
	}
	p := &program{hooks: hooks}
	for _, l := range c.Logs {
		key, err := policy.ParseKey(l.VKey)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		a, err := audit.New(audit.Options{
			Dir: dir, Key: key, URL: l.URL, Mirrors: l.Mirrors, Logger: logger, Poll: c.Poll.Duration, Found: hooks.Run,
		})
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.audits = append(p.audits, a)
	}
	p.server, err = server.New(ctx, server.Options{
		Dir: dir, Config: c.witness(), Logger: logger, NoPeerCheck: noPeerCheck,
		Extra: server.Extra{
			Gate: audit.Gates(p.audits), Page: page, Status: p.status, Wrap: evidenceFiles(dir),
			Ready:      func() error { return audit.Ready(p.audits) },
			Collectors: []prometheus.Collector{audit.Collector(p.audits)},
		},
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// serve answers on ln and follows the logs until ctx ends.
func (p *program) serve(ctx context.Context, ln net.Listener) error {
	stop := p.follow(ctx)
	err := p.server.Serve(ctx, ln)
	stop()
	return errors.Join(err, p.close())
}

// follow follows the logs until stop is called, which waits for the end.
func (p *program) follow(ctx context.Context) (stop func()) {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	for _, a := range p.audits {
		wg.Go(func() { a.Run(ctx) })
	}
	return func() { cancel(); wg.Wait() }
}

func (p *program) close() error {
	var errs []error
	for _, a := range p.audits {
		errs = append(errs, a.Close())
	}
	return errors.Join(errs...)
}

// status is what the status page says about a log.
func (p *program) status(origin string) any {
	for _, a := range p.audits {
		if a.Origin() == origin {
			return a.Status()
		}
	}
	return nil
}

// startFailure adds what can be done about an auditor that does not start.
func startFailure(err error) error {
	var locked *durable.LockedError
	if errors.As(err, &locked) {
		return fail(exitFailed, fmt.Sprintf("stop process %d first; one directory has one auditor", locked.PID), err)
	}
	return fail(exitFailed, "", err)
}

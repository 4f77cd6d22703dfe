package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/internal/cmdline"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// configHint is what somebody needs who has no configuration yet.
const configHint = `write these lines, and say in the last whose builds may leave this machine:
  log = "https://log.example"
  log-policy = "log.policy"
  key = "file:build.key"
  public-from = ["public"]`

type submitFlags struct {
	config             string
	also               []string
	once, status, json bool
	all, check         bool
	wait               time.Duration
}

func newSubmitCmd(a *app) *cobra.Command {
	var f submitFlags
	c := &cobra.Command{
		Use:   "submit",
		Short: "Send the builds of this machine to a log",
		Long: `Submit turns what firn-hook spooled into statements, signs them and sends them to
the log of its configuration. It runs until it is stopped; with --once it ends
when everything is sent and proven, or after --wait.

Only outputs that this machine built are claimed. A statement leaves only if its
derivation is public: if something that public-from names needs it, or if --also
names it. What is private is held back, and --status says so.

The configuration is TOML:
  log          URL of the log
  log-policy   C2SP tlog-policy file: whose checkpoints are believed
  origin       which log, if the policy has several
  key          key that signs: file:PATH, agent:WHICH or ssh-keygen:PATH
  use-login-key  true allows a key that also logs in
  public-from  list of files with a .drv path in each line, or of
               "closure:sha256:HEX" for a closure statement in the log
  spool        the spool (default $FIRN_SPOOL, /var/spool/firn)
  store        root of a private store, as in nix --store ROOT
  store-dir    what store paths begin with (default /nix/store)
  state-dir    Nix's state folder (default $NIX_STATE_DIR, /nix/var/nix)
  builder      name and version of Nix, "nix 2.8.0" (default: finds out)
  state        folder for what is remembered of the log
  interval     how often the spool is looked at (default 5s)
  max-pause    longest pause between tries to reach the log (default 5m)
  trusted-keys Nix keys, ["NAME:BASE64"], whose signatures on realisations go along
  keep-sent    how many sent statements stay in the spool with their proofs (default 10000)
  [evidence]   command = ["PROGRAM", "ARGUMENT"] and webhook = "URL": what is
               run if the log is caught with two histories

Exit status: 0 everything public is sent, 1 something could not be, 2 usage or
configuration, 5 the log was caught with two histories.`,
		Example: `  firn submit --once --wait 60s
  firn submit --once --also /nix/store/...-mine-1.0.drv
  firn submit --status`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.submit(c.Context(), &f, c.Flags().Changed("config"))
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.config, "config", submit.DefaultConfig, "configuration `FILE`")
	flags.StringArrayVar(&f.also, "also", nil, "send the build of this `DRV` too, although nothing makes it public")
	flags.BoolVar(&f.once, "once", false, "end when nothing is left to send")
	flags.DurationVar(&f.wait, "wait", 0, "with --once: how long to try, for instance 60s")
	flags.BoolVar(&f.status, "status", false, "say what was sent, what was not, and why, and do nothing")
	flags.BoolVar(&f.all, "all", false, "with --status: list every build that was sent")
	flags.BoolVar(&f.check, "check", false, "check the configuration and the key, and do nothing")
	flags.BoolVar(&f.json, "json", false, "with --status or --once: write one JSON object")
	return c
}

func (a *app) submit(ctx context.Context, f *submitFlags, named bool) error {
	switch {
	case f.status && (f.once || f.check || len(f.also) > 0):
		return failf(exitUsage, "--status only looks; run it by itself", "--status cannot be combined with --once, --also or --check")
	case f.wait < 0:
		return failf(exitUsage, "for instance --wait 60s", "--wait %v is negative", f.wait)
	case f.wait > 0 && !f.once:
		return failf(exitUsage, "add --once, or leave --wait out to run until stopped", "--wait is for --once")
	case f.json && !f.once && !f.status:
		return failf(exitUsage, "add --status or --once", "--json is for --status and --once")
	}
	conf, err := submit.LoadConfig(f.config, a.Getenv)
	if f.status {
		return a.submitStatus(f, conf, err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return failf(exitUsage, configHint, "there is no configuration %s", f.config)
	}
	if err == nil {
		err = conf.Check()
	}
	if err != nil {
		return configFailure(f.config, err)
	}
	if f.check {
		if _, err := a.openSigner(ctx, conf.Key, conf.UseLoginKey); err != nil {
			return err
		}
		fmt.Fprintf(a.Stdout, "%s is good\n", f.config)
		return nil
	}
	if conf.State == "" {
		conf.State = a.stateDir("")
	}
	s, err := submit.Open(conf, submit.Options{
		Also: f.also, Said: a.Stderr,
		Signer: func(ctx context.Context, spec string) (statement.Signer, error) {
			return a.openSigner(ctx, spec, conf.UseLoginKey)
		},
	})
	if err != nil {
		return openFailure(conf, err)
	}
	defer s.Close()
	if f.once {
		return a.submitOnce(ctx, f, conf, s)
	}
	if _, err := a.warnOfAlso(s); err != nil {
		return openFailure(conf, err)
	}
	return submitFailure(conf, s.Loop(ctx))
}

// warnOfAlso names what --also names and is nowhere, and reports whether there
// is such.
func (a *app) warnOfAlso(s *submit.Submitter) (bool, error) {
	nowhere, err := s.AlsoNowhere()
	for _, p := range nowhere {
		fmt.Fprintf(a.Stderr, "firn: warning: --also %s: no build of it was spooled, and it is not in the store\n", p)
	}
	return len(nowhere) > 0, err
}

// submitOnce runs until nothing waits, or patience is over.
func (a *app) submitOnce(ctx context.Context, f *submitFlags, conf *submit.Config, s *submit.Submitter) error {
	out, err := s.Once(ctx, f.wait)
	if err == nil && out.Waiting > 0 {
		err = out.Why
	}
	nowhere, err2 := a.warnOfAlso(s)
	if err == nil {
		err = err2
	}
	if f.json {
		v := map[string]any{"schema": 1, "sent": out.Sent, "rejected": out.Rejected, "waiting": out.Waiting}
		if err != nil {
			v["why"] = err.Error()
		}
		if err := a.writeJSON(v); err != nil {
			return err
		}
	} else if err == nil {
		fmt.Fprintf(a.Stdout, "%d sent, %d rejected, %d waiting\n", out.Sent, out.Rejected, out.Waiting)
	}
	if err != nil {
		return submitFailure(conf, err)
	}
	if out.Rejected > 0 {
		return failf(exitFailed, "`firn submit --status` says why", "the log rejected %d statements", out.Rejected)
	}
	if nowhere {
		return errSilent(exitFailed)
	}
	return nil
}

func configFailure(path string, err error) error {
	hint := "`firn submit --help` lists what a configuration may say"
	if errors.Is(err, fs.ErrPermission) {
		hint = "run it as the user who owns the configuration"
	}
	return failf(exitUsage, hint, "the configuration %s is wrong:\n%w", filepath.Clean(path), err)
}

// openFailure explains why a spool cannot be worked on.
func openFailure(conf *submit.Config, err error) error {
	var locked *durable.LockedError
	var wrong *send.ConfigError
	switch {
	case errors.As(err, &locked):
		return failf(exitFailed, "one submitter works on a spool at a time; stop that one first, or ask it with --status", "%w", err)
	case errors.As(err, &wrong):
		return failf(exitUsage, "", "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return failf(exitFailed, "run it as root or as the user whom `firn hook install --user` named", "the spool %s: %w", conf.Spool, err)
	}
	return failf(exitFailed, "", "the spool %s: %w", conf.Spool, err)
}

// submitFailure explains why builds were not sent. Nothing is lost: they wait.
func submitFailure(conf *submit.Config, err error) error {
	var known *cmdline.Failure
	var wrong *send.ConfigError
	var fork *log.ForkError
	var later *send.RejectedError
	var refused *log.RequestError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &fork):
		return failf(exitMisbehaviour, "keep that file and show it to others; nothing more is sent to this log", "%w", err)
	case errors.As(err, &known):
		return err // a key that cannot be opened, explained already
	case errors.As(err, &wrong):
		return failf(exitUsage, "", "%w", err)
	case errors.As(err, &later):
		return failf(exitFailed, rejectedHint(later.Code), "not everything was sent: %w", err)
	case errors.As(err, &refused) && refused.Code == codeFrozen:
		return failf(exitFailed, hintFrozen+"; the builds wait in "+conf.Spool, "not everything was sent: %w", err)
	case errors.Is(err, log.ErrUnreachable):
		return failf(exitFailed, "the builds wait in "+conf.Spool+" and are sent when the log can be reached", "not everything was sent: %w", err)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return failf(exitFailed, "the builds wait in "+conf.Spool+"; is Nix installed here, and may this user read its database?", "%w", err)
	}
	return failf(exitFailed, "the builds wait in "+conf.Spool, "not everything was sent: %w", err)
}

func rejectedHint(code string) string {
	switch code {
	case "unknown-key":
		return "register it first: firn operator register --identity KEY --key THIS-KEY ..."
	case "wrong-role":
		return "the configuration names an identity key; builds are signed by a build key: register it with firn operator register --identity KEY --key THIS-KEY, and name it instead"
	case "revoked-key":
		return "name another key in the configuration, after registering it; the builds wait for it"
	case "not-listed":
		return "this log takes statements only of operators that its own operator has vouched for; ask there"
	case "budget-unvouched":
		return "keys that nobody has vouched for share a small budget a day; the builds wait until tomorrow, or until somebody vouches for you"
	case "budget-key":
		return "the builds wait until tomorrow"
	}
	return "the builds wait, and are sent later"
}

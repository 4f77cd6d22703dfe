package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/tracker/eval"
	"github.com/firn-log/firn/tracker/follow"
	"github.com/firn-log/firn/tracker/store"
	"github.com/firn-log/firn/verify"
)

// flags are what all commands take that open a tracker.
type flags struct {
	config, policy, database, log, logPolicy string
	debug                                    bool
}

func (f *flags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.config, "config", "", "configuration `FILE` (default DIR/firn-tracker.toml, if it is there)")
	fl.StringVar(&f.policy, "policy", "", "policy `FILE` (default $FIRN_POLICY, firn/firn.policy in the configuration folder, /etc/firn/firn.policy)")
	fl.StringVar(&f.log, "log", "", "`URL` of a log to follow without a policy: every registered operator counts")
	fl.StringVar(&f.logPolicy, "log-policy", "", "C2SP tlog-policy `FILE` of that log")
	fl.StringVar(&f.database, "database", "", "postgres://… `ADDRESS` (default a file in DIR)")
	fl.BoolVar(&f.debug, "debug", false, "log more")
}

// settings are a checked configuration with what it names.
type settings struct {
	*config
	dir        string
	policyFile string // "" without one
	policy     *verify.Policy
	logs       []follow.Log
	names      []string // of the logs in the policy, or their URLs
}

// settings reads configuration and policies.
func (a *app) settings(f *flags, args []string) (*settings, error) {
	dir, err := a.folder(args)
	if err != nil {
		return nil, err
	}
	c, err := readConfig(f.config, dir)
	if err != nil {
		return nil, fail(exitUsage, "", err)
	}
	if f.database != "" {
		c.Database = f.database
	}
	if f.policy != "" {
		c.Policy, c.Logs = f.policy, nil
	}
	if f.log != "" || f.logPolicy != "" {
		if f.policy != "" {
			return nil, fail(exitUsage, "", errors.New("--policy says which logs are followed; give it or --log, not both"))
		}
		if f.logPolicy == "" {
			return nil, fail(exitUsage, "FILE holds the lines\n  log VKEY URL\n  quorum none\nwhere VKEY is what the log's operator publishes", errors.New("--log needs --log-policy FILE, which says whose checkpoints are believed"))
		}
		c.Policy, c.Logs = "", []logConfig{{URL: f.log, Policy: f.logPolicy}}
	}
	if err := c.check(); err != nil {
		return nil, fail(exitUsage, "", err)
	}
	s := &settings{config: c, dir: dir}
	if len(c.Logs) > 0 {
		return s, s.readLogs()
	}
	return s, a.readPolicy(s)
}

// folder returns the folder of the tracker.
func (a *app) folder(args []string) (string, error) {
	if len(args) > 0 {
		return filepath.Abs(args[0])
	}
	if dir := a.Getenv("STATE_DIRECTORY"); filepath.IsAbs(dir) {
		return dir, nil
	}
	if state := a.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "firn-tracker"), nil
	}
	if home := a.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "firn-tracker"), nil
	}
	return "", fail(exitUsage, "name a folder: firn-tracker serve DIR", errors.New("neither XDG_STATE_HOME nor HOME says where the tracker may keep its database"))
}

// policyPaths are where a policy is looked for, as firn verify does.
func (a *app) policyPaths() []string {
	if p := a.Getenv("FIRN_POLICY"); p != "" {
		return []string{p}
	}
	var paths []string
	if dir := a.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		paths = append(paths, filepath.Join(dir, "firn", "firn.policy"))
	} else if home := a.Getenv("HOME"); filepath.IsAbs(home) {
		paths = append(paths, filepath.Join(home, ".config", "firn", "firn.policy"))
	}
	return append(paths, "/etc/firn/firn.policy")
}

const hintPolicy = `a tracker needs to know which logs to follow. Either
  firn policy init                           makes a policy, which also says whom you believe; or
  firn-tracker --log URL --log-policy FILE   follows one log and counts every operator registered there
FILE holds
  log VKEY URL
  quorum none
where VKEY is what the log's operator publishes. A tracker that was started like that is asked
with the same flags, or has a [[log]] in its firn-tracker.toml`

func (a *app) readPolicy(s *settings) error {
	looked := []string{s.Policy}
	if s.Policy == "" {
		looked = a.policyPaths()
	}
	for _, path := range looked {
		pol, err := verify.LoadPolicy(path)
		var wrong verify.PolicyErrors
		switch {
		case errors.Is(err, verify.ErrNoPolicy) && s.Policy == "":
			continue
		case errors.As(err, &wrong):
			return fail(exitUsage, "firn policy check says the same", fmt.Errorf("the policy is wrong:\n%w", err))
		case err != nil:
			return fail(exitUsage, "", err)
		}
		s.policy, s.policyFile, s.logs = pol, path, follow.LogsOf(pol)
		if s.PolicyName == "" {
			s.PolicyName = filepath.Base(path)
		}
		for _, l := range pol.Logs {
			s.names = append(s.names, l.Name)
		}
		return nil
	}
	return fail(exitUsage, hintPolicy, fmt.Errorf("there is no policy in %s", strings.Join(looked, " or ")))
}

// readLogs reads the policies of logs that are followed without a firn.policy.
func (s *settings) readLogs() error {
	for _, l := range s.Logs {
		b, err := os.ReadFile(l.Policy)
		if err != nil {
			return fail(exitUsage, "", fmt.Errorf("reading the log's policy: %w", err))
		}
		pol, err := policy.Parse(b)
		if err != nil {
			return fail(exitUsage, "", fmt.Errorf("%s: %w", l.Policy, err))
		}
		origin := l.Origin
		if origin == "" && len(pol.Origins()) == 1 {
			origin = pol.Origins()[0]
		}
		url := l.URL
		if url == "" {
			url = pol.LogURL(origin)
		}
		if origin == "" || url == "" {
			return fail(exitUsage, "", fmt.Errorf("%s: it does not say which log is meant, or where it is", l.Policy))
		}
		s.logs = append(s.logs, follow.Log{Origin: origin, URL: url, Mirrors: l.Mirrors, Policy: pol})
		s.names = append(s.names, url)
	}
	return nil
}

// summary says in words what is followed.
func (s *settings) summary() string {
	judged := "every registered operator counts"
	if s.policy != nil {
		judged = "judged by " + s.policyFile
	}
	return fmt.Sprintf("logs %d (%s), %s", len(s.logs), strings.Join(s.names, ", "), judged)
}

// dsn is the address of the database.
func (s *settings) dsn() string {
	if s.Database != "" {
		return s.Database
	}
	return filepath.Join(s.dir, "tracker.db")
}

// tracker is an open tracker. Of one that only reads there is no more than db.
type tracker struct {
	*settings
	log         *slog.Logger
	lock        *durable.Lock
	db          *store.DB
	hooks       *evidence.Hooks
	follower    *follow.Follower
	evaluations *follow.Evaluations
}

// read opens the database to read it, also while a tracker serves from it or makes it again.
func (s *settings) read(ctx context.Context, logger *slog.Logger) (*tracker, error) {
	db, err := store.OpenReader(ctx, s.dsn(), s.storeOptions(logger))
	if err != nil {
		return nil, s.notOpen(err)
	}
	return &tracker{settings: s, log: logger, db: db}, nil
}

func (s *settings) storeOptions(logger *slog.Logger) store.Options {
	return store.Options{Policy: s.policy, PolicyName: s.PolicyName, Random: s.Random, Log: logger}
}

// notOpen says what to do about a database that does not open.
func (s *settings) notOpen(err error) error {
	switch {
	case errors.Is(err, store.ErrConfiguration):
		return fail(exitUsage, "name the policy that it was filled under with --policy or --log-policy, or run: firn-tracker rebuild", err)
	case isPostgres(s.dsn()):
		return fail(exitFailed, "does PostgreSQL run there, and do user and database exist? createuser and createdb make them", err)
	}
	return fail(exitFailed, "", err)
}

// open takes the folder, opens the database and what is known of the logs. What the database
// holds is dropped if fresh is set, or it was filled under another configuration.
func (s *settings) open(ctx context.Context, logger *slog.Logger, fresh bool) (*tracker, error) {
	if err := durable.MkdirAll(s.dir, 0o750); err != nil {
		return nil, fail(exitFailed, "", err)
	}
	lock, err := durable.Acquire(filepath.Join(s.dir, "lock"))
	if held := (*durable.LockedError)(nil); errors.As(err, &held) {
		return nil, fail(exitFailed, fmt.Sprintf("stop process %d first; one folder has one tracker", held.PID), err)
	}
	if err != nil {
		return nil, fail(exitFailed, "", err)
	}
	t := &tracker{settings: s, log: logger, lock: lock}
	if err := t.fill(ctx, fresh); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *tracker) fill(ctx context.Context, fresh bool) error {
	var err error
	t.db, err = store.Open(ctx, t.dsn(), t.storeOptions(t.log))
	if errors.Is(err, store.ErrConfiguration) && t.db != nil {
		if !fresh {
			t.log.Warn("the policy or the configuration has changed: the database is made again from the logs")
		}
		fresh, err = true, nil
	}
	if err == nil && fresh {
		err = t.db.Reset(ctx)
	}
	if err != nil {
		return t.notOpen(err)
	}
	if t.hooks, err = evidence.NewHooks(t.Evidence, t.log); err != nil {
		return fail(exitUsage, "", err)
	}
	db := follow.Database{DB: t.db}
	t.follower, err = follow.New(ctx, follow.Options{Logs: t.logs, Store: db, Dir: t.dir, Logger: t.log, Poll: t.Poll.Duration, Found: t.hooks.Run})
	if err != nil {
		return fail(exitFailed, "", err)
	}
	t.evaluations = &follow.Evaluations{Folder: eval.NewFolder(filepath.Join(t.dir, "evals")), Store: db, Logger: t.log}
	return nil
}

// Close closes what open opened, as far as it came.
func (t *tracker) Close() error {
	var errs []error
	if t.follower != nil {
		errs = append(errs, t.follower.Close())
	}
	if t.db != nil {
		errs = append(errs, t.db.Close())
	}
	if t.lock != nil {
		errs = append(errs, t.lock.Unlock())
	}
	return errors.Join(errs...)
}

// status is the exit status of an error of a replay.
func status(err error) int {
	if fork := (*log.ForkError)(nil); errors.As(err, &fork) {
		return exitMisbehaviour
	}
	return exitFailed
}

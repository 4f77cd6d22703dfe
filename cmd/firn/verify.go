package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/verify"
	"github.com/firn-log/firn/verify/closure"
)

// currentSystem is what `firn verify` checks if nothing is named.
const currentSystem = "/run/current-system"

type verifyFlags struct {
	policy, store, storeDir, state, explain, bundle, cache string
	rehash, full, all, json                                bool
}

// add adds the flags that say whom to ask, of which store.
func (f *verifyFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.policy, "policy", "", "policy `FILE` (default $FIRN_POLICY, firn/firn.policy in the configuration folder, /etc/firn/firn.policy)")
	flags.StringVar(&f.store, "store", "", "`ROOT` of a private store, as in nix --store ROOT")
	flags.StringVar(&f.storeDir, "store-dir", string(nix.DefaultStoreDir), "`FOLDER` that store paths begin with")
	flags.StringVar(&f.state, "state", "", "`FOLDER` for what is remembered (default firn in the state folder)")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
}

func newVerifyCmd(a *app) *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify [PATH...]",
		Short: "Check paths and everything they need against what builders logged",
		Long: `Verify asks the logs of your policy who built each path in the closure of PATH,
and judges: trusted, untrusted, contradicted or inconclusive.

PATH is a store path, a link to one such as ./result or a profile, or a .drv,
which stands for its outputs; without any it is ` + currentSystem + `. What is judged
is the path, its NAR hash, size and references as the Nix database has them;
--rehash reads the content too.

A .drv of which nothing is built yet is judged by what the logs say its outputs
are, and the answer names the NAR hash that is trusted. For a flake:

  firn verify $(nix path-info --derivation .#hello)

--cache URL judges what a binary cache would give you, before you download it: of
the cache only narinfos are read.

Exit status: 0 all trusted, 1 it could not be done, 2 usage or policy, 3
untrusted or contradicted, 4 inconclusive, 5 a log was caught.`,
		Example: `  firn verify ./result
  firn verify --rehash --json /nix/store/...-hello-2.12.1
  firn verify --explain hello-2.12.1 ./result
  firn verify --cache https://cache.nixos.org /nix/store/...-hello-2.12.1`,
		RunE: func(c *cobra.Command, args []string) error { return a.verify(c.Context(), &f, args) },
	}
	flags := c.Flags()
	f.add(flags)
	flags.BoolVar(&f.rehash, "rehash", false, "read all content and compare it with the database")
	flags.BoolVar(&f.full, "full", false, "read the whole log, so that nothing can be left out")
	flags.StringVar(&f.bundle, "bundle", "", "ask this `FILE`, made by firn bundle, in place of the logs, and no network")
	flags.BoolVar(&f.all, "all", false, "list every path, however many there are")
	flags.StringVar(&f.cache, "cache", "", "judge what the binary cache at this `URL` has, and download nothing")
	flags.StringVar(&f.explain, "explain", "", "say in words what the verdict about `PATH` of the closure rests on")
	return c
}

func (a *app) verify(ctx context.Context, f *verifyFlags, args []string) error {
	pol, err := a.loadPolicy(f.policy)
	if err != nil {
		return err
	}
	if args, err = f.targets(args); err != nil {
		return err
	}
	var bundle *log.Bundle
	if f.bundle != "" {
		if f.full {
			return failf(exitUsage, "leave one of them out", "--full reads the logs, and --bundle asks none")
		}
		if bundle, err = readBundle(f.bundle); err != nil {
			return err
		}
	}
	subjects, cached, err := a.subjects(ctx, f, pol, args)
	if err != nil {
		return err
	}
	report, err := a.decide(ctx, f, pol, bundle, subjects)
	if err != nil {
		return err
	}
	report.Cache = cached
	return a.showReport(f, report)
}

// subjects are what the flags say is to be judged; the report is nil without --cache.
func (a *app) subjects(ctx context.Context, f *verifyFlags, pol *verify.Policy, args []string) ([]verify.Subject, *verify.CacheReport, error) {
	if f.cache != "" {
		return a.cacheSubjects(ctx, f, pol, args)
	}
	store, err := a.openStore(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	defer store.Source.Close()
	subjects, err := store.Subjects(ctx, args)
	if err != nil {
		return nil, nil, closureFailure(err)
	}
	if err := store.AddFacts(ctx, pol, subjects); err != nil {
		return nil, nil, failf(exitFailed, "", "finding out what the rules ask for: %w", err)
	}
	if f.rehash {
		progress := a.progress()
		err := store.Rehash(ctx, subjects, func(done, total uint64) { progress.show("reading content", done, total) })
		progress.clear()
		if err != nil {
			return nil, nil, failf(exitFailed, "", "rehashing: %w", err)
		}
	}
	return subjects, nil, nil
}

func (a *app) openStore(ctx context.Context, f *verifyFlags) (*closure.Store, error) {
	store, err := closure.Open(ctx, f.store, nix.StoreDir(f.storeDir))
	if err != nil {
		return nil, failf(exitFailed, "firn reads the database of a Nix store on this machine; name another one with --store", "opening the Nix store: %w", err)
	}
	return store, nil
}

// decide asks the logs, or the bundle if it is not nil.
func (a *app) decide(ctx context.Context, f *verifyFlags, pol *verify.Policy, bundle *log.Bundle, subjects []verify.Subject) (*verify.Report, error) {
	if err := a.loadHooks(); err != nil {
		return nil, err
	}
	progress := a.progress()
	progress.say(fmt.Sprintf("asking about %s", plural(uint64(len(subjects)), "path", "paths")))
	report, err := verify.Verify(ctx, pol, subjects, verify.Options{
		StateDir: a.stateDir(f.state), Bundle: bundle, Full: f.full, OnEvidence: a.hooks.Run,
		Progress: func(name string, done, total uint64) { progress.show("reading log "+name, done, total) },
	})
	progress.clear()
	if err != nil {
		return nil, f.failure(err)
	}
	return report, nil
}

func (f *verifyFlags) targets(args []string) ([]string, error) {
	if len(args) == 0 && strings.Contains(f.explain, "/") {
		return []string{f.explain}, nil
	}
	return targets(args, "nothing to verify", "firn verify ./result")
}

// targets are the paths that args name, or this system.
func targets(args []string, nothing, instance string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	if _, err := os.Stat(currentSystem); err != nil {
		return nil, failf(exitUsage, "for instance `"+instance+"`", "%s: name a path (there is no %s here)", nothing, currentSystem)
	}
	return []string{currentSystem}, nil
}

// loadPolicy reads the policy that a command needs; without one nothing can be
// trusted.
func (a *app) loadPolicy(path string) (*verify.Policy, error) {
	looked := []string{path}
	if path == "" {
		looked = a.policyPaths()
	}
	for _, p := range looked {
		pol, err := verify.LoadPolicy(p)
		var wrong verify.PolicyErrors
		switch {
		case errors.Is(err, verify.ErrNoPolicy):
			continue
		case errors.As(err, &wrong):
			return nil, failf(exitUsage, "correct the policy; its language is described in spec/policy.md", "the policy is wrong:\n%w", err)
		case err != nil:
			return nil, failf(exitUsage, "", "%w", err)
		}
		return pol, nil
	}
	hint := fmt.Sprintf("`firn policy init` makes one, or write it to %s; it says whom you believe:"+`
  log main file main.policy url https://log.example
  operator alice id <id that "firn operator show" prints>
  group builders any alice
  rule default need builders`, looked[0])
	return nil, failf(exitUsage, hint, "there is no policy in %s", strings.Join(looked, " or "))
}

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

// stateDir returns where this person's state is, "" for nowhere.
func (a *app) stateDir(flag string) string {
	if flag != "" {
		return flag
	}
	dir, err := log.DefaultMemoryDir(a.Getenv)
	if err != nil {
		fmt.Fprintf(a.Stderr, "firn: warning: %v; nothing is remembered, name a folder with --state\n", err)
	}
	return dir
}

func closureFailure(err error) error {
	return failf(exitFailed, closureHint(err), "finding what to verify: %w", err)
}

// closureHint is for somebody whose paths are not found.
func closureHint(err error) string {
	switch {
	case errors.Is(err, nixdb.ErrNotValid):
		return "build it or fetch it first; only what is in the store can be looked at"
	case errors.Is(err, closure.ErrNotInStore), errors.Is(err, os.ErrNotExist):
		return "name a store path, a link to one, or a .drv; a private store is named with --store"
	}
	return ""
}

func (f *verifyFlags) failure(err error) error {
	var refused *verify.RefusedError
	switch {
	case errors.As(err, &refused) && f.bundle != "":
		return failf(exitFailed, "somebody has changed the bundle since it was made, or it is damaged: make it again with `firn bundle`", "%w", err)
	case errors.As(err, &refused):
		return failf(exitFailed, "the log, or somebody on the way to it, gave an answer that does not fit its signed checkpoint; tell its operator, or name a mirror of it in the policy: log NAME file FILE mirror URL", "%w", err)
	}
	return failf(exitFailed, "", "verifying: %w", err)
}

// warnOf writes what every report says on stderr.
func (a *app) warnOf(r *verify.Report) {
	for _, w := range r.Warnings {
		fmt.Fprintf(a.Stderr, "firn: warning: %s\n", w)
	}
	for _, l := range r.Logs {
		if l.Evidence != "" {
			fmt.Fprintf(a.Stderr, "firn: error: log %s showed two histories; the signed proof is in %s\n", l.Name, l.Evidence)
			fmt.Fprintf(a.Stderr, "firn: hint: keep that file and show it to others: it convicts the log by itself\n")
		}
		if f := l.IndexFault; f != nil {
			fmt.Fprintf(a.Stderr, "firn: error: %s; the signed proof is in %s\n", l.IndexWords(), f.File)
			fmt.Fprintf(a.Stderr, "firn: hint: keep that file and show it to others; --full reads the log without its index\n")
		}
	}
}

// showReport writes a report and returns the exit status as an error.
func (a *app) showReport(f *verifyFlags, r *verify.Report) error {
	a.warnOf(r)
	var err error
	switch {
	case f.json:
		err = r.WriteJSON(a.Stdout)
	case f.explain != "":
		err = a.explain(f.explain, r)
	default:
		err = r.WriteTable(a.Stdout, f.all)
	}
	if err != nil {
		return err
	}
	if code := r.ExitStatus(); code != exitOK {
		return errSilent(code)
	}
	return nil
}

func (a *app) explain(what string, r *verify.Report) error {
	found := r.Find(what)
	if len(found) == 0 {
		return failf(exitUsage, "without --explain every path is listed", "no path of the closure is called %s", what)
	}
	for i, p := range found {
		if i > 0 {
			fmt.Fprintln(a.Stdout)
		}
		if err := r.Explain(a.Stdout, p); err != nil {
			return err
		}
	}
	return nil
}

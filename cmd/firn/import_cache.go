package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/cmdline"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

type importCacheFlags struct {
	logFlags
	from, key, config                                     string
	keys, realisations                                    []string
	all, recheck, nars, observed, useLogin, check, asJSON bool
	jobs                                                  int
	rate                                                  float64
	every                                                 time.Duration
}

func newImportCacheCmd(a *app) *cobra.Command {
	var f importCacheFlags
	c := &cobra.Command{
		Use:   "cache [URL] [PATH...]",
		Short: "Log the signatures that a binary cache has made",
		Long: `Import reads the narinfos of PATH and of everything that it needs from the binary
cache at URL (http, https, or file:///FOLDER), verifies each signature by a key
that --trusted-key lists, and sends it to a log. There are no default keys, and
the log must list them too. PATH is a store path, or a link to one.

What was brought is remembered in the state folder and not asked for again; a run
that was interrupted is resumed by the next one.

` + realisationHelp + `

With --config FILE it imports several caches, and with --every again and again:
  log, log-policy, origin, state, [evidence]   as in firn submit
  every         pause between two rounds, "1h" (default: one round)
  jobs          narinfos asked for at once (default 16)
  observed      true makes observed statements too, signed by
  key           file:PATH, agent:WHICH or ssh-keygen:PATH
  [[cache]]     for each cache:
    url, trusted-keys = ["NAME:BASE64"]
    paths       list of store paths
    roots       list of files with store paths, read in each round
    all         true for everything in a cache that is a folder
    rate        requests a second at most
    check-nars  true reads and hashes the NARs of new paths

Exit status: 0 it is in the log, 1 something is not, 2 usage or configuration, 3
a signature was wrong, a NAR differs, or a key signed two contents for a path, 5
the log was caught with two histories.`,
		Example: `  firn import cache https://cache.example --from paths --trusted-key cache.example-1:... --log main
  firn import cache file:///srv/cache --all --trusted-key mine-1:... --log main
  firn import cache --config import.toml --every 1h`,
		RunE: func(c *cobra.Command, args []string) error { return a.importCache(c.Context(), &f, args) },
	}
	flags := c.Flags()
	f.add(flags)
	flags.StringVar(&f.from, "from", "", "`FILE` with a store path in each line, - for stdin")
	flags.BoolVar(&f.all, "all", false, "everything in a cache that is a folder")
	flags.StringArrayVar(&f.keys, "trusted-key", nil, "Nix `KEY`, name:base64, whose signatures are sent (may be repeated)")
	flags.BoolVar(&f.recheck, "recheck", false, "ask again for paths that were brought before")
	flags.BoolVar(&f.nars, "check-nars", false, "read the NAR of each path that is asked for, and compare its hash")
	flags.BoolVar(&f.observed, "observed", false, "also state what was seen beside the signature, signed by --key")
	flags.StringArrayVar(&f.realisations, "realisation", nil, "also what was signed about the realisation `ID` (may be repeated)")
	flags.StringVar(&f.key, "key", "", "build `KEY` that signs with --observed and --realisation")
	flags.BoolVar(&f.useLogin, "use-login-key", false, "allow keys that also log you in somewhere")
	flags.IntVar(&f.jobs, "jobs", cache.DefaultJobs, "how many narinfos are asked for at once")
	flags.Float64Var(&f.rate, "rate", 0, "`N` requests a second at most; negative for no bound (default 500, no bound for a cache on this machine)")
	flags.StringVar(&f.config, "config", "", "import what this `FILE` says")
	flags.DurationVar(&f.every, "every", 0, "with --config: the pause between two rounds")
	flags.BoolVar(&f.check, "check", false, "with --config: check it, and do nothing")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON object (with --every: one per cache and round)")
	return c
}

// importJob is one cache to import.
type importJob struct {
	url    string
	roots  func() (cache.Roots, error)
	client bincache.ClientOptions
	cache.Options

	realisations []bincache.RealisationID
	signer       statement.Signer // of their statements
}

func (a *app) importCache(ctx context.Context, f *importCacheFlags, args []string) error {
	if f.config != "" {
		return a.importConfigured(ctx, f, args)
	}
	job, err := a.importJobOf(f, args)
	if err != nil {
		return err
	}
	at, err := a.resolveLog(&f.logFlags)
	if err != nil {
		return err
	}
	client, err := a.newClient(&f.logFlags, at, log.Options{UserAgent: "firn-import"})
	if err != nil {
		return err
	}
	// A log that is not there, or not the one of the policy, is waited for only once
	// something was asked of the cache for it.
	if _, err := client.Checkpoint(ctx); err != nil {
		return logFailure("asking the log "+at.url, err)
	}
	to := send.Open(&send.Config{Key: f.key}, a.sendOptions(client, f.useLogin))
	if f.key != "" {
		if job.signer, err = to.Signer(ctx); err != nil {
			return importFailure(err)
		}
	}
	if f.observed {
		job.Observer = job.signer
	}
	sum, err := a.importOne(ctx, to, a.stateDir(f.state), job)
	if f.asJSON && sum != nil {
		if err := a.writeImport(sum, err); err != nil {
			return err
		}
	} else if sum != nil {
		a.printImport(sum)
	}
	if err != nil {
		return importFailure(err)
	}
	return importVerdict(sum)
}

// importJobOf reads the flags of a run without a configuration.
func (a *app) importJobOf(f *importCacheFlags, args []string) (*importJob, error) {
	usage := func(hint, format string, args ...any) (*importJob, error) {
		return nil, failf(exitUsage, hint, format, args...)
	}
	switch {
	case len(args) == 0:
		return usage("firn import cache URL PATH... --trusted-key KEY", "name a cache, or a configuration with --config")
	case f.every != 0 || f.check:
		return usage("name one with --config FILE", "--every and --check are for a configuration")
	case len(f.realisations) > 0 && f.key == "":
		return usage("the build key that --key names signs the statements about them", "--realisation needs --key")
	case f.observed != (f.key != "") && len(f.realisations) == 0:
		return usage("the build key that --key names signs what --observed says", "--observed and --key belong together")
	case f.jobs < 1 || f.jobs > cache.MaxJobs:
		return usage("", "--jobs %d is not between 1 and %d", f.jobs, cache.MaxJobs)
	case f.all && !strings.HasPrefix(args[0], "file:"):
		return usage("name store paths; a folder is named file:///FOLDER", "--all: only a cache in a folder, file:///FOLDER, can be listed")
	case f.observed && strings.HasPrefix(args[0], "file:"):
		return usage("leave --observed out", "a cache in a folder has no address that an observed statement could name")
	}
	if err := bincache.CheckURL(args[0]); err != nil {
		return usage("", "%w", err)
	}
	keys, err := cache.ParseKeys(f.keys)
	if err != nil {
		return usage(`it looks like cache.example-1:BASE64; of a file: --trusted-key "$(cat FILE)"`, "--trusted-key %w", err)
	}
	if len(keys) == 0 {
		return usage("there is no default; the cache's operator publishes its key, as for trusted-public-keys in nix.conf", "no key is trusted: name those of the cache with --trusted-key")
	}
	roots, err := a.importRoots(f, args[1:])
	if err != nil {
		return usage("", "%w", err)
	}
	realisations, err := parseRealisations(f.realisations)
	if err != nil {
		return nil, err
	}
	if len(roots.Paths) == 0 && !roots.All && len(realisations) == 0 {
		return usage("name store paths, or a file of them with --from, or --all for a cache in a folder", "there is nothing to import")
	}
	return &importJob{
		url: args[0], roots: func() (cache.Roots, error) { return roots, nil }, client: bincache.ClientOptions{Rate: f.rate},
		Options: cache.Options{Keys: keys, Jobs: f.jobs, Recheck: f.recheck, CheckNars: f.nars}, realisations: realisations,
	}, nil
}

func (a *app) importRoots(f *importCacheFlags, args []string) (cache.Roots, error) {
	roots := cache.Roots{All: f.all}
	for _, arg := range args {
		p, err := rootOf(arg)
		if err != nil {
			return roots, err
		}
		roots.Paths = append(roots.Paths, p)
	}
	if f.from == "" {
		return roots, nil
	}
	in, name := a.Stdin, "stdin"
	if f.from != "-" {
		file, err := os.Open(f.from)
		if err != nil {
			return roots, err
		}
		defer file.Close()
		in, name = file, f.from
	}
	paths, err := cache.ReadPaths(in, name)
	roots.Paths = append(roots.Paths, paths...)
	return roots, err
}

// rootOf reads a store path, or follows a link to one.
func rootOf(arg string) (nix.StorePath, error) {
	p, err := nix.ParseStorePath(arg)
	if err == nil {
		return p, nil
	}
	if at, err := os.Readlink(arg); err == nil {
		if p, err := nix.ParseStorePath(at); err == nil {
			return p, nil
		}
	}
	return p, fmt.Errorf("%q is neither a store path nor a link to one", arg)
}

// importOne imports one cache once. The summary is nil if nothing was begun.
func (a *app) importOne(ctx context.Context, to *send.Log, state string, job *importJob) (*cache.Summary, error) {
	client, err := to.Client()
	if err != nil {
		return nil, err
	}
	roots, err := job.roots()
	if err != nil {
		return nil, &send.ConfigError{Err: err}
	}
	show := a.newImportShow()
	defer show.clear()
	st, err := cache.OpenState(importState(state, client))
	if err != nil {
		return nil, err
	}
	if st.Dropped > 0 {
		show.warn(fmt.Sprintf("the last import ended while it wrote: its last %d bytes are dropped and brought again", st.Dropped))
	}
	job.client.OnTrouble = show.trouble
	c, err := bincache.Open(ctx, job.url, job.client)
	if err != nil {
		if ctx.Err() == nil {
			err = failf(exitFailed, "URL is the address that substituters of nix.conf have, or file:///FOLDER", "nothing was imported: %w", err)
		}
		return nil, errors.Join(err, st.Close())
	}
	o := job.Options
	o.Log, o.OnProblem, o.Progress = to, show.problem, show.far
	sum, err := cache.Import(ctx, c, st, roots, o)
	if err == nil {
		err = importRealisations(ctx, c, job, o, sum)
	}
	show.end(sum)
	if err2 := st.Close(); err == nil {
		err = err2
	}
	return sum, err
}

// importState is the folder of what was imported into a log.
func importState(state string, client *log.Client) string {
	return filepath.Join(state, "import", strings.ReplaceAll(client.Origin(), "/", "+"))
}

// importFailure explains an import that could not be finished. Nothing is lost.
func importFailure(err error) error {
	const again = "what was brought is kept; run it again to go on from there"
	var known *cmdline.Failure
	var locked *durable.LockedError
	var conf *send.ConfigError
	var refused *cache.RefusedError
	var later *send.RejectedError
	switch {
	case errors.Is(err, context.Canceled):
		return failf(exitFailed, again, "interrupted")
	case errors.As(err, &known):
		return known
	case errors.As(err, &locked):
		return failf(exitFailed, "one import into a log works at a time; wait for that one", "%w", err)
	case errors.As(err, &refused):
		return failf(exitFailed, "ask the log's operator to list the cache's key (cache-keys in firn-log.toml), or add it to your own with firn operator register", "%w", err)
	case errors.As(err, &later):
		return failf(exitFailed, rejectedHint(later.Code), "not everything was sent: %w", err)
	case errors.As(err, &conf):
		return failf(exitUsage, "", "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return failf(exitFailed, "", "%w", err)
	}
	if fork := send.ForkOf(err); fork != nil {
		return logFailure("importing", err)
	}
	return failf(exitFailed, again, "not everything was brought: %w", err)
}

// importVerdict is the status of a run that came to its end.
func importVerdict(s *cache.Summary) error {
	n := s.Troubles
	switch {
	case n[cache.Lie] > 0 && n[cache.Contradiction] == 0 && s.Fetched > 0 && s.NoSignature == s.Fetched:
		return failf(exitUntrusted, "are the listed keys those of this cache?", "no signature by a listed key is right, so nothing was sent")
	case n[cache.Lie]+n[cache.Contradiction] > 0:
		return errSilent(exitUntrusted)
	case n[cache.Failed]+n[cache.Rejected]+n[cache.SetAside] > 0:
		return errSilent(exitFailed)
	case s.Fetched > 0 && s.NoSignature == s.Fetched && len(s.Unlisted) > 0:
		return failf(exitFailed, "name them with --trusted-key, or trusted-keys, if you mean them: "+strings.Join(s.UnlistedNames(), ", "),
			"no signature was by a listed key, so nothing was sent")
	}
	return nil
}

func (a *app) sendOptions(client *log.Client, useLogin bool) send.Options {
	return send.Options{
		Client: client, UserAgent: "firn-import",
		Signer: func(ctx context.Context, spec string) (statement.Signer, error) {
			return a.openSigner(ctx, spec, useLogin)
		},
		OnTrouble: func(err error, pause time.Duration) {
			fmt.Fprintf(a.Stderr, "firn: warning: the log: %v; trying again in %v\n", err, pause.Round(time.Second))
		},
	}
}

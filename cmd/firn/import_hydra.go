package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/ingest/hydra"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/log"
)

type importHydraFlags struct {
	logFlags
	conf                            hydra.Config
	jobset                          hydra.JobsetConfig
	config                          string
	event, useLogin, check, recheck bool
	asJSON                          bool
	every                           time.Duration
}

func newImportHydraCmd(a *app) *cobra.Command {
	var f importHydraFlags
	c := &cobra.Command{
		Use:   "hydra [URL PROJECT/JOBSET]",
		Short: "Log what a Hydra evaluated and built",
		Long: `Import asks the Hydra at URL for the evaluations of a jobset and for their builds,
imports the closures of what was built from the binary cache at --cache, as firn
import cache does, and then states each evaluation: which derivations it asked for
(eval) and which outputs came out (closure).

A Hydra signs nothing. What its cache has signed is sent as the cache's word. The
eval and closure statements are your own claims, about what the Hydra told you:
they are signed by --key, a build key of yours.

Evaluations with builds that have not ended wait, and so do those whose outputs the
cache does not have yet, for a week. What was stated is remembered in the state
folder; a run that was interrupted is resumed by the next one.

A Hydra can also push. With this in hydra.conf every build that succeeds leaves an
event in a spool, which a run with --spool imports; it never fails the Hydra:
  <runcommand>
    job = *:*:*
    command = firn import hydra --event --spool /var/spool/firn-hydra
  </runcommand>

With --config FILE it imports several jobsets, and with --every again and again:
  log, log-policy, origin, key, use-login-key, state, [evidence]   as in firn submit
  every         pause between two rounds, "10m" (default: one round)
  cache, trusted-keys = ["NAME:BASE64"]   where the outputs are
  cache-rate    requests a second that the cache gets at most
  jobs          narinfos asked for at once (default 16)
  spool         folder with events
  [[jobset]]    for each jobset:
    url, jobset = "PROJECT/JOBSET"
    since       number of the first evaluation that is wanted
    max-evals   evaluations in a round at most, the newest first
    rate        requests a second that the Hydra gets at most (default 2)

Exit status: 0 it is in the log, or waits; 1 something is not, 2 usage or
configuration, 3 a signature was wrong, or a key signed two contents for a path, 5
the log was caught with two histories. With --event 0, whatever happens, unless
the command itself is wrong.`,
		Example: `  firn import hydra https://hydra.example nixpkgs/trunk --cache https://cache.example \
    --trusted-key cache.example-1:... --key build.key --max-evals 5 --log main
  firn import hydra --config hydra.toml --every 10m`,
		RunE: func(c *cobra.Command, args []string) error { return a.importHydra(c.Context(), &f, args) },
	}
	flags := c.Flags()
	f.add(flags)
	flags.StringVar(&f.conf.Cache, "cache", "", "`URL` of the binary cache that has what the jobset builds")
	flags.StringArrayVar(&f.conf.TrustedKeys, "trusted-key", nil, "Nix `KEY`, name:base64, whose signatures are sent (may be repeated)")
	flags.StringVar(&f.conf.Key, "key", "", "build `KEY` that signs the eval and closure statements")
	flags.BoolVar(&f.useLogin, "use-login-key", false, "allow keys that also log you in somewhere")
	flags.Uint64Var(&f.jobset.Since, "since", 0, "`NUMBER` of the first evaluation that is wanted")
	flags.IntVar(&f.jobset.MaxEvals, "max-evals", 0, "import at most `N` evaluations, the newest first, and leave others for later runs")
	flags.Float64Var(&f.jobset.Rate, "rate", 0, "requests a `SECOND` that the Hydra gets at most; negative for no bound (default 2, no bound on this machine)")
	flags.IntVar(&f.conf.Jobs, "jobs", cache.DefaultJobs, "how many narinfos are asked for at once")
	flags.BoolVar(&f.recheck, "recheck", false, "ask the cache again for paths that were brought before")
	flags.StringVar(&f.conf.Spool, "spool", "", "`FOLDER` with events to import, or with --event to leave one in")
	flags.BoolVar(&f.event, "event", false, "leave the event that HYDRA_JSON names in the spool, and do nothing else")
	flags.StringVar(&f.config, "config", "", "import what this `FILE` says")
	flags.DurationVar(&f.every, "every", 0, "with --config: the pause between two rounds")
	flags.BoolVar(&f.check, "check", false, "with --config: check it, and do nothing")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON object for each jobset, and one for the spool, in each round")
	return c
}

func (a *app) importHydra(ctx context.Context, f *importHydraFlags, args []string) error {
	switch {
	case f.event:
		return a.hydraEvent(f, args)
	case f.config != "":
		return a.importHydraConfigured(ctx, f, args)
	case f.every != 0 || f.check:
		return failf(exitUsage, "name one with --config FILE", "--every and --check are for a configuration")
	}
	if err := f.one(args); err != nil {
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
	f.conf.State = a.stateDir(f.state)
	to := send.Open(&f.conf.Config, a.sendOptions(client, f.useLogin))
	return a.hydraRounds(ctx, f, &f.conf, to, 0)
}

// one makes the flags of a run without a configuration one.
func (f *importHydraFlags) one(args []string) error {
	switch {
	case len(args) != 2 && len(args) != 0 || len(args) == 0 && f.conf.Spool == "":
		return failf(exitUsage, "firn import hydra URL PROJECT/JOBSET --cache URL --trusted-key KEY --key KEY", "name a Hydra and one of its jobsets, a spool with --spool, or a configuration with --config")
	case f.jobset.MaxEvals < 0:
		return failf(exitUsage, "", "--max-evals %d is negative", f.jobset.MaxEvals)
	case f.conf.Cache == "":
		return failf(exitUsage, "a Hydra knows no hashes: name the binary cache that has what it built with --cache URL", "there is no cache to import from")
	case len(f.conf.TrustedKeys) == 0:
		return failf(exitUsage, "there is no default; the cache's operator publishes its key, as for trusted-public-keys in nix.conf", "no key is trusted: name those of the cache with --trusted-key")
	case len(args) == 2 && f.conf.Key == "":
		return failf(exitUsage, "name your build key with --key; firn key new makes one", "eval and closure statements are your claims, and nothing signs them")
	case f.conf.Jobs < 1:
		return failf(exitUsage, "", "--jobs %d is not between 1 and %d", f.conf.Jobs, cache.MaxJobs)
	}
	if len(args) == 2 {
		f.jobset.URL, f.jobset.Jobset = args[0], args[1]
		f.conf.Jobsets = []hydra.JobsetConfig{f.jobset}
	}
	if err := f.conf.CheckSources(); err != nil {
		return failf(exitUsage, "", "%w", err)
	}
	return nil
}

// hydraEvent leaves an event in the spool. It runs inside a Hydra, whose builds are
// none of its business: whatever goes wrong is told and no failure.
func (a *app) hydraEvent(f *importHydraFlags, args []string) error {
	path := a.Getenv("HYDRA_JSON")
	switch {
	case len(args) > 0 || f.config != "" || f.conf.Cache != "":
		return failf(exitUsage, "firn import hydra --event --spool FOLDER", "--event takes a spool and nothing else")
	case f.conf.Spool == "":
		return failf(exitUsage, "name the folder with --spool", "there is no spool to leave the event in")
	case path == "":
		return failf(exitUsage, "it is for a <runcommand> in hydra.conf, which names the event in HYDRA_JSON", "HYDRA_JSON is not set")
	}
	e, err := hydra.ReadEvent(path)
	if err == nil && e != nil {
		err = e.Put(f.conf.Spool)
	}
	if err != nil {
		fmt.Fprintf(a.Stderr, "firn: warning: the event is lost: %v\n", err)
	}
	return nil
}

func (a *app) importHydraConfigured(ctx context.Context, f *importHydraFlags, args []string) error {
	c := &f.conf
	switch {
	case len(args) > 0 || c.Cache != "" || len(c.TrustedKeys) > 0 || c.Key != "" || c.Spool != "" || f.jobset != (hydra.JobsetConfig{}) || f.url != "" || f.policy != "":
		return failf(exitUsage, "write it into "+f.config, "--config says which jobsets, cache, keys and log")
	case f.every < 0:
		return failf(exitUsage, "for instance --every 10m", "--every %v is negative", f.every)
	}
	conf, err := hydra.LoadConfig(f.config)
	if errors.Is(err, fs.ErrNotExist) {
		return failf(exitUsage, "`firn import hydra --help` lists what it says", "there is no configuration %s", f.config)
	}
	if err == nil {
		err = conf.Check()
	}
	if err != nil {
		return failf(exitUsage, "`firn import hydra --help` lists what a configuration may say", "the configuration %s is wrong:\n%w", f.config, err)
	}
	if conf.Spool != "" {
		if st, err := os.Stat(conf.Spool); err != nil || !st.IsDir() {
			return failf(exitUsage, "make it, and let the Hydra write there", "the spool %s is no folder", conf.Spool)
		}
	}
	if conf.State == "" {
		conf.State = a.stateDir(f.state)
	}
	to := send.Open(&conf.Config, a.sendOptions(nil, conf.UseLoginKey))
	defer to.Close()
	if f.check {
		if len(conf.Jobsets) > 0 {
			if _, err := to.Signer(ctx); err != nil {
				return importFailure(err)
			}
		}
		fmt.Fprintf(a.Stdout, "%s is good\n", f.config)
		return nil
	}
	every := conf.Every.Duration
	if f.every > 0 {
		every = f.every
	}
	return a.hydraRounds(ctx, f, conf, to, every)
}

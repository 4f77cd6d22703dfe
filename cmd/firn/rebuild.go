package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/ingest/rebuild"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
)

type rebuildFlags struct {
	config, work, spool, against string
	list                         string
	fromLog, againstLog          bool
	pick                         int
	jobs, cores                  int
	timeout, maxSilent           time.Duration
	maxDisk, minFree, maxLog     byteSize
	memory                       byteSize
	fod, again, check            bool
	checkConfig                  bool
	noDiffoscope, blobs, json    bool
	substituters                 []string
	log                          logFlags
}

func newRebuildCmd(a *app) *cobra.Command {
	f := rebuildFlags{
		pick: rebuild.DefaultPick, jobs: 1, timeout: rebuild.DefaultTimeout, maxLog: rebuild.DefaultMaxLog, minFree: rebuild.DefaultMinFree,
	}
	c := &cobra.Command{
		Use:   "rebuild [PATH|DRV ...]",
		Short: "Build derivations again from clean and compare what comes out",
		Long: `Rebuild builds each derivation in a private store that holds nothing but its inputs,
read-only, and compares every output with what the local store has. Of a PATH the
derivation of each path in its closure is rebuilt, of a DRV that one. Inputs that
are not in the store are substituted into the work folder.

What was found is stated: a build, a failure, and for each output that differs the
files. With a spool (--spool, or spool in the configuration) firn submit signs and
sends these statements; otherwise they stay in the work folder. What you name here and
have sent there is public.

--from-log takes what operators ask for in the log, of those that work-from in the
configuration names; what nobody of them asked for is refused.

A rebuild that is stopped goes on where it was when the same is started again; what is
done is only compared again (--again builds it, too). What was found without a spool is
handed to one when the same is started again with one.

The configuration is TOML, and says what flags do not:
  log, log-policy, origin, state, [evidence]   the log, as in firn submit
  work-from     list of the ids of operators whose eval and closure statements are work
  list, from-log  what is rebuilt if nothing is named, as the flags
  spool, work   as the flags
  store, state-dir  the local store, as in firn submit
  substituters  list of URLs that inputs come from (default what nix.conf says)
  trusted-keys  keys for inputs beside those of nix.conf, "NAME:BASE64"

Exit status: 0 all agree, 3 something differs, 1 something failed, could not be built
or had nothing to compare with, 2 usage or configuration.`,
		Example: `  firn rebuild /run/current-system
  firn rebuild --jobs 4 --max-disk 20G --list drvs
  firn rebuild --against https://cache.example /nix/store/...-hello-2.12.1.drv
  firn rebuild --from-log --config rebuild.toml`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.rebuild(c.Context(), &f, args, c.Flags().Changed("config"))
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.config, "config", rebuild.DefaultFile, "configuration `FILE`")
	flags.BoolVar(&f.checkConfig, "check-config", false, "check the configuration, and do nothing")
	flags.StringVar(&f.list, "list", "", "`FILE` with a path or derivation in each line")
	flags.BoolVar(&f.fromLog, "from-log", false, "take work that operators in work-from ask for; of the derivations named, only those")
	flags.IntVar(&f.pick, "pick", f.pick, "with --from-log: how many derivations to take")
	flags.StringVar(&f.against, "against", "", "`URL` of a binary cache to compare with, in place of the local store")
	flags.BoolVar(&f.againstLog, "against-log", false, "compare with what others claim in the log")
	flags.StringVar(&f.work, "work", "", "work `FOLDER` (default firn/rebuild in the state folder)")
	flags.StringVar(&f.spool, "spool", "", "`FOLDER` of the spool that statements are handed to")
	flags.IntVarP(&f.jobs, "jobs", "j", f.jobs, "builds at once")
	flags.IntVar(&f.cores, "cores", 0, "processors for one build (default all)")
	flags.DurationVar(&f.timeout, "timeout", f.timeout, "longest time of one build")
	flags.DurationVar(&f.maxSilent, "max-silent", 0, "longest time without a word of the builder (default none)")
	flags.Var(&f.maxLog, "max-log", "largest build log, in bytes or with K, M, G")
	flags.Var(&f.maxDisk, "max-disk", "largest size of the work folder (default none)")
	flags.Var(&f.minFree, "min-free", "what must stay free on its disk")
	flags.Var(&f.memory, "memory", "largest address space of each process of a build (default none)")
	flags.BoolVar(&f.fod, "fod", false, "rebuild fixed-output derivations too")
	flags.BoolVar(&f.again, "again", false, "build again what is done")
	flags.BoolVar(&f.check, "check", false, "let nix-store --check compare in the local store; weaker, and needs no namespaces")
	flags.BoolVar(&f.noDiffoscope, "no-diffoscope", false, "do not run diffoscope on what differs, although it is installed")
	flags.BoolVar(&f.blobs, "blobs", false, "send logs of failures and reports of diffoscope with the statements; they may hold what is not for everybody")
	flags.StringArrayVar(&f.substituters, "substituter", nil, "`URL` of a cache that inputs come from (may be repeated; default what nix.conf says)")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	f.log.add(flags)
	return c
}

func (a *app) rebuild(ctx context.Context, f *rebuildFlags, names []string, configured bool) error {
	if err := f.fault(); err != nil {
		return err
	}
	file, err := rebuild.LoadFile(f.config)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !configured && !f.checkConfig:
		file = new(rebuild.File)
	case err != nil:
		return failf(exitUsage, "`firn rebuild --help` lists what a configuration may say; the rest are flags", "the configuration is wrong: %w", err)
	}
	if f.checkConfig {
		_, err := fmt.Fprintf(a.Stdout, "%s: nothing is wrong\n", f.config)
		return err
	}
	if len(names) == 0 && f.list == "" && !f.fromLog {
		f.list, f.fromLog = file.List, file.FromLog
	}
	if f.list != "" {
		more, err := readNames(f.list)
		if err != nil {
			return failf(exitUsage, "", "--list: %w", err)
		}
		names = append(names, more...)
	}
	if len(names) == 0 && !f.fromLog {
		return failf(exitUsage, "for instance: firn rebuild /run/current-system", "nothing is named that is to be rebuilt")
	}
	var client *log.Client
	if f.fromLog || f.againstLog {
		if client, err = a.rebuildLog(f, file); err != nil {
			return err
		}
	}
	show := a.progress()
	r, err := rebuild.Open(ctx, a.rebuildConfig(f, file), a.rebuildOptions(f, file, client, show))
	if err != nil {
		return rebuildOpenFailure(err)
	}
	defer r.Close()
	drvs, err := a.rebuildWork(ctx, r, f, file, client, names)
	if err != nil {
		return err
	}
	report, err := r.Run(ctx, drvs)
	show.clear()
	if werr := a.writeRebuilds(f, report); werr != nil {
		return werr
	}
	switch {
	case errors.Is(err, rebuild.ErrDisk):
		return failf(exitFailed, "free some, or name another folder with --work, or allow more with --max-disk and --min-free; started again, it goes on", "%d of %d: %w", len(report.Results), len(drvs), err)
	case errors.Is(err, context.Canceled):
		return failf(exitFailed, "started again, it goes on", "stopped after %d of %d derivations", len(report.Results), len(drvs))
	case err != nil:
		return failf(exitFailed, "started again, it goes on", "%d of %d: %w", len(report.Results), len(drvs), err)
	}
	if code := report.ExitStatus(); code != exitOK {
		return errSilent(code)
	}
	return nil
}

// fault says what does not fit together.
func (f *rebuildFlags) fault() error {
	switch {
	case f.jobs < 1 || f.cores < 0 || f.pick < 1:
		return failf(exitUsage, "", "--jobs and --pick are at least 1, --cores at least 0")
	case f.timeout <= 0 || f.maxSilent < 0:
		return failf(exitUsage, "for instance --timeout 2h", "--timeout %v, --max-silent %v: a time is longer than nothing", f.timeout, f.maxSilent)
	case f.against != "" && f.againstLog:
		return failf(exitUsage, "name one of them", "--against and --against-log both say what to compare with")
	case f.check && (f.against != "" || f.againstLog):
		return failf(exitUsage, "leave --check out", "--check compares with the local store and nothing else")
	case f.against != "" && !strings.HasPrefix(f.against, "http://") && !strings.HasPrefix(f.against, "https://") && !strings.HasPrefix(f.against, "file://"):
		return failf(exitUsage, "for instance --against https://cache.example, or file:///FOLDER", "--against %s is not an http, https or file URL", f.against)
	}
	return nil
}

func readNames(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return rebuild.ReadList(f)
}

func (a *app) rebuildConfig(f *rebuildFlags, file *rebuild.File) rebuild.Config {
	conf := rebuild.Config{
		Work: f.work, Store: file.Store, StateDir: file.StateDir, Substituters: file.Substituters, TrustedKeys: file.TrustedKeys, Against: f.against,
		Jobs: f.jobs, Cores: f.cores, Timeout: f.timeout, MaxSilent: f.maxSilent, MaxLog: int64(f.maxLog), MaxDisk: int64(f.maxDisk), MinFree: int64(f.minFree),
		Memory: int64(f.memory), FOD: f.fod, Again: f.again, Check: f.check, Blobs: f.blobs,
	}
	if conf.Work == "" {
		conf.Work = file.Work
	}
	if conf.Work == "" {
		conf.Work = filepath.Join(a.stateDir(f.log.state), "rebuild")
	}
	if len(f.substituters) > 0 {
		conf.Substituters = f.substituters
	}
	if path, err := exec.LookPath("diffoscope"); err == nil && !f.noDiffoscope {
		conf.Diffoscope = path
	}
	return conf
}

func (a *app) rebuildOptions(f *rebuildFlags, file *rebuild.File, client *log.Client, show *progress) rebuild.Options {
	o := rebuild.Options{
		Say:      func(format string, args ...any) { show.clear(); fmt.Fprintf(a.Stderr, format+"\n", args...) },
		Progress: showRebuild(show),
	}
	spool := f.spool
	if spool == "" {
		spool = file.Spool
	}
	if spool != "" {
		o.Put = func(name string, payload []byte, blobs ...[]byte) error {
			return submit.Put(spool, name, payload, blobs...)
		}
	}
	if f.againstLog {
		o.Claims = rebuild.Claimed(client)
	}
	return o
}

// showRebuild shows on a terminal how far the work is.
func showRebuild(show *progress) func(rebuild.Event) {
	running := make(map[nix.StorePath]bool)
	differ := 0
	return func(e rebuild.Event) {
		if e.Result == nil {
			running[e.Drv] = true
		} else {
			delete(running, e.Drv)
			if e.Result.Status == rebuild.Differ {
				differ++
			}
		}
		var names []string
		for p := range running {
			names = append(names, strings.TrimSuffix(p.Name(), ".drv"))
		}
		show.say(fmt.Sprintf("%d of %d rebuilt, %d differ; building %s", e.Done, e.Total, differ, strings.Join(names, ", ")))
	}
}

// rebuildLog returns a client of the log: that of the flags, or of the configuration.
func (a *app) rebuildLog(f *rebuildFlags, file *rebuild.File) (*log.Client, error) {
	if f.log.url != "" || f.log.policy != "" || file.Log == "" {
		return a.openLog(&f.log)
	}
	conf := file.Config
	if conf.State == "" {
		conf.State = a.stateDir(f.log.state)
	}
	c, err := send.Open(&conf, send.Options{UserAgent: "firn-rebuild"}).Client()
	if err != nil {
		return nil, failf(exitUsage, "", "%w", err)
	}
	return c, nil
}

// rebuildWork says what is to be rebuilt.
func (a *app) rebuildWork(ctx context.Context, r *rebuild.Rebuilder, f *rebuildFlags, file *rebuild.File, client *log.Client, names []string) ([]nix.StorePath, error) {
	if !f.fromLog {
		drvs, without, err := r.Select(ctx, names)
		if err != nil {
			return nil, failf(exitUsage, "a store path stands for its closure, a path that ends in .drv for itself; nix-instantiate puts derivations into the store", "%w", err)
		}
		for _, p := range without {
			fmt.Fprintf(a.Stderr, "firn: warning: %s: its derivation is not in the store, so it cannot be rebuilt\n", p)
		}
		if len(drvs) == 0 {
			return nil, failf(exitFailed, "evaluate it with nix-instantiate, which puts derivations into the store", "there is no derivation in the store for anything that is named")
		}
		return drvs, nil
	}
	if len(file.WorkFrom) == 0 {
		return nil, failf(exitUsage, "name operators in "+f.config+`: work-from = ["OPERATOR ID"]`, "--from-log takes work only of operators that work-from names, and it names nobody")
	}
	var only []nix.StorePath
	for _, name := range names {
		p, err := nix.DefaultStoreDir.Parse(name)
		if err != nil || !p.IsDerivation() {
			return nil, failf(exitUsage, "", "--from-log takes derivations, and %s is none", name)
		}
		only = append(only, p)
	}
	offer, err := rebuild.Offered(ctx, client, file.Operators())
	if err != nil {
		return nil, logFailure("asking the log for work", err)
	}
	drvs, err := r.Take(ctx, client, offer, only, f.pick)
	for _, why := range offer.Passed {
		fmt.Fprintf(a.Stderr, "firn: warning: %s\n", why)
	}
	var unvouched *rebuild.UnvouchedError
	switch {
	case errors.As(err, &unvouched):
		return nil, failf(exitFailed, "name it without --from-log to answer for it yourself", "%w", err)
	case err != nil:
		return nil, logFailure("taking work", err)
	case len(drvs) == 0 && offer.Statements == 0:
		return nil, failf(exitFailed, "they do by eval and closure statements, as `firn import hydra` makes them", "there is nothing to do: no operator in work-from asks for anything in this log")
	case len(drvs) == 0:
		return nil, failf(exitFailed, "", "there is nothing to do: what %s of operators in work-from ask for is done, or is not here", plural(uint64(offer.Statements), "statement", "statements"))
	}
	return drvs, nil
}

func rebuildOpenFailure(err error) error {
	var locked *durable.LockedError
	switch {
	case errors.As(err, &locked):
		return failf(exitFailed, "one rebuilder works in a folder at a time; name another with --work", "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return failf(exitFailed, "name a folder of your own with --work", "%w", err)
	}
	return failf(exitFailed, "", "%w", err)
}

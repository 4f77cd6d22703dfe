package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/cmdline"
	"github.com/firn-log/firn/log/statement"
)

// importConfigured imports the caches of a configuration, once or for ever.
func (a *app) importConfigured(ctx context.Context, f *importCacheFlags, args []string) error {
	switch {
	case len(args) > 0 || f.from != "" || f.all || len(f.keys) > 0 || f.observed || f.key != "" || len(f.realisations) > 0 || f.url != "" || f.policy != "":
		return failf(exitUsage, "write it into "+f.config, "--config says which caches, keys, paths and log")
	case f.every < 0:
		return failf(exitUsage, "for instance --every 1h", "--every %v is negative", f.every)
	}
	conf, err := cache.LoadConfig(f.config)
	if errors.Is(err, fs.ErrNotExist) {
		return failf(exitUsage, "`firn import cache --help` lists what it says", "there is no configuration %s", f.config)
	}
	if err == nil {
		err = conf.Check()
	}
	if err != nil {
		return failf(exitUsage, "`firn import cache --help` lists what a configuration may say", "the configuration %s is wrong:\n%w", f.config, err)
	}
	if conf.State == "" {
		conf.State = a.stateDir(f.state)
	}
	to := send.Open(&conf.Config, a.sendOptions(nil, conf.UseLoginKey))
	defer to.Close()
	var observer statement.Signer
	if conf.Observed {
		if observer, err = to.Signer(ctx); err != nil {
			return importFailure(err)
		}
	}
	if f.check {
		fmt.Fprintf(a.Stdout, "%s is good\n", f.config)
		return nil
	}
	every := conf.Every.Duration
	if f.every > 0 {
		every = f.every
	}
	return a.importRounds(ctx, f, conf, to, observer, every)
}

// importRounds imports all caches, and again after each pause.
func (a *app) importRounds(ctx context.Context, f *importCacheFlags, conf *cache.Config, to *send.Log, observer statement.Signer, every time.Duration) error {
	var jobs []func() error
	for i := range conf.Caches {
		jobs = append(jobs, func() error { return a.importRound(ctx, f, conf, to, observer, &conf.Caches[i]) })
	}
	return rounds(ctx, every, jobs)
}

// rounds does all jobs, and again after each pause. A round that fails ends only a
// run without pauses, except that a log that was caught ends each.
func rounds(ctx context.Context, every time.Duration, jobs []func() error) error {
	for {
		var worst error
		for _, job := range jobs {
			err := job()
			if statusOf(err) == exitMisbehaviour {
				return err
			}
			if worse(err, worst) {
				worst = err
			}
			if ctx.Err() != nil {
				break
			}
		}
		if every == 0 {
			return worst
		}
		if ctx.Err() != nil || !send.Sleep(ctx, every) {
			return nil
		}
	}
}

// worse reports whether a goes before b by the order of spec/cli.md#exit-status.
func worse(a, b error) bool {
	rank := map[int]int{0: 0, exitFailed: 1, exitUsage: 1, exitInconclusive: 2, exitUntrusted: 3, exitMisbehaviour: 4}
	return rank[statusOf(a)] > rank[statusOf(b)]
}

func (a *app) importRound(ctx context.Context, f *importCacheFlags, conf *cache.Config, to *send.Log, observer statement.Signer, cc *cache.CacheConfig) error {
	keys, err := cache.ParseKeys(cc.TrustedKeys)
	if err != nil {
		return err
	}
	job := &importJob{
		url: cc.URL, roots: cc.ReadRoots, client: bincache.ClientOptions{Rate: cc.Rate},
		Options: cache.Options{Keys: keys, Jobs: conf.Jobs, Recheck: f.recheck, CheckNars: cc.CheckNars || f.nars, Observer: observer},
	}
	sum, err := a.importOne(ctx, to, conf.State, job)
	switch {
	case sum != nil && f.asJSON:
		if err := a.writeImport(sum, err); err != nil {
			return err
		}
	case sum != nil:
		a.printImport(sum)
	}
	if err == nil {
		err = importVerdict(sum)
	} else {
		err = importFailure(err)
	}
	return a.tellOne(ctx, cc.URL, err)
}

// tellOne tells of a failure beside those of other sources; the last line of a run
// without pauses would only repeat it.
func (a *app) tellOne(ctx context.Context, source string, err error) error {
	var known *cmdline.Failure
	if errors.As(err, &known) && known.Err != nil && statusOf(err) != exitMisbehaviour && ctx.Err() == nil {
		fmt.Fprintf(a.Stderr, "firn: warning: %s: %v\n", source, known.Err)
		return errSilent(known.Code)
	}
	return err
}

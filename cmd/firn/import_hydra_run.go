package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/ingest/hydra"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
)

// hydraRounds imports the spool and all jobsets, and again after each pause.
func (a *app) hydraRounds(ctx context.Context, f *importHydraFlags, conf *hydra.Config, to *send.Log, every time.Duration) error {
	if len(conf.Jobsets) > 0 {
		if _, err := to.Signer(ctx); err != nil {
			return importFailure(err)
		}
	}
	var jobs []func() error
	add := func(source string, job func(*hydraRun) error) {
		jobs = append(jobs, func() error {
			err := a.hydraRun(ctx, f, conf, to, job)
			if every == 0 && len(jobs) == 1 {
				return err
			}
			return a.tellOne(ctx, source, err)
		})
	}
	if conf.Spool != "" {
		add(conf.Spool, func(r *hydraRun) error { return r.spool(ctx, conf.Spool) })
	}
	for i := range conf.Jobsets {
		j := &conf.Jobsets[i]
		add(j.URL+" "+j.Jobset, func(r *hydraRun) error { return r.jobset(ctx, j) })
	}
	return rounds(ctx, every, jobs)
}

// hydraRun is one import of a jobset or of a spool.
type hydraRun struct {
	a       *app
	json    bool
	show    *importShow
	cache   *bincache.Client
	state   *cache.State
	dir     string // of the states of jobsets
	options hydra.Options
	shown   int // problems
}

// hydraRun opens what all sources need, and does one job with it.
func (a *app) hydraRun(ctx context.Context, f *importHydraFlags, conf *hydra.Config, to *send.Log, job func(*hydraRun) error) error {
	client, err := to.Client()
	if err != nil {
		return importFailure(err)
	}
	keys, err := cache.ParseKeys(conf.TrustedKeys)
	if err != nil {
		return err
	}
	show := a.newImportShow()
	defer show.clear()
	dir := importState(conf.State, client)
	st, err := cache.OpenState(dir)
	if err != nil {
		return importFailure(err)
	}
	if st.Dropped > 0 {
		show.warn(fmt.Sprintf("the last import ended while it wrote: its last %d bytes are dropped and brought again", st.Dropped))
	}
	r := &hydraRun{a: a, json: f.asJSON, show: show, state: st, dir: filepath.Join(dir, "hydra")}
	r.options = hydra.Options{OnProblem: r.problem, Cache: cache.Options{
		Keys: keys, Log: to, Jobs: conf.Jobs, Recheck: f.recheck, OnProblem: show.problem, Progress: show.far,
	}}
	r.cache, err = bincache.Open(ctx, conf.Cache, bincache.ClientOptions{Rate: conf.CacheRate, OnTrouble: show.trouble})
	if err != nil {
		return importFailure(errors.Join(err, st.Close()))
	}
	err = job(r)
	if err2 := st.Close(); err == nil && err2 != nil {
		err = importFailure(err2)
	}
	return err
}

func (r *hydraRun) problem(p hydra.Problem) {
	if r.shown++; r.shown <= shownProblems {
		r.show.warn(p.String())
	}
}

func (r *hydraRun) jobset(ctx context.Context, j *hydra.JobsetConfig) error {
	name, err := hydra.ParseJobsetName(j.Jobset)
	if err != nil {
		return err
	}
	h, err := hydra.Open(j.URL, bincache.ClientOptions{Rate: j.Rate, OnTrouble: func(err error, pause time.Duration) {
		r.show.warn(fmt.Sprintf("the Hydra %v; it gets a pause of %v", err, pause.Round(time.Second/10)))
	}})
	if err != nil {
		return err
	}
	st, err := hydra.OpenState(r.dir, h, name)
	if err != nil {
		return importFailure(err)
	}
	o := r.options
	o.Since, o.MaxEvals = j.Since, j.MaxEvals
	sum, err := hydra.Import(ctx, h, name, r.cache, r.state, st, o)
	r.show.end(sum.Cache)
	r.show.clear()
	if !r.json {
		r.print(sum)
	} else if err := r.a.writeJSON(struct {
		Schema int `json:"schema"`
		*hydra.Summary
		Why string `json:"why,omitempty"`
	}{1, sum, whyOf(err)}); err != nil {
		return err
	}
	if err != nil {
		return importFailure(err)
	}
	return worst(failedIf(sum.Failed > 0), importVerdict(sum.Cache))
}

func (r *hydraRun) spool(ctx context.Context, dir string) error {
	sum, err := hydra.ImportSpool(ctx, dir, r.cache, r.state, r.options)
	r.show.end(sum.Cache)
	r.show.clear()
	if !r.json {
		r.printSpool(sum)
	} else if err := r.a.writeJSON(struct {
		Schema int `json:"schema"`
		*hydra.SpoolSummary
		Why string `json:"why,omitempty"`
	}{1, sum, whyOf(err)}); err != nil {
		return err
	}
	if err != nil {
		return importFailure(err)
	}
	return worst(failedIf(sum.Bad+sum.Dropped > 0), importVerdict(sum.Cache))
}

func failedIf(failed bool) error {
	if failed {
		return errSilent(exitFailed)
	}
	return nil
}

// worst returns b if it goes before a.
func worst(a, b error) error {
	if worse(b, a) {
		return b
	}
	return a
}

// whyOf is what ended a run early, for a program.
func whyOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// buildStatuses are the words for buildstatus of a Hydra.
var buildStatuses = map[int]string{
	0: "succeeded", 1: "failed", 2: "with a dependency that failed", 3: "aborted", 4: "cancelled", 6: "failed with output",
	7: "timed out", 9: "aborted", 10: "with too long a log", 11: "with too large an output", 12: "not deterministic",
}

func (r *hydraRun) print(s *hydra.Summary) {
	out := r.a.Stdout
	fmt.Fprintf(out, "%s %s: %s stated\n", s.Hydra, s.Jobset, plural(uint64(s.Stated), "evaluation", "evaluations"))
	if len(s.Builds) > 0 {
		var list []string
		for _, status := range slices.Sorted(maps.Keys(s.Builds)) {
			word, ok := buildStatuses[status]
			if !ok {
				word = fmt.Sprintf("with the status %d", status)
			}
			list = append(list, fmt.Sprintf("%d %s", s.Builds[status], word))
		}
		fmt.Fprintf(out, "builds: %s\n", strings.Join(list, ", "))
	}
	if s.Proven > 0 {
		fmt.Fprintf(out, "the newest is proven, under the checkpoint of size %d\n", s.Proven)
	}
	count := func(n int, one, many string) {
		if n > 0 {
			fmt.Fprintln(out, plural(uint64(n), one, many))
		}
	}
	count(s.Unfinished, "evaluation waits for its builds", "evaluations wait for their builds")
	count(s.Waiting, "evaluation waits for the cache", "evaluations wait for the cache")
	count(s.Empty, "evaluation has no builds", "evaluations have no builds")
	count(s.Left, "evaluation is left for the next run", "evaluations are left for the next run")
	count(s.Unavailable, "output is not in the closures that are stated, because the log has no signature of it", "outputs are not in the closures that are stated, because the log has no signature of them")
	if s.Cache.Paths > 0 {
		r.a.printImport(s.Cache)
	}
	if s.Failed > 0 {
		fmt.Fprintf(out, "! %s could not be imported\n", plural(uint64(s.Failed), "evaluation", "evaluations"))
	}
}

func (r *hydraRun) printSpool(s *hydra.SpoolSummary) {
	out := r.a.Stdout
	fmt.Fprintf(out, "%s: %s imported, %d waiting, %d left for the next run\n", s.Spool, plural(uint64(s.Imported), "event", "events"), s.Waiting, s.Left)
	if s.Cache.Paths > 0 {
		r.a.printImport(s.Cache)
	}
	if s.Dropped+s.Bad > 0 {
		fmt.Fprintf(out, "! %s dropped after a week, %d no events\n", plural(uint64(s.Dropped), "event", "events"), s.Bad)
	}
}

package hydra

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// patience is how long it is waited for what the cache does not have or gives
// wrongly, before an evaluation is stated without it.
const patience = 7 * 24 * time.Hour

// Options are how evaluations are imported.
type Options struct {
	// Cache says how closures are imported; Keys and Log are needed. The key of
	// the Log signs the statements about evaluations.
	Cache cache.Options
	// Since is the least number of an evaluation that is wanted.
	Since uint64
	// MaxEvals bounds how many evaluations are imported, the newest first; 0 is
	// no bound. Others are left for later runs.
	MaxEvals int
	// Now is the time; nil is time.Now.
	Now func() time.Time
	// OnProblem, if not nil, is told of each evaluation that could not be imported.
	OnProblem func(Problem)
}

func (o *Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// A Problem is trouble with one evaluation or one event.
type Problem struct {
	Eval  uint64 `json:"eval,omitempty"`
	Event string `json:"event,omitempty"` // name of a file
	What  string `json:"what"`            // a sentence without its end
}

func (p Problem) String() string {
	if p.Event != "" {
		return "event " + p.Event + ": " + p.What
	}
	return fmt.Sprintf("evaluation %d: %s", p.Eval, p.What)
}

// Summary is what a run did.
type Summary struct {
	Hydra  string `json:"hydra"`
	Jobset string `json:"jobset"`
	// Stated are evaluations whose statements the log has now.
	Stated int `json:"stated"`
	// Empty are evaluations without builds, of which there is nothing to state.
	Empty int `json:"empty"`
	// Unfinished are evaluations with builds that have not ended.
	Unfinished int `json:"unfinished"`
	// Waiting are evaluations of which the cache does not have or give all yet.
	Waiting int `json:"waiting"`
	// Failed are evaluations that could not be imported; see Problems.
	Failed int `json:"failed"`
	// Left are evaluations that were not looked at, because of MaxEvals.
	Left int `json:"left"`
	// Builds counts the builds of evaluations that are stated, by buildstatus.
	Builds map[int]int `json:"builds"`
	// Unavailable are outputs, of what is stated, that the log has no signature of.
	Unavailable int `json:"unavailable"`
	// Accepted and Duplicates are eval and closure statements: new ones, and ones
	// that the log had.
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
	// Proven is the size of the checkpoint under which the newest of these is
	// proven to be; 0 if nothing was sent, or no proof came in time.
	Proven uint64 `json:"proven"`
	// Cache is what was imported from the cache, of all evaluations.
	Cache    *cache.Summary `json:"cache"`
	Problems []Problem      `json:"problems"` // the first maxProblems
}

const maxProblems = 100

// run is one call of Import.
type run struct {
	h   *Hydra
	j   JobsetName
	c   *bincache.Client
	cs  *cache.State
	st  *State
	o   Options
	sum *Summary

	newest *statement.Statement // that was sent
	at     uint64               // its index
}

// Import states the evaluations of a jobset that no earlier run has stated, each
// after the closures of what it built were imported from c
// (spec/import.md#importing-from-a-hydra). The summary is never nil and says what
// was done, also beside an error: then the next run goes on from there. What goes
// wrong with single evaluations is in the summary and is no error.
//
// Errors: a *StopError and others about the list of the Hydra, those of
// [cache.Import], a *send.ConfigError of the key, and those of [send.Log.SendAll].
func Import(ctx context.Context, h *Hydra, j JobsetName, c *bincache.Client, cs *cache.State, st *State, o Options) (*Summary, error) {
	o.Cache.MissingRoots = true
	r := &run{h: h, j: j, c: c, cs: cs, st: st, o: o, sum: &Summary{
		Hydra: h.URL(), Jobset: j.String(), Builds: make(map[int]int), Cache: cache.NewSummary(c), Problems: []Problem{},
	}}
	if err := r.list(ctx); err != nil {
		return r.sum, err
	}
	worked := 0
	for _, w := range append([]waiting(nil), st.f.Waiting...) {
		switch {
		case w.Eval < o.Since:
			continue
		case o.MaxEvals > 0 && worked == o.MaxEvals:
			r.sum.Left++
			continue
		}
		was := r.sum.Unfinished
		if err := r.eval(ctx, w); err != nil {
			return r.sum, err
		}
		if r.sum.Unfinished == was {
			worked++
		}
	}
	var err error
	if r.newest != nil {
		r.sum.Proven, err = o.Cache.Log.Prove(ctx, r.newest)
	}
	return r.sum, err
}

// eval imports one evaluation. An error ends the run.
func (r *run) eval(ctx context.Context, w waiting) error {
	b, etag, err := r.h.builds(ctx, r.c.StoreDir(), w.Eval, w.ETag)
	switch {
	case errors.Is(err, errUnfinished), errors.Is(err, bincache.ErrUnchanged):
		r.sum.Unfinished++
		if etag != "" {
			w.ETag = etag
		}
		return r.st.wait(w)
	case err != nil:
		return r.failed(ctx, w, err)
	}
	w.ETag = "" // nothing is waited for but the cache
	e, err := r.h.eval(ctx, w.Eval)
	if err != nil {
		return r.failed(ctx, w, err)
	}
	if len(b.drvs) == 0 {
		r.sum.Empty++
		return r.st.settle(w.Eval)
	}
	sum, err := cache.Import(ctx, r.c, r.cs, cache.Roots{Paths: b.outs}, r.o.Cache)
	r.sum.Cache.Add(sum)
	if err != nil {
		return err
	}
	signed, ready, err := r.ready(&w, e, b, sum)
	if err != nil {
		return r.failed(ctx, w, err)
	}
	if !ready {
		r.sum.Waiting++
		return r.st.wait(w)
	}
	return r.state(ctx, w, e, b, signed)
}

// failed notes what went wrong with an evaluation, unless it concerns all.
func (r *run) failed(ctx context.Context, w waiting, err error) error {
	var stop *StopError
	if errors.As(err, &stop) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.sum.Failed++
	r.problem(Problem{Eval: w.Eval, What: err.Error()})
	return r.st.wait(w)
}

func (r *run) problem(p Problem) {
	if len(r.sum.Problems) < maxProblems {
		r.sum.Problems = append(r.sum.Problems, p)
	}
	if r.o.OnProblem != nil {
		r.o.OnProblem(p)
	}
}

// ready returns the outputs that the log has a signature of, and whether the
// evaluation is to be stated with these.
func (r *run) ready(w *waiting, e *eval, b *builds, sum *cache.Summary) ([]nix.StorePath, bool, error) {
	signed, unsigned := standings(r.c, r.cs, r.o.Cache.Keys, b.outs)
	if len(signed) == 0 && unsigned > 0 {
		return nil, false, fmt.Errorf("none of the %d outputs in the cache has a signature by a listed key", unsigned)
	}
	now := r.o.now()
	if w.Tried == 0 {
		w.Tried = now.Unix()
	}
	n := sum.Troubles
	wrong := n[cache.Lie] + n[cache.Failed] + n[cache.Rejected] + n[cache.SetAside]
	absent := n[cache.Missing] > 0 || len(signed)+unsigned < len(b.outs)
	switch {
	case wrong > 0 && now.Sub(time.Unix(w.Tried, 0)) < patience:
		return nil, false, nil
	case absent && now.Sub(time.Unix(int64(e.timestamp), 0)) < patience:
		return nil, false, nil
	}
	return signed, true, nil
}

// standings returns the paths of which the log has a signature, and how many there
// are that the cache has without one.
func standings(c *bincache.Client, cs *cache.State, keys cache.Keys, paths []nix.StorePath) (signed []nix.StorePath, unsigned int) {
	for _, p := range paths {
		switch cs.Standing(c, p, keys) {
		case cache.Signed:
			signed = append(signed, p)
		case cache.Unsigned:
			unsigned++
		}
	}
	return signed, unsigned
}

// state sends what is stated of an evaluation.
func (r *run) state(ctx context.Context, w waiting, e *eval, b *builds, signed []nix.StorePath) error {
	signer, err := r.o.Cache.Log.Signer(ctx)
	if err != nil {
		return err
	}
	dir := r.c.StoreDir()
	item, err := evalItem(ctx, signer, &statement.Eval{
		Name: r.j.name(), StoreDir: dir, Inputs: e.inputs, Evaluated: e.timestamp, Instance: r.h.URL(), Number: w.Eval,
	}, b.drvs)
	if err != nil {
		return err
	}
	items := []send.Item{item}
	if len(signed) > 0 {
		if item, err = closureItem(ctx, signer, &statement.Closure{Name: closureName(r.j, w.Eval), StoreDir: dir}, signed); err != nil {
			return err
		}
		items = append(items, item)
	}
	if refused, err := r.send(ctx, items); err != nil || refused != nil {
		if err == nil {
			err = r.failed(ctx, w, refused)
		}
		return err
	}
	r.sum.Stated++
	for status, n := range b.statuses {
		r.sum.Builds[status] += n
	}
	r.sum.Unavailable += len(b.outs) - len(signed)
	return r.st.settle(w.Eval)
}

// send sends statements. refused is what the log will not take later either.
func (r *run) send(ctx context.Context, items []send.Item) (refused, err error) {
	in := make(chan send.Item, len(items))
	for _, item := range items {
		in <- item
	}
	close(in)
	var codes []string
	err = r.o.Cache.Log.SendAll(ctx, in, 0, func(item send.Item, res log.Submitted) {
		s := item.Of.(*statement.Statement)
		if res.Status != log.Rejected && (r.newest == nil || res.Index >= r.at) {
			r.newest, r.at = s, res.Index
		}
		switch res.Status {
		case log.Rejected:
			codes = append(codes, fmt.Sprintf("the log rejects the %s statement: %s: %s", s.Kind, res.Code, res.Message))
		case log.Duplicate:
			r.sum.Duplicates++
		default:
			r.sum.Accepted++
		}
	})
	if err == nil && len(codes) > 0 {
		refused = errors.New(strings.Join(codes, "; "))
	}
	return refused, err
}

package verify

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/statement"
)

// Options say how Verify works.
type Options struct {
	// Open returns the log of a policy line. Nil means a *log.Client that
	// remembers checkpoints in StateDir.
	Open func(ref *LogRef) (Log, error)
	// StateDir holds remembered checkpoints and answers; "" remembers nothing.
	StateDir string
	// Bundle is asked in place of all logs, without a network; nil asks the logs. What
	// it says is not remembered, but what is remembered of people counts.
	Bundle *log.Bundle
	// Full reads every entry of every log instead of asking for lookups: then
	// nothing can be left out.
	Full bool
	// OnEvidence is called with evidence that was kept anew; it must not block.
	// Nil does nothing more. A given Open does not use it.
	OnEvidence func(evidence.Held)
	// Now is the clock for ages; nil is time.Now.
	Now func() time.Time
	// Progress is called while a log is read whole; nil is silent.
	Progress func(log string, done, total uint64)
}

// ErrNothing is returned for an empty list of subjects: there is nothing that
// could be called trusted.
var ErrNothing = errors.New("there is nothing to verify")

// Verify judges every subject by the policy. It asks all logs of the policy at
// the same time. Logs that do not answer make verdicts inconclusive and are no
// error; a required log whose answers do not hold together is a
// *RefusedError. The report has the subjects in the order given.
func Verify(ctx context.Context, pol *Policy, subjects []Subject, opts Options) (*Report, error) {
	if pol == nil {
		return nil, ErrNoPolicy
	}
	if len(subjects) == 0 {
		return nil, ErrNothing
	}
	v := &verification{pol: pol, subjects: subjects}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Open == nil {
		opts.Open = v.opener(opts)
	}
	v.opts = opts
	for _, step := range []func(context.Context) error{v.open, v.people, v.claims} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	v.save()
	return v.report(), nil
}

// opener opens logs over the network or in folders.
func (v *verification) opener(opts Options) func(ref *LogRef) (Log, error) {
	mem := log.NewMemory(opts.StateDir)
	mem.OnEvidence(opts.OnEvidence)
	if opts.Bundle != nil {
		return func(ref *LogRef) (Log, error) {
			return log.NewBundleClient(opts.Bundle, ref.Policy, log.Options{Memory: mem, Now: opts.Now})
		}
	}
	return func(ref *LogRef) (Log, error) {
		trouble := func(err error) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.warnings = append(v.warnings, fmt.Sprintf("log %s: %v", ref.Name, err))
		}
		return log.NewClient(ref.URL, ref.Policy, log.Options{Mirrors: ref.Mirrors, OnTrouble: trouble, Memory: mem, Now: opts.Now})
	}
}

// verification is one call of Verify.
type verification struct {
	pol       *Policy
	subjects  []Subject
	opts      Options
	logs      []*reading
	directory *directory
	recall    func(i int) *memory // of log i of the policy; nil reads state files

	mu       sync.Mutex
	warnings []string // about places that were passed over
}

// each runs f for every log at the same time and returns the first error in
// the order of the policy.
func (v *verification) each(f func(*reading) error) error {
	errs := make([]error, len(v.logs))
	var wg sync.WaitGroup
	for i, r := range v.logs {
		wg.Go(func() { errs[i] = f(r) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) keys() []string {
	var keys []string
	for _, s := range v.subjects {
		keys = append(keys, s.keys()...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// statePath is where the answers of a log are remembered, "" for nowhere.
func (v *verification) statePath(ref *LogRef) string {
	if v.opts.StateDir == "" {
		return ""
	}
	return stateFile(filepath.Join(v.opts.StateDir, "verify"), v.pol, ref)
}

func (v *verification) open(ctx context.Context) error {
	lists := make(map[nix.Hash][]nix.StorePath, len(v.subjects))
	for _, s := range v.subjects {
		lists[statement.PathsDigest(s.Info.References)] = s.Info.References
	}
	for i, ref := range v.pol.Logs {
		l, err := v.opts.Open(ref)
		if err != nil {
			return fmt.Errorf("log %s: %w", ref.Name, err)
		}
		mem := newMemory()
		if v.recall != nil {
			mem = v.recall(i)
		}
		r := newReading(ref, l, mem, v.opts.Now)
		r.lists = lists
		v.logs = append(v.logs, r)
	}
	keys := v.keys()
	return v.each(func(r *reading) error {
		if path := v.statePath(r.ref); path != "" {
			mem, err := loadMemory(path)
			if err != nil {
				r.warnings = append(r.warnings, fmt.Sprintf("%v; they are not used and asked for again", err))
			}
			if v.opts.Full { // of a log that does not answer then, only what people said counts
				mem = &memory{people: mem.people, claims: newMemory().claims}
			}
			if v.opts.Bundle != nil {
				mem = mem.onlyPeople()
			}
			r.mem = mem
		}
		if err := r.open(ctx); err != nil || !v.opts.Full || r.Answered != ByLookups {
			return err
		}
		var progress func(done, total uint64)
		if v.opts.Progress != nil {
			progress = func(done, total uint64) { v.opts.Progress(r.Name, done, total) }
		}
		return r.readAll(ctx, keys, progress)
	})
}

// people finds out who may speak for the operators of the policy.
func (v *verification) people(ctx context.Context) error {
	var keys []string
	for _, o := range v.pol.Operators {
		if o.ID != nil {
			keys = append(keys, "operator:"+o.ID.String())
		}
		for _, k := range o.Keys {
			keys = append(keys, "key:"+k.String())
		}
	}
	p, err := v.ask(ctx, keys)
	if err != nil {
		return err
	}
	// The keys that `key` lines name may belong to operators, whose other
	// statements matter: one may revoke the key.
	asked := len(keys)
	for id, f := range p {
		of := statement.OperatorOf(f.Body)
		if f.Kind == statement.KindOperator && of.IsZero() {
			of = id
		}
		if key := "operator:" + of.String(); names(v.pol, f.Body) && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if len(keys) > asked {
		slices.Sort(keys[asked:])
		if p, err = v.ask(ctx, keys); err != nil {
			return err
		}
	}
	v.directory = newDirectory(v.pol, p)
	return nil
}

// names reports whether a people statement gives an operator a key that the
// policy names by itself.
func names(pol *Policy, b statement.Body) bool {
	var key statement.KeyID
	switch b := b.(type) {
	case *statement.KeyAdd:
		key = b.Key.ID()
	case *statement.Operator:
		key = b.Identity.ID()
	default:
		return false
	}
	return slices.ContainsFunc(pol.Operators, func(o *Operator) bool { return slices.Contains(o.Keys, key) })
}

func (v *verification) ask(ctx context.Context, keys []string) (pool, error) {
	pools := make(map[*reading]pool)
	for _, r := range v.logs {
		pools[r] = make(pool)
	}
	if err := v.each(func(r *reading) error { return r.people(ctx, keys, pools[r]) }); err != nil {
		return nil, err
	}
	all := make(pool)
	for _, r := range v.logs {
		for _, f := range pools[r] {
			for _, at := range f.places {
				all.add(f.Statement, at)
				for _, s := range f.others {
					all.add(s, at)
				}
			}
		}
	}
	return all, nil
}

func (v *verification) claims(ctx context.Context) error {
	keys, signers := v.keys(), v.directory.signers()
	return v.each(func(r *reading) error {
		if err := r.claims(ctx, keys, signers, v.directory.known); err != nil {
			return err
		}
		return r.settle(ctx, v.pol.CompletenessOff)
	})
}

// save remembers what was proven. That it cannot be kept is only a warning:
// the verdicts do not depend on it.
func (v *verification) save() {
	asked := make(map[string]bool)
	for _, k := range v.keys() {
		asked[k] = true
	}
	for _, r := range v.logs {
		path := v.statePath(r.ref)
		if path == "" || v.opts.Bundle != nil || r.Answered != ByLookups || !r.mem.changed {
			continue
		}
		r.mem.forget(r.unverified)
		r.mem.shrink(asked)
		if err := saveMemory(path, r.mem); err != nil {
			r.warnings = append(r.warnings, fmt.Sprintf("the answers of log %s could not be remembered: %v", r.Name, err))
		}
	}
}

func (v *verification) judge(s Subject, open map[string]string) PathReport {
	logs := make([]string, len(v.logs))
	records := make([][]record, len(v.logs))
	for i, r := range v.logs {
		logs[i] = r.Name
		for _, key := range s.keys() {
			records[i] = append(records[i], r.records(key)...)
			if r.missing[key] && r.gap == "" {
				open = v.openAlso(open, r)
			}
		}
	}
	rule := v.pol.RuleFor(s.facts())
	c := Case{Rule: rule, About: s.Fingerprint(), Claims: assemble(v.directory, logs, records), Output: len(s.Realisations) > 0, Open: open}
	if s.Mapping {
		c.Claims = mappings(c.Claims)
	}
	j := s.settle(c)
	return PathReport{Subject: s, Rule: rule, Judgement: j, Claims: c.Claims, open: open}
}

func (v *verification) report() *Report {
	rep := &Report{Policy: v.pol, Full: v.opts.Full, Bundle: v.opts.Bundle != nil, Warnings: v.warnings}
	open := v.openVoters()
	for _, s := range v.subjects {
		rep.Paths = append(rep.Paths, v.judge(s, open))
	}
	for _, r := range v.logs {
		if rep.Bundle && r.Answered == ByLookups {
			r.Answered = ByBundle
		}
		rep.Logs = append(rep.Logs, r.LogReport)
		rep.Warnings = append(rep.Warnings, r.warnings...)
	}
	for _, o := range v.pol.Operators {
		rep.Operators = append(rep.Operators, v.directory.standing[o.Name])
	}
	return rep
}

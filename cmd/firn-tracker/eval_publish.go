package main

import (
	"context"
	"errors"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// publication opens the log and the key that flags and settings name.
func (a *app) publication(ctx context.Context, f *evalFlags, args []string) (*publication, error) {
	s, err := a.settings(&f.flags, args)
	if err != nil {
		return nil, err
	}
	if f.Key != "" {
		s.Publish.Key, s.Publish.UseLoginKey = f.Key, f.UseLoginKey
	}
	if f.publishConfig.Log != "" {
		s.Publish.Log = f.publishConfig.Log
	}
	return a.openPublication(ctx, s)
}

// evalBody returns what is stated of an evaluation (spec/tracker.md#stating-an-evaluation).
func evalBody(r *eval.Report, now time.Time) (*statement.Eval, error) {
	drvs := make([]nix.StorePath, 0, len(r.Drvs))
	for _, base := range r.Drvs {
		p, err := nix.DefaultStoreDir.FromBase(base)
		if err != nil {
			return nil, err
		}
		drvs = append(drvs, p)
	}
	return &statement.Eval{
		Name: r.Header.Channel, StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(drvs), Count: uint64(len(drvs)), Drvs: drvs,
		Inputs: []statement.EvalInput{
			{Name: "evaluation", Type: "sha256", Revision: r.Digest},
			{Name: "system", Type: "system", Revision: r.Header.System},
			{Name: "tree", Type: "revision", Revision: r.Header.Revision},
		},
		Evaluated: uint64(now.Unix()),
	}, nil
}

// publish states an evaluation of derivations.
func (p *publication) publish(ctx context.Context, r *eval.Report) (*published, error) {
	if len(r.Drvs) == 0 {
		return nil, fail(exitFailed, "", errors.New("nothing was published: the evaluation has no derivations"))
	}
	body, err := evalBody(r, time.Now())
	if err != nil {
		return nil, fail(exitFailed, "", err)
	}
	at, err := p.state(ctx, body, "the evaluation itself is kept; the same command publishes it")
	if err != nil {
		return nil, err
	}
	return &published{Statement: at.ID.String(), Index: at.Index, Derivations: len(r.Drvs)}, nil
}

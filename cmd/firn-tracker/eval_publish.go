package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// publication is where an evaluation is stated, and by whom.
type publication struct {
	client *log.Client
	signer statement.Signer
}

// publication opens the log and the key.
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
	if s.Publish.Key == "" {
		return nil, fail(exitUsage, "name a build key of an operator with --key, or as publish.key", errors.New("the key that signs what is published is missing"))
	}
	l, err := (&tracker{settings: s}).publishLog()
	if err != nil {
		return nil, err
	}
	p := &publication{}
	if p.signer, err = a.openSigner(ctx, s.Publish.Key, s.Publish.UseLoginKey); err != nil {
		return nil, err
	}
	p.client, err = log.NewClient(l.URL, l.Policy, log.Options{Origin: l.Origin, Memory: log.NewMemory(s.dir), UserAgent: "firn-tracker"})
	if err != nil {
		return nil, fail(exitUsage, "", err)
	}
	return p, nil
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

// evalLeaf signs body, with the derivations in it if they fit and as a blob otherwise.
func evalLeaf(ctx context.Context, signer statement.Signer, body *statement.Eval) (leaf []byte, blobs [][]byte, err error) {
	drvs := body.Drvs
	payload, err := statement.EncodePayload(body, "", nil)
	if err != nil || len(payload) > body.Kind().MaxLeaf()-statement.MaxEnvelope {
		body.Drvs, blobs = nil, [][]byte{statement.PathsBlob(drvs)}
	}
	s, err := statement.Sign(ctx, signer, body, "", nil)
	if err != nil {
		return nil, nil, err
	}
	return s.Leaf(), blobs, nil
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
	leaf, blobs, err := evalLeaf(ctx, p.signer, body)
	if err != nil {
		return nil, fail(exitFailed, "", err)
	}
	var res *log.SubmitResult
	if len(blobs) > 0 {
		res, err = p.client.SubmitWithBlobs(ctx, leaf, blobs, publishWait)
	} else {
		res, err = p.client.Submit(ctx, [][]byte{leaf}, publishWait)
	}
	if res == nil {
		return nil, fail(status(err), "the evaluation itself is kept; the same command publishes it", err)
	}
	if s := res.Results[0]; s.Status == log.Rejected {
		return nil, fail(exitFailed, "the key must be a build key of an operator that the log knows: firn operator add-key",
			fmt.Errorf("the log does not take the evaluation: %s: %s", s.Code, s.Message))
	}
	return &published{Statement: res.Results[0].ID.String(), Index: res.Results[0].Index, Derivations: len(r.Drvs)}, nil
}

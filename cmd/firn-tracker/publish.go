package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/follow"
)

// publishWait is how long the log is asked to wait for a checkpoint.
const publishWait = 10 * time.Second

// publication is the log that takes eval statements, and who signs them.
type publication struct {
	client *log.Client
	signer statement.Signer
}

// openPublication opens the log and the key of the settings.
func (a *app) openPublication(ctx context.Context, s *settings) (*publication, error) {
	l, err := s.publishLog()
	if err != nil {
		return nil, err
	}
	if s.Publish.Key == "" {
		return nil, fail(exitUsage, "name a build key of an operator with --key, or as publish.key", errors.New("the key that signs what is published is missing"))
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

// publishLog returns the log that is configured, or the only one.
func (s *settings) publishLog() (*follow.Log, error) {
	if s.Publish.Log == "" && len(s.logs) == 1 {
		return &s.logs[0], nil
	}
	for i := range s.logs {
		if n := s.Publish.Log; n != "" && (n == s.names[i] || n == s.logs[i].URL || n == s.logs[i].Origin) {
			return &s.logs[i], nil
		}
	}
	return nil, fail(exitUsage, "name the home log of the operator with --to, or as publish.log", errors.New("which log is asked is not known"))
}

// state signs and submits body. hint is for whoever could not reach the log.
func (p *publication) state(ctx context.Context, body *statement.Eval, hint string) (*log.Submitted, error) {
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
		return nil, fail(status(err), hint, err)
	}
	at := &res.Results[0]
	if at.Status == log.Rejected {
		return nil, fail(exitFailed, "the key must be a build key of an operator that the log knows: firn operator add-key",
			fmt.Errorf("the log does not take the statement: %s: %s", at.Code, at.Message))
	}
	return at, nil
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

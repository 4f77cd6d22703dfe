package main

import (
	"context"
	"fmt"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// batch is a run of people statements by one operator, each following the one
// before, that is sent in one request.
type batch struct {
	signer     statement.Signer
	prev       *statement.ID // what the next statement follows
	statements []*statement.Statement
}

// sign signs body as the next statement.
func (b *batch) sign(ctx context.Context, body statement.Body) error {
	s, err := statement.Sign(ctx, b.signer, body, "", b.prev)
	if err != nil {
		code := exitFailed
		if c := statement.CodeOf(err); c == statement.CodeBadValue || c == statement.CodeBadKey {
			code = exitUsage
		}
		return failf(code, "", "signing the %s statement: %w", body.Kind(), err)
	}
	id := s.ID()
	b.prev = &id
	b.statements = append(b.statements, s)
	return nil
}

type sentJSON struct {
	Schema     int             `json:"schema"`
	Operator   string          `json:"operator"`
	Log        string          `json:"log"`
	Statements []statementJSON `json:"statements"`
}

type statementJSON struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Says    string `json:"says"`
	Status  string `json:"status"`
	Index   uint64 `json:"index"`  // unless rejected
	Proven  bool   `json:"proven"` // false: durable, but in no checkpoint yet
	Error   string `json:"error,omitempty"`
	Message string `json:"message,omitempty"`
}

// send submits the batch, says what became of every statement, and prints the
// operator's id, or a JSON object.
func (b *batch) send(ctx context.Context, a *app, client *log.Client, f *signFlags, operator statement.ID) error {
	out := sentJSON{Schema: 1, Operator: operator.String(), Log: client.Origin(), Statements: []statementJSON{}}
	var refused error
	if len(b.statements) > 0 {
		leaves := make([][]byte, len(b.statements))
		for i, s := range b.statements {
			leaves[i] = s.Leaf()
		}
		res, err := client.Submit(ctx, leaves, f.wait)
		if err != nil {
			return logFailure("sending to the log", err)
		}
		for i, r := range res.Results {
			s := b.statements[i]
			if r.Status == log.Rejected && refused == nil {
				refused = failf(exitFailed, rejectionHint(r.Code), "the log refuses the %s statement (%s): %s", s.Kind, r.Code, r.Message)
			}
			out.Statements = append(out.Statements, statementJSON{s.ID().String(), string(s.Kind), describe(s.Body), string(r.Status), r.Index, r.Proof != nil, r.Code, r.Message})
		}
	}
	if f.json {
		if err := a.writeJSON(out); err != nil {
			return err
		}
		return refused
	}
	a.showSent(&out)
	if refused != nil {
		return refused
	}
	_, err := fmt.Fprintln(a.Stdout, out.Operator)
	return err
}

func (a *app) showSent(out *sentJSON) {
	if len(out.Statements) == 0 {
		fmt.Fprintf(a.Stderr, "nothing to do: the log %s knows all this already\n", out.Log)
	}
	for _, s := range out.Statements {
		if s.Error != "" {
			fmt.Fprintf(a.Stderr, "%s %s: %s\n", s.Status, s.Kind, s.Says)
			continue
		}
		proven := "proven"
		if !s.Proven {
			proven = "durable, and not yet in a checkpoint"
		}
		fmt.Fprintf(a.Stderr, "%s %s at index %d, %s: %s\n", s.Status, s.Kind, s.Index, proven, s.Says)
	}
}

func rejectionHint(code string) string {
	switch code {
	case "budget-unvouched", "budget-key":
		return "try again tomorrow, or ask the log's operator, or operators that it trusts, to vouch for you"
	case "key-taken":
		return "a key belongs to one operator and is registered once: make a new one with `firn key new`"
	case "unknown-prev", "unknown-operator":
		return "bring what that operator said in its home log here first: `firn operator copy`"
	}
	return ""
}

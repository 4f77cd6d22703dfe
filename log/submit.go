package log

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/statement"
)

// Bounds of one submission (spec/log.md); a caller splits what is larger.
const (
	MaxSubmitLeaves = 1000
	MaxSubmitBytes  = 8 << 20 // with the two bytes before each leaf
)

// Status says what became of a submitted leaf.
type Status string

// The three answers of a log.
const (
	Accepted  Status = "accepted"
	Duplicate Status = "duplicate" // the statement was there already
	Rejected  Status = "rejected"  // it will never be accepted as it is, unless the code says otherwise
)

// Submitted is what became of one leaf.
type Submitted struct {
	Status Status
	ID     statement.ID // of accepted and duplicate leaves
	Index  uint64       // same
	// Proof is there if the log proved that the statement is in Checkpoint;
	// it is verified. Leaf is then the leaf at Index, which for a duplicate may
	// be another one of the same statement.
	Proof *Proof
	Leaf  []byte
	// Code and Message say why a leaf was rejected, in the log's words.
	Code, Message string
}

// SubmitResult is the answer to one submission.
type SubmitResult struct {
	Results []Submitted // in the order of the leaves
	// Checkpoint is the verified one that the proofs are against; nil if the
	// log has not signed one yet: the accepted leaves are durable, and
	// [Client.Proof] will have their proofs.
	Checkpoint *Checkpoint
}

type submitAnswer struct {
	Schema  int `json:"schema"`
	Results []struct {
		Status    Status   `json:"status"`
		ID        string   `json:"id"`
		Index     *uint64  `json:"index"`
		Inclusion [][]byte `json:"inclusion"`
		Error     string   `json:"error"`
		Message   string   `json:"message"`
	} `json:"results"`
	Checkpoint string `json:"checkpoint"`
}

// maxSubmitAnswer bounds the answer in bytes: 1,000 results with 63 hashes each
// and a note.
const maxSubmitAnswer = 8 << 20

// Submit sends leaves and asks the log to wait up to wait for a checkpoint. It
// does not try again: the caller owns the back-off.
//
// The result is nil only if the request failed as a whole: with a *RequestError,
// with ErrUnreachable, or because the answer was not one. Otherwise it holds
// what the log said about every leaf, and the error says what of it did not
// verify; the leaves concerned have no Proof.
func (c *Client) Submit(ctx context.Context, leaves [][]byte, wait time.Duration) (*SubmitResult, error) {
	body, err := MarshalLeaves(leaves)
	if err != nil {
		return nil, err
	}
	if len(leaves) > MaxSubmitLeaves || len(body) > MaxSubmitBytes {
		return nil, fmt.Errorf("submitting %d leaves, %d bytes: at most %d and %d fit in one request", len(leaves), len(body), MaxSubmitLeaves, MaxSubmitBytes)
	}
	return c.submit(ctx, leaves, request{
		method: http.MethodPost, path: "v1/statements?wait=" + wait.String(),
		contentType: "application/vnd.firn.leaves", body: body, wait: wait, limit: maxSubmitAnswer,
	})
}

// submit makes a request that brings leaves, and verifies what it is answered.
func (c *Client) submit(ctx context.Context, leaves [][]byte, r request) (*SubmitResult, error) {
	before := c.seen()
	b, _, err := c.src.call(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("submitting to %s: %w", c.origin, err)
	}
	answer, err := c.parseSubmit(b, len(leaves))
	if err != nil {
		return nil, err
	}
	res := &SubmitResult{Results: make([]Submitted, len(leaves))}
	for i, r := range answer.Results {
		out := &res.Results[i]
		*out = Submitted{Status: r.Status, Code: words(r.Error), Message: words(r.Message)}
		if r.Status != Rejected {
			out.Index = *r.Index
			if out.ID, err = c.submittedID(leaves[i], r.ID); err != nil {
				return nil, err
			}
		}
	}
	if answer.Checkpoint == "" {
		return res, nil
	}
	if res.Checkpoint, err = c.acceptSince(ctx, []byte(answer.Checkpoint), before); err != nil {
		return res, err
	}
	return res, c.proveSubmitted(ctx, leaves, answer, res)
}

// proveSubmitted verifies the inclusion hashes and returns the first error.
func (c *Client) proveSubmitted(ctx context.Context, leaves [][]byte, answer *submitAnswer, res *SubmitResult) error {
	var first error
	for i := range res.Results {
		out := &res.Results[i]
		if out.Status == Rejected || out.Index >= res.Checkpoint.Size || answer.Results[i].Inclusion == nil {
			continue
		}
		hashes, err := toHashes(answer.Results[i].Inclusion)
		var leaf []byte
		switch {
		case err != nil:
			err = &ProofError{Origin: c.origin, Key: out.ID.String(), Index: out.Index, HasIndex: true, Reason: "its proof is malformed", Err: err}
		case out.Status == Duplicate:
			leaf, err = c.checkLogged(ctx, res.Checkpoint, out.ID, out.Index, hashes, leaves[i])
		default:
			leaf, err = leaves[i], checkInclusion(res.Checkpoint, out.Index, tlog.RecordHash(leaves[i]), hashes)
		}
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		out.Leaf = leaf
		out.Proof = &Proof{Index: out.Index, Hashes: hashes, Note: res.Checkpoint.Note}
	}
	return first
}

// parseSubmit reads the answer for n leaves.
func (c *Client) parseSubmit(b []byte, n int) (*submitAnswer, error) {
	bad := func(reason string, err error) (*submitAnswer, error) {
		return nil, &ProofError{Origin: c.origin, Reason: "answer to a submission: " + reason, Err: err}
	}
	var a submitAnswer
	if err := unmarshal(b, &a); err != nil {
		return bad("not JSON of its form", err)
	}
	if a.Schema != 1 {
		return bad(fmt.Sprintf("schema %d is not known", a.Schema), nil)
	}
	if len(a.Results) != n {
		return bad(fmt.Sprintf("%d results for %d leaves", len(a.Results), n), nil)
	}
	for _, r := range a.Results {
		switch r.Status {
		case Accepted, Duplicate:
			if r.Index == nil {
				return bad("a leaf is "+string(r.Status)+" without an index", nil)
			}
		case Rejected:
		default:
			return bad(fmt.Sprintf("status %q is not known", r.Status), nil)
		}
	}
	return &a, nil
}

// submittedID returns the id of a leaf, which the log must have named.
func (c *Client) submittedID(leaf []byte, named string) (statement.ID, error) {
	s, err := statement.Parse(leaf)
	if err != nil {
		return statement.ID{}, &ProofError{Origin: c.origin, Key: named, Reason: "it accepted what is not a statement", Err: err}
	}
	id := s.ID()
	if id.String() != named {
		return statement.ID{}, &ProofError{Origin: c.origin, Key: named, Reason: "the submitted statement is " + id.String()}
	}
	return id, nil
}

// toHashes turns decoded base64 into hashes.
func toHashes(raw [][]byte) ([]tlog.Hash, error) {
	if len(raw) > maxProof {
		return nil, fmt.Errorf("a proof of %d hashes", len(raw))
	}
	hashes := make([]tlog.Hash, len(raw))
	for i, b := range raw {
		if len(b) != tlog.HashSize {
			return nil, fmt.Errorf("a hash of %d bytes", len(b))
		}
		copy(hashes[i][:], b)
	}
	return hashes, nil
}

// unmarshal decodes exactly one JSON value. Unknown fields are allowed: later
// logs answer more.
func unmarshal(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("more than one JSON value")
	}
	return nil
}

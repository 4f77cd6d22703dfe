package submit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// sender is the log as the submitter needs it.
type sender interface {
	// Signer returns the key that signs.
	Signer(ctx context.Context) (statement.Signer, error)
	// Submit is that of log.Client.
	Submit(ctx context.Context, leaves [][]byte, wait time.Duration) (*log.SubmitResult, error)
	// SubmitWithBlobs is that of log.Client.
	SubmitWithBlobs(ctx context.Context, leaf []byte, blobs [][]byte, wait time.Duration) (*log.SubmitResult, error)
	// Closure returns the paths of closure statements with this digest.
	Closure(ctx context.Context, digest nix.Hash) ([]nix.StorePath, error)
}

// Outcome sums up what one call of Send left.
type Outcome struct {
	Sent     int   // statements that the log has, with proofs on disk
	Rejected int   // set aside for good
	Waiting  int   // still to send
	Why      error // why the Waiting ones wait; nil if there are none
}

// Send signs and sends what is in unsigned/, waiting up to wait for proofs. It
// tries once: see Run for patience. The error is one of the spool; one of the
// log or key is Outcome.Why.
func (s *Submitter) Send(ctx context.Context, wait time.Duration) (Outcome, error) {
	var out Outcome
	names, err := s.spool.list(unsignedDir)
	if err != nil {
		return out, err
	}
	for len(names) > 0 && out.Why == nil {
		batch, err := s.sign(ctx, names)
		if err != nil {
			out.Why = err
			break
		}
		if len(batch) == 0 {
			names = names[min(len(names), s.most):]
			continue
		}
		names = names[slices.Index(names, batch[len(batch)-1].name)+1:]
		if err := s.submit(ctx, batch, wait, &out); err != nil {
			return out, err
		}
	}
	left, err := s.spool.list(unsignedDir)
	out.Waiting = len(left)
	if out.Waiting > 0 && out.Why == nil {
		out.Why = errors.New("they came while the others were being sent")
	}
	return out, err
}

// signed is a statement whose leaf is on disk.
type signed struct {
	name  string
	leaf  []byte
	blobs bool // blobs that it names are in the spool
}

// submit sends a batch: in one request what comes without blobs, and then each of
// the others in one of its own. The error is one of the spool.
func (s *Submitter) submit(ctx context.Context, batch []signed, wait time.Duration, out *Outcome) error {
	var requests [][]signed
	var plain []signed
	for i := range batch {
		if batch[i].blobs {
			requests = append(requests, batch[i:i+1])
		} else {
			plain = append(plain, batch[i])
		}
	}
	if len(plain) > 0 {
		requests = slices.Insert(requests, 0, plain)
	}
	for _, req := range requests {
		var res *log.SubmitResult
		var err error
		if req[0].blobs {
			res, err = s.submitWithBlobs(ctx, req[0], wait)
		} else {
			leaves := make([][]byte, len(req))
			for i := range req {
				leaves[i] = req[i].leaf
			}
			res, err = s.client.Submit(ctx, leaves, wait)
		}
		if res == nil {
			out.Why = err
			return nil
		}
		if err := s.settle(req, res, err, out); err != nil || out.Why != nil {
			return err
		}
	}
	return nil
}

// submitWithBlobs sends one statement with the blobs that it names, or without
// them if the log does not take them: they are no part of what it claims.
func (s *Submitter) submitWithBlobs(ctx context.Context, one signed, wait time.Duration) (*log.SubmitResult, error) {
	body, _, err := s.spool.readPayload(unsignedDir, one.name)
	if err != nil {
		return nil, err
	}
	blobs, err := s.spool.blobsOf(body)
	if err != nil {
		return nil, err
	}
	if len(blobs) == 0 {
		return s.client.Submit(ctx, [][]byte{one.leaf}, wait)
	}
	res, err := s.client.SubmitWithBlobs(ctx, one.leaf, blobs[:min(len(blobs), log.MaxSubmitBlobs)], wait)
	var refused *log.RequestError
	if res == nil && errors.As(err, &refused) && !errors.Is(err, log.ErrUnreachable) {
		s.say("firn: warning: %s is sent without its blobs: %v", whatOf(body), err)
		return s.client.Submit(ctx, [][]byte{one.leaf}, wait)
	}
	return res, err
}

// sign returns the first statements of names that fit in one request, signed and
// on disk. A name whose file is not a statement is set aside.
func (s *Submitter) sign(ctx context.Context, names []string) ([]signed, error) {
	signer, err := s.client.Signer(ctx)
	if err != nil {
		return nil, err
	}
	names = names[:min(len(names), s.most)]
	all := make([]signed, len(names))
	err = s.spool.each(len(names), func(i int) error {
		one, err := s.leaf(ctx, signer, names[i])
		var reason *Reason
		if errors.As(err, &reason) {
			return s.fail(unsignedDir, names[i], reason)
		}
		all[i] = one
		return err
	})
	if err != nil {
		return nil, err
	}
	var batch []signed
	size := 0
	for _, one := range all {
		if size += len(one.leaf) + 2; size > log.MaxSubmitBytes {
			break
		}
		if one.leaf != nil {
			batch = append(batch, one)
		}
	}
	return batch, nil
}

// leaf returns the signed leaf of a statement. It is on disk before it is sent,
// so that it is never sent again with another signature.
func (s *Submitter) leaf(ctx context.Context, signer statement.Signer, name string) (signed, error) {
	body, payload, err := s.spool.readPayload(unsignedDir, name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return signed{}, err
		}
		return signed{}, &Reason{CodeBadRecord, "the file is not a statement: " + err.Error()}
	}
	one := signed{name: name, blobs: s.spool.hasBlobs(body)}
	if leaf, err := os.ReadFile(s.spool.path(signedDir, name)); err == nil {
		st, err := statement.Parse(leaf)
		if err == nil && st.Signer == signer.PublicKey().ID() && string(st.Payload) == string(payload) {
			one.leaf = leaf
			return one, nil
		}
	}
	// One at a time: a security key wants a touch for each.
	s.signing.Lock()
	leaf, err := signer.Sign(ctx, payload)
	s.signing.Unlock()
	if err != nil {
		if statement.CodeOf(err) != "" {
			return signed{}, asReason(err)
		}
		return signed{}, fmt.Errorf("signing: %w", err)
	}
	one.leaf = leaf
	return one, s.spool.write(signedDir, name, leaf)
}

// settle deals with the log's answer to one batch. unproven is why some proofs
// are missing, nil if the log only needs more time.
func (s *Submitter) settle(batch []signed, res *log.SubmitResult, unproven error, out *Outcome) error {
	for i := range batch {
		r := &res.Results[i]
		switch {
		case r.Status == log.Rejected && send.Later(r.Code):
			out.Why = &send.RejectedError{Code: r.Code, Message: r.Message}
		case r.Status == log.Rejected:
			out.Rejected++
		case r.Proof != nil:
			out.Sent++
		case unproven != nil:
			out.Why = unproven
		default:
			out.Why = errors.New("the log has them, and has not proven it yet")
		}
	}
	return s.spool.each(len(batch), func(i int) error {
		r := &res.Results[i]
		switch {
		case r.Status == log.Rejected && !send.Later(r.Code):
			return s.fail(unsignedDir, batch[i].name, &Reason{r.Code, r.Message})
		case r.Status != log.Rejected && r.Proof != nil:
			return s.keep(batch[i].name, batch[i].leaf, r)
		}
		return nil
	})
}

// keep stores a receipt: the proof, then the leaf that it proves, and then the
// earlier states go.
func (s *Submitter) keep(name string, leaf []byte, r *log.Submitted) error {
	if r.Leaf != nil {
		leaf = r.Leaf // the same statement, signed another time
	}
	if err := s.spool.write(sentDir, name+proofSuffix, r.Proof.Marshal()); err != nil {
		return err
	}
	if err := s.spool.write(sentDir, name, leaf); err != nil {
		return err
	}
	what := name
	if body, _, err := s.spool.readPayload(unsignedDir, name); err == nil {
		what = whatOf(body)
	}
	s.say("%s %s: entry %d, statement %s", Sent, what, r.Index, r.ID)
	return errors.Join(s.spool.remove(unsignedDir, name), s.spool.remove(signedDir, name))
}

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
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// sender is the log as the submitter needs it.
type sender interface {
	// Signer returns the key that signs.
	Signer(ctx context.Context) (statement.Signer, error)
	// Submit is that of log.Client.
	Submit(ctx context.Context, leaves [][]byte, wait time.Duration) (*log.SubmitResult, error)
	// Closure returns the paths of the closure statement with this digest.
	Closure(ctx context.Context, digest string) (*statement.Closure, error)
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
		batch, leaves, err := s.sign(ctx, names)
		if err != nil {
			out.Why = err
			break
		}
		if len(batch) == 0 {
			names = names[min(len(names), s.most):]
			continue
		}
		res, err := s.client.Submit(ctx, leaves, wait)
		if res == nil {
			out.Why = err
			break
		}
		if err := s.settle(batch, leaves, res, err, &out); err != nil {
			return out, err
		}
		names = names[slices.Index(names, batch[len(batch)-1])+1:]
	}
	left, err := s.spool.list(unsignedDir)
	out.Waiting = len(left)
	if out.Waiting > 0 && out.Why == nil {
		out.Why = errors.New("they came while the others were being sent")
	}
	return out, err
}

// sign returns the first leaves of names that fit in one request, signed and on
// disk. A name whose file is not a statement is set aside.
func (s *Submitter) sign(ctx context.Context, names []string) (batch []string, leaves [][]byte, err error) {
	signer, err := s.client.Signer(ctx)
	if err != nil {
		return nil, nil, err
	}
	names = names[:min(len(names), s.most)]
	signed := make([][]byte, len(names))
	err = s.spool.each(len(names), func(i int) error {
		leaf, err := s.leaf(ctx, signer, names[i])
		var reason *Reason
		if errors.As(err, &reason) {
			return s.fail(unsignedDir, names[i], reason)
		}
		signed[i] = leaf
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	size := 0
	for i, leaf := range signed {
		if size += len(leaf) + 2; size > log.MaxSubmitBytes {
			break
		}
		if leaf != nil {
			batch, leaves = append(batch, names[i]), append(leaves, leaf)
		}
	}
	return batch, leaves, nil
}

// leaf returns the signed leaf of a statement. It is on disk before it is sent,
// so that it is never sent again with another signature.
func (s *Submitter) leaf(ctx context.Context, signer statement.Signer, name string) ([]byte, error) {
	_, payload, err := s.spool.readPayload(unsignedDir, name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		return nil, &Reason{CodeBadRecord, "the file is not a statement: " + err.Error()}
	}
	if leaf, err := os.ReadFile(s.spool.path(signedDir, name)); err == nil {
		st, err := statement.Parse(leaf)
		if err == nil && st.Signer == signer.PublicKey().ID() && string(st.Payload) == string(payload) {
			return leaf, nil
		}
	}
	// One at a time: a security key wants a touch for each.
	s.signing.Lock()
	leaf, err := signer.Sign(ctx, payload)
	s.signing.Unlock()
	if err != nil {
		if statement.CodeOf(err) != "" {
			return nil, asReason(err)
		}
		return nil, fmt.Errorf("signing: %w", err)
	}
	return leaf, s.spool.write(signedDir, name, leaf)
}

// settle deals with the log's answer to one batch. unproven is why some proofs
// are missing, nil if the log only needs more time.
func (s *Submitter) settle(batch []string, leaves [][]byte, res *log.SubmitResult, unproven error, out *Outcome) error {
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
			return s.fail(unsignedDir, batch[i], &Reason{r.Code, r.Message})
		case r.Status != log.Rejected && r.Proof != nil:
			return s.keep(batch[i], leaves[i], r)
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

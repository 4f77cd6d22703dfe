// Package witnessing asks witnesses to cosign checkpoints (c2sp.org/tlog-witness,
// the side of whoever submits), and collects what they sign.
//
// A [Client] asks one witness: it sends the consistency proof that the witness
// needs, waits between failures, keeps to a budget of requests, and has one
// request on its way at a time. A [Collector] asks all witnesses of a policy about
// the checkpoints of one log, one checkpoint after the other, until the quorum
// has cosigned each; cosignatures that come later are merged in.
//
// Only what is signed is believed. A size that a witness answers without a
// signature (status 409) leads to one more request with another proof, and to
// nothing else; a cosignature counts when log/policy has verified it; everything
// else that a witness answers, or does not answer, is an [*Error] that names the
// witness and what it did. The document is spec/log.md#witnesses.
package witnessing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// Bounds of what is sent and read.
const (
	maxProof  = 63       // lines of a consistency proof
	maxAnswer = 64 << 10 // bytes of an answer to add-checkpoint
)

// A Prover returns the consistency proof from the tree of the first old entries
// to that of size; 1 ≤ old < size. It may be called concurrently.
type Prover func(ctx context.Context, old, size uint64) ([]tlog.Hash, error)

// A Checkpoint is a checkpoint to be cosigned.
type Checkpoint struct {
	Head policy.Head
	// Note is the signed note: the text of Head with the signature of the log.
	// Other signatures may follow.
	Note []byte
}

// NewCheckpoint reads a checkpoint from a note, which it does not verify. A size
// of 0 is refused: no witness is ever asked about an empty tree.
func NewCheckpoint(note []byte) (Checkpoint, error) {
	n, err := policy.ParseNote(note)
	if err != nil {
		return Checkpoint{}, err
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if head.Size == 0 {
		return Checkpoint{}, errEmptyTree
	}
	return Checkpoint{Head: head, Note: note}, nil
}

var errEmptyTree = errors.New("a checkpoint of an empty tree is not for witnesses")

// An Outcome is what became of asking a witness; it is the value of a metric's label.
type Outcome string

// The outcomes.
const (
	Cosigned       Outcome = "cosigned"
	Unreachable    Outcome = "unreachable"     // no connection, or it broke
	TimedOut       Outcome = "timeout"         // it did not answer in time
	Refused        Outcome = "refused"         // a status that means no
	Garbage        Outcome = "garbage"         // an answer that is no answer
	WrongSignature Outcome = "wrong-signature" // under the key of the policy
	NoCosignature  Outcome = "no-cosignature"  // 200, and none by a key of the policy
	ClaimsLarger   Outcome = "claims-larger"   // an unsigned size above the checkpoint's
	Conflict       Outcome = "conflict"        // 409 again and again
	Failed         Outcome = "failed"          // here: the proof could not be made
)

// An Error says why a witness did not cosign.
type Error struct {
	URL     string
	Outcome Outcome
	Status  int    // HTTP status, 0 if there was none
	Claimed uint64 // ClaimsLarger: the size, which nobody signed
	Err     error

	retryAfter time.Duration
}

func (e *Error) Error() string {
	return fmt.Sprintf("witness at %s: %s: %v", e.URL, e.Outcome, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// OutcomeOf returns the outcome that err stands for; nil is Cosigned.
func OutcomeOf(err error) Outcome {
	var e *Error
	switch {
	case err == nil:
		return Cosigned
	case errors.As(err, &e):
		return e.Outcome
	}
	return Failed
}

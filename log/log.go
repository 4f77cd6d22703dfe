// Package log reads and writes a firn log from the client's side.
//
// A [Client] is bound to one origin and one log policy. Nothing that it returns
// was merely told by the log: checkpoints satisfied the policy and are
// consistent with the one remembered, entries, inclusion hashes and proofs were
// recomputed against such a checkpoint. Where a log contradicts itself the
// error is a [*ProofError]; where it shows two histories it is a [*ForkError],
// which carries both signed notes; where it cannot be reached it matches
// [ErrUnreachable]; and where it cannot prove that its history goes on from the
// remembered one it matches [ErrUnproven].
//
// The package implements the reader's side of the C2SP documents tlog-tiles,
// tlog-checkpoint and tlog-proof, and spec/proofs.md. Whether a statement's
// signature is good is not decided here but by the reader's own policy.
package log

import (
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// A Checkpoint is a checkpoint that satisfied a policy.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
	Note   []byte // the signed note as it was received
	// Mirror is the URL of the mirror that showed it, "" if the log did.
	Mirror string

	// Verified says who signed, and how old the checkpoint is.
	Verified *policy.Verified
}

// An Entry is one leaf of a log.
type Entry struct {
	Index uint64
	Leaf  []byte
}

// VerifyCheckpoint holds a note against a policy, and nothing else: it does not
// know what was seen before. Errors are those of [policy.Policy.Verify].
func VerifyCheckpoint(pol *policy.Policy, note []byte, now time.Time) (*Checkpoint, error) {
	v, err := pol.Verify(note, now)
	if err != nil {
		return nil, err
	}
	return newCheckpoint(v, note), nil
}

func newCheckpoint(v *policy.Verified, note []byte) *Checkpoint {
	return &Checkpoint{Origin: v.Origin, Size: v.Size, Root: v.Root, Note: note, Verified: v}
}

func (c *Checkpoint) tree() tlog.Tree { return tlog.Tree{N: int64(c.Size), Hash: c.Root} }

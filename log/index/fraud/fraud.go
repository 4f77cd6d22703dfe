// Package fraud says when the index of a log is convicted: the log has signed a
// revision, a commitment to a map, that the leaves of the same log contradict
// (spec/evidence.md#index-what-convicts).
//
// Package evidence reads and writes evidence of its kind index, and this package
// judges it: [Verify], [VerifySelf], and [Judge] for an evidence.Store. Who finds
// that a map is wrong makes evidence with [FromRevisions], [FromEntry] or
// [FromMap]. An honest log is never convicted, whatever of its revisions,
// checkpoints, entries and proofs are put together. Nothing here panics on
// foreign bytes, and everything may be used concurrently.
package fraud

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// Verify returns whom evidence of any kind convicts under pol. Errors are those of
// [evidence.Evidence.Verify]; of evidence against an index they match
// evidence.ErrReserved only if a later firn may know better: another map version, or
// an entry of a kind that this one does not know.
func Verify(e *evidence.Evidence, pol *policy.Policy) (evidence.Verdict, error) {
	return e.VerifyWith(pol, Judge)
}

// VerifyKey is Verify for the holder of one key, as [evidence.Evidence.VerifyKey].
func VerifyKey(e *evidence.Evidence, k policy.Key) (evidence.Verdict, error) {
	return e.VerifyKeyWith(k, Judge)
}

// VerifySelf checks that evidence of any kind convicts the key that it names
// itself, which anybody can have made: see [evidence.Evidence.VerifySelf].
func VerifySelf(e *evidence.Evidence) (evidence.Verdict, error) { return e.VerifySelfWith(Judge) }

// CheckStatement judges the evidence in the body of a statement if it is against an
// index, which parsing the statement does not. Who admits or reads such a leaf MUST
// call it (spec/statement.md#evidence). Errors are *[statement.Error]:
// "not-evidence", or "not-yet" for what a later firn may judge.
func CheckStatement(b *statement.Evidence) error {
	e, err := b.Parsed()
	if err == nil && e.Kind == evidence.KindIndex {
		_, err = VerifySelf(e)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, evidence.ErrReserved):
		return &statement.Error{Code: statement.CodeNotYet, Msg: "evidence: " + err.Error()}
	case errors.Is(err, evidence.ErrNotEvidence):
		return &statement.Error{Code: statement.CodeNotEvidence, Msg: "evidence: " + err.Error()}
	}
	return &statement.Error{Code: statement.CodeBadValue, Msg: "evidence: " + err.Error()}
}

func innocent(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{evidence.ErrNotEvidence}, args...)...)
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{evidence.ErrMalformed}, args...)...)
}

// Judge is the evidence.Judge. Callers other than package evidence use [VerifySelf].
func Judge(e *evidence.Evidence) (evidence.Verdict, error) {
	if e.Kind != evidence.KindIndex || e.Index == nil || e.Key.Type != policy.TypeEd25519 {
		return evidence.Verdict{}, malformed("this is not evidence against an index")
	}
	judge := judgeMap
	if len(e.Index.Revisions) > 0 {
		judge = judgeRevisions
	}
	rev, why, err := judge(e.Key, e.Index)
	if err != nil {
		return evidence.Verdict{}, err
	}
	return evidence.Verdict{
		Kind: evidence.KindIndex, Origin: e.Key.Name, Key: e.Key, Name: e.Key.Name,
		MapVersion: rev.MapVersion, Size: rev.Size, Why: why,
	}, nil
}

// signedBy parses a leaf that the key of a log signed.
func signedBy(key policy.Key, leaf []byte) (*statement.Statement, error) {
	s, err := statement.Parse(leaf)
	if err != nil {
		return nil, innocent("a leaf that should be the log's is no statement: %w", err)
	}
	k, err := statement.Ed25519Key(key.Public)
	if err == nil {
		err = s.Verify(k)
	}
	if err != nil {
		return nil, innocent("a statement that should be the log's: %w", err)
	}
	return s, nil
}

// revision parses a leaf that must be a revision of the log of key.
func revision(key policy.Key, leaf []byte) (*statement.Revision, error) {
	s, err := signedBy(key, leaf)
	if err != nil {
		return nil, err
	}
	rev, ok := s.Body.(*statement.Revision)
	switch {
	case !ok:
		return nil, innocent("a %s statement is not a revision", s.Kind)
	case rev.Origin != key.Name:
		return nil, innocent("a revision of the log %s", rev.Origin)
	}
	return rev, nil
}

// judgeRevisions judges two revisions. The map is a function of the leaves, so it
// does not matter whether this firn knows its version.
func judgeRevisions(key policy.Key, x *evidence.Index) (*statement.Revision, string, error) {
	var revs [2]*statement.Revision
	if len(x.Revisions) != len(revs) {
		return nil, "", malformed("%d revisions instead of two", len(x.Revisions))
	}
	for i, leaf := range x.Revisions {
		var err error
		if revs[i], err = revision(key, leaf); err != nil {
			return nil, "", err
		}
	}
	a, b := revs[0], revs[1]
	switch {
	case a.MapVersion != b.MapVersion:
		return nil, "", innocent("two revisions of the map versions %d and %d", a.MapVersion, b.MapVersion)
	case a.Size != b.Size:
		return nil, "", innocent("two revisions of the sizes %d and %d: every index grows", a.Size, b.Size)
	case a.Root == b.Root:
		return nil, "", innocent("two revisions with one root")
	case compare(a.Root, b.Root) > 0:
		return nil, "", malformed("the revision with the smaller root comes first")
	}
	return a, fmt.Sprintf("two revisions of size %d have different roots", a.Size), nil
}

// compare orders hashes by their bytes.
func compare(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }

// ClearedBy reports whether a leaf at an index of the log, which the caller
// knows to be there, answers evidence against the log's index: it is an
// index-reset by the convicted key that withdraws the revisions of the evidence
// (spec/evidence.md#answering). So evidence about a larger revision stands for that
// about all smaller ones. Evidence that convicts nobody is not cleared.
func ClearedBy(e *evidence.Evidence, leaf []byte, at uint64) bool {
	v, err := VerifySelf(e)
	if err != nil || v.Kind != evidence.KindIndex {
		return false
	}
	s, err := signedBy(e.Key, leaf)
	if err != nil {
		return false
	}
	reset, ok := s.Body.(*statement.IndexReset)
	rev := &statement.Revision{Origin: v.Origin, MapVersion: v.MapVersion, Size: v.Size}
	return ok && reset.Size <= at && reset.Withdraws(rev)
}

// included checks that a leaf is in the tree of a checkpoint.
func included(head policy.Head, in *evidence.Included, what string) error {
	err := tlog.CheckRecord(in.Proof, int64(head.Size), head.Root, int64(in.Index), tlog.RecordHash(in.Leaf))
	if err != nil {
		return innocent("the %s is not proven to be at index %d of the tree of size %d", what, in.Index, head.Size)
	}
	return nil
}

// checkpoint reads a checkpoint and verifies the log's signature.
func checkpoint(key policy.Key, note []byte) (policy.Head, error) {
	n, err := policy.ParseNote(note)
	if err != nil {
		return policy.Head{}, malformed("%w", err)
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		return head, malformed("%w", err)
	}
	for _, s := range n.Signatures {
		if s.Name == key.Name && s.ID == key.ID && key.Verify(n.Text, s.Sig) && head.Origin == key.Name {
			return head, nil
		}
	}
	return head, innocent("the checkpoint of size %d is not signed by %s", head.Size, key.Name)
}

// knownVersion refuses what only a later firn can judge.
func knownVersion(rev *statement.Revision) error {
	if rev.MapVersion != index.MapVersion {
		return fmt.Errorf("%w: the revision is of map version %d, and this firn knows version %d", evidence.ErrReserved, rev.MapVersion, index.MapVersion)
	}
	return nil
}

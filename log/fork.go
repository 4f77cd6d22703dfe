package log

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

// maxProof bounds the hashes of one proof.
const maxProof = 63

// sameHistory returns nil if the tree of large, as its tiles have it, begins
// with the tree of small; a *ForkError if it provably does not, which convicts
// the log or witnesses that cosigned both; and an error matching ErrUnproven if
// the tiles do not say. old and cp are the same two checkpoints in the order in
// which they were seen.
func (c *Client) sameHistory(ctx context.Context, small, large, old, cp *Checkpoint) error {
	var root tlog.Hash
	var proof tlog.TreeProof
	switch {
	case small.Size == 0:
		return nil // every tree begins with the empty one
	case small.Size == large.Size:
		if small.Root == large.Root {
			return nil
		}
	default:
		// Every hash that this reader returns is proven to be in the tree of
		// large, so another root at this size is a second history.
		r := c.hashReader(ctx, large)
		var err error
		if root, err = tlog.TreeHash(int64(small.Size), r); err == nil {
			if root == small.Root {
				return nil
			}
			proof, err = tlog.ProveTree(int64(large.Size), int64(small.Size), r)
		}
		if err != nil {
			return fmt.Errorf("%w: %s from size %d to %d: %w", ErrUnproven, c.origin, small.Size, large.Size, c.tileError(err))
		}
	}
	all, err := evidence.FromNotes(c.pol, small.Note, large.Note, root, proof)
	if err != nil {
		return fmt.Errorf("%w: %s shows another history, but: %w", ErrUnproven, c.origin, err)
	}
	return &ForkError{Origin: c.origin, Old: old.Note, New: cp.Note, Evidence: all[0].Marshal(), all: all}
}

// checkConsistency returns an error unless hashes prove that the tree of the
// larger size begins with the smaller one, which is not empty (RFC 6962 §2.1.2).
func checkConsistency(size1 uint64, root1 tlog.Hash, size2 uint64, root2 tlog.Hash, hashes []tlog.Hash) error {
	if size1 == size2 && size1 > 0 {
		if root1 != root2 || len(hashes) > 0 {
			return errors.New("one size with two roots, or with a proof")
		}
		return nil
	}
	return tlog.CheckTree(hashes, int64(size2), root2, int64(size1), root1)
}

// Evidence returns the store of evidence, in the folder evidence of the memory's.
func (m *Memory) Evidence() *evidence.Store { return m.store }

// OnEvidence makes the memory call f with each piece of evidence that it keeps
// anew. It must be called before the memory is used; f must not block.
func (m *Memory) OnEvidence(f func(evidence.Held)) { m.onEvidence = f }

// keep writes the evidence of a fork, against the log and against every witness
// that cosigned both histories, and returns what the caller is to be told: the
// fork with the path of its evidence, or, if it convicts no log, ErrUnproven.
func (m *Memory) keep(pol *policy.Policy, fork *ForkError) error {
	var err error
	for _, e := range fork.all {
		held, added, e2 := m.store.Add(e, pol)
		switch {
		case errors.Is(e2, evidence.ErrSetAside):
			e2 = nil // it is on disk; the log shows again what it was forgiven
		case e2 != nil:
			err = errors.Join(err, e2)
		case added && m.onEvidence != nil:
			m.onEvidence(held)
		}
		if e2 == nil && e.Kind == evidence.KindLog && fork.Path == "" {
			fork.Path, fork.Evidence = held.Path, held.Bytes
		}
	}
	if fork.all[0].Kind != evidence.KindLog {
		unproven := fmt.Errorf("%w: %s shows another history, which no one key signed twice; witnesses cosigned both", ErrUnproven, fork.Origin)
		return errors.Join(unproven, err)
	}
	if err != nil {
		return errors.Join(fork, err)
	}
	return fork
}

// convicted returns a *ForkError if evidence is held that convicts the log of
// origin. [Memory.Forget] is the way out.
func (m *Memory) convicted(pol *policy.Policy, origin string) error {
	held, err := m.store.AgainstLog(pol, origin)
	if err != nil || len(held) == 0 {
		return err
	}
	e := held[0].Evidence
	return &ForkError{Origin: origin, Old: e.Small, New: e.Large, Evidence: held[0].Bytes, Path: held[0].Path}
}

// AddEvidence keeps evidence that convicts a log or a witness of pol, and
// reports whether it is new. Errors are those of [evidence.Store.Add].
func (m *Memory) AddEvidence(e *evidence.Evidence, pol *policy.Policy) (held evidence.Held, added bool, err error) {
	held, added, err = m.store.Add(e, pol)
	if added && m.onEvidence != nil {
		m.onEvidence(held)
	}
	return held, added, err
}

// Forget makes the memory begin afresh with the log of origin, although, and
// only if, e convicts it under pol: it has shown two histories, and somebody has
// found out which one is to be believed from now on. The remembered checkpoint
// and all evidence against the log are set aside in a folder of their own, whose
// paths it returns; none of this evidence is taken again. Evidence against
// witnesses stays.
func (m *Memory) Forget(pol *policy.Policy, origin string, e *evidence.Evidence) ([]string, error) {
	if m.dir == "" {
		return nil, errors.New("nothing is remembered")
	}
	v, err := e.Verify(pol)
	switch {
	case err != nil:
		return nil, err
	case v.Kind != evidence.KindLog || v.Origin != origin:
		return nil, fmt.Errorf("%w: it is against the %s %s and not against the log %s", evidence.ErrUnknownKey, v.Kind, v.Name, origin)
	}
	// Until the last step evidence is held, and the log refused.
	if _, _, err := m.store.Add(e, pol); err != nil && !errors.Is(err, evidence.ErrSetAside) {
		return nil, err
	}
	aside, err := m.setAsideCheckpoint(origin)
	if err != nil {
		return aside, err
	}
	// Add may have named another file in place of e.
	b := e.Marshal()
	if _, err := m.store.Archive(evidence.FileName(origin, b), b); err != nil {
		return aside, err
	}
	moved, err := m.store.SetAside(origin)
	return append(aside, moved...), err
}

func (m *Memory) setAsideCheckpoint(origin string) ([]string, error) {
	for {
		note, err := m.read(origin)
		if err != nil || note == nil {
			return nil, err
		}
		name := fmt.Sprintf("%s-%x.checkpoint", originName(origin), tlog.RecordHash(note))
		path, err := m.store.Archive(name, note)
		if err != nil {
			return nil, err
		}
		if done, err := m.swap(origin, note, nil); done || err != nil {
			return []string{path}, err
		}
	}
}

// evidenceDir is where a memory in dir keeps evidence.
func evidenceDir(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "evidence")
}

package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

// evidenceName is the folder with evidence in a store.
const evidenceName = "evidence"

// Errors of Evidence.
var (
	// ErrNotEvidence is matched by the error for bytes that convict nobody.
	ErrNotEvidence = errors.New("it convicts nobody")
	// ErrNotOurs is matched by the error for evidence against somebody who is no
	// log of this witness, or against an index.
	ErrNotOurs = errors.New("it is not evidence of two histories of a log that this witness knows")
)

// Evidence checks evidence of misbehaviour of a log. If it convicts one that
// the witness knows, it is kept, and nothing of that origin is cosigned any
// more, also after a restart. Evidence speaks for itself; it does not matter who
// brings it.
func (w *Witness) Evidence(ctx context.Context, b []byte) (origin string, err error) {
	e, err := evidence.Parse(b)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotEvidence, err)
	}
	if e.Kind == evidence.KindWitness && e.Key.String() == w.key.verifier.String() {
		if _, err := e.VerifySelf(); err == nil {
			w.log.Error("evidence against this witness itself: its key signed two histories", "origin", e.Origin())
		}
	}
	if e.Kind == evidence.KindIndex {
		return "", fmt.Errorf("%w: it is against the index of %s, and a witness signs for the history of a log alone; hand it to a firn-peer", ErrNotOurs, e.Origin())
	}
	l := w.known(e.Origin())
	if e.Kind != evidence.KindLog || l == nil {
		return "", ErrNotOurs
	}
	if _, err := e.Verify(l.asPolicy()); err != nil {
		if errors.Is(err, evidence.ErrUnknownKey) {
			return "", fmt.Errorf("%w: %w", ErrNotOurs, err)
		}
		return "", fmt.Errorf("%w: %w", ErrNotEvidence, err)
	}
	return l.Origin, w.convict(ctx, l, e)
}

// asPolicy returns a policy that names the keys of the log and nothing else.
func (l *Log) asPolicy() *policy.Policy {
	p := &policy.Policy{Quorum: policy.None}
	for _, k := range l.Keys {
		p.Logs = append(p.Logs, policy.Log{Key: k})
	}
	return p
}

// convict keeps verified evidence and refuses the origin for good. Whoever brought it
// and hangs up does not stop that.
func (w *Witness) convict(ctx context.Context, l *knownLog, e *evidence.Evidence) error {
	ctx = context.WithoutCancel(ctx)
	held, added, err := evidence.NewStore(w.store.path(evidenceName)).Add(e, l.asPolicy())
	if err != nil {
		return fmt.Errorf("keeping evidence: %w", err)
	}
	first := w.store.Latest(l.Origin).Refused == ""
	if err := w.store.Refuse(ctx, l.Origin, filepath.Base(held.Path)); err != nil {
		return err
	}
	if first || added {
		w.log.Error("a log has shown two histories and is refused from now on", "origin", l.Origin, "evidence", held.Path)
	}
	if added && w.convicted != nil {
		w.convicted(held)
	}
	return nil
}

// refused looks at a request that was refused: with what is kept it may be
// evidence against the log (W9). It returns the refusal.
func (w *Witness) refused(ctx context.Context, l *knownLog, latest State, req *Request, err error) error {
	var r *Refusal
	if !errors.As(err, &r) || r.Rule != "W4" && r.Rule != "W6" || latest.Note == nil || latest.Size == 0 || req.Head.Size == 0 {
		return err
	}
	var other tlog.Hash
	switch {
	case req.Head.Size == latest.Size:
		if req.Head.Root == latest.Root {
			return err
		}
	case req.Head.Size > latest.Size && req.Old == latest.Size:
		root, ok := provenRoot(req.Proof, req.Head.Size, req.Head.Root, latest.Size)
		if !ok || root == latest.Root {
			return err
		}
		other = root
	default:
		return err
	}
	note := req.Note.Marshal()
	for _, k := range l.Keys {
		if k.Type != policy.TypeEd25519 {
			continue
		}
		e, newErr := evidence.New(evidence.KindLog, k, latest.Note, note, other, req.Proof)
		if newErr != nil {
			continue
		}
		if convictErr := w.convict(ctx, l, e); convictErr != nil {
			w.log.Error("evidence against a log could not be kept", "origin", l.Origin, "error", convictErr)
		}
		return err
	}
	w.log.Warn("two checkpoints that no single tree holds, signed by different keys of one log", "origin", l.Origin, "size", req.Head.Size)
	return err
}

// provenRoot returns the root that a consistency proof shows the tree with size
// and root to have had at the size old < size, if the proof holds for one at all
// (RFC 9162 §2.1.4.2). A proof from a power of two does not hold its root.
func provenRoot(proof []tlog.Hash, size uint64, root tlog.Hash, old uint64) (tlog.Hash, bool) {
	if len(proof) == 0 || old&(old-1) == 0 {
		return tlog.Hash{}, false
	}
	skip := bits.TrailingZeros64(^(old - 1))
	fn, sn := (old-1)>>skip, (size-1)>>skip
	fr, sr := proof[0], proof[0]
	for _, c := range proof[1:] {
		if sn == 0 {
			return tlog.Hash{}, false
		}
		if fn&1 == 1 || fn == sn {
			fr, sr = tlog.NodeHash(c, fr), tlog.NodeHash(c, sr)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			sr = tlog.NodeHash(sr, c)
		}
		fn, sn = fn>>1, sn>>1
	}
	return fr, sn == 0 && bytes.Equal(sr[:], root[:])
}

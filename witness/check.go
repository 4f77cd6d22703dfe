package witness

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/ed25519x"
	"github.com/firn-log/firn/log/policy"
)

// addCheckpoint goes through the steps of spec/witness.md#steps in their order
// and returns the cosignature line.
func (w *Witness) addCheckpoint(ctx context.Context, body []byte) ([]byte, error) {
	announced := w.store.announce()
	defer announced()
	req, err := ParseRequest(body)
	if err != nil {
		return nil, &Refusal{Status: 400, Rule: "W12", Reason: err.Error()}
	}
	l := w.known(req.Head.Origin)
	if l == nil {
		return nil, &Refusal{Status: 404, Rule: "W1", Reason: "this witness does not know the origin of the checkpoint"}
	}
	refuse := func(status int, rule, format string, args ...any) *Refusal {
		return &Refusal{Status: status, Rule: rule, Origin: l.Origin, Reason: fmt.Sprintf(format, args...)}
	}
	signatures, err := l.verify(req.Note)
	if err != nil {
		return nil, refuse(403, "W2", "%v", err)
	}
	if err := w.Doubt(); err != nil {
		return nil, err
	}
	if err := w.mayBeNew(l.Origin); err != nil {
		return nil, err
	}
	if wait := l.budget.take(l.QPD, w.now()); wait > 0 {
		r := refuse(429, "budget", "this log has had its %d requests of the day", l.QPD)
		r.RetryAfter = wait
		return nil, r
	}
	if req.Old > req.Head.Size {
		return nil, refuse(400, "W3", "the old size %d is larger than the checkpoint's %d", req.Old, req.Head.Size)
	}
	announced()
	passed, err := w.pass(ctx, req, refuse)
	if err != nil {
		return nil, err
	}
	var line string
	old, err := w.store.Update(ctx, l.Origin, func(latest State) ([]byte, error) {
		if err := permit(latest, req, refuse); err != nil {
			return nil, err
		}
		if !passed {
			r := refuse(503, "gate", "another request changed what this one goes on from; send it again")
			r.RetryAfter = time.Second
			return nil, r
		}
		note, mine, err := w.cosign(latest, req, signatures)
		line = mine
		return note, err
	})
	if err != nil {
		return nil, w.refused(ctx, l, old, req, err)
	}
	return []byte(line), nil
}

// pass asks the gate about a checkpoint that would be cosigned, and reports whether
// it let it pass. One that would be refused is not asked about.
func (w *Witness) pass(ctx context.Context, req *Request, refuse func(int, string, string, ...any) *Refusal) (bool, error) {
	if w.gate == nil {
		return true, nil
	}
	if permit(w.store.Latest(req.Head.Origin), req, refuse) != nil {
		return false, nil
	}
	return true, w.gate(ctx, req)
}

// verify returns the signature lines of the log: every one under the name and
// id of a key of the log must verify, and one must be there (W2). Lines of an
// ML-DSA key of the log are returned too; they are carried and never counted.
func (l *knownLog) verify(n *policy.Note) ([]policy.Signature, error) {
	var lines []policy.Signature
	verified := false
	for _, s := range n.Signatures {
		i := slices.IndexFunc(l.Keys, func(k policy.Key) bool { return k.Name == s.Name && k.ID == s.ID })
		if i < 0 || slices.ContainsFunc(lines, func(t policy.Signature) bool { return sameLine(s, t) }) {
			continue
		}
		switch k := l.Keys[i]; k.Type {
		case policy.TypeEd25519:
			if !ed25519x.Verify(ed25519.PublicKey(k.Public), []byte(n.Text), s.Sig) {
				return nil, &policy.SignatureError{Name: s.Name, ID: s.ID}
			}
			verified = true
		case policy.TypeMLDSA:
			if len(s.Sig) != mldsaSignature {
				return nil, &policy.SignatureError{Name: s.Name, ID: s.ID}
			}
			if slices.ContainsFunc(lines, func(t policy.Signature) bool { return t.Name == s.Name && t.ID == s.ID }) {
				continue // nobody can say which is right: the first
			}
		}
		lines = append(lines, s)
	}
	if !verified {
		return nil, policy.ErrUnknownLog
	}
	return lines, nil
}

// mldsaSignature is a time and an ML-DSA-44 signature, in bytes.
const mldsaSignature = 8 + 2420

func sameLine(a, b policy.Signature) bool {
	return a.Name == b.Name && a.ID == b.ID && string(a.Sig) == string(b.Sig)
}

// permit says whether a checkpoint may be cosigned after latest (W4, W5, W6).
func permit(latest State, req *Request, refuse func(int, string, string, ...any) *Refusal) error {
	head := req.Head
	switch {
	case latest.Refused != "":
		return refuse(403, "evidence", "this origin is refused: there is evidence that it has shown two histories")
	case req.Old != latest.Size:
		return refuse(409, "W4", "%s", strconv.FormatUint(latest.Size, 10))
	case req.WrongEmpty:
		return refuse(422, "W5", "a checkpoint of size 0 with another root than that of the empty tree")
	case req.Old == 0:
		// The empty tree is the beginning of every tree.
		if len(req.Proof) > 0 {
			return refuse(422, "W6", "a consistency proof from size 0, which needs none")
		}
	case req.Old == head.Size:
		if head.Root != latest.Root {
			return refuse(422, "W6", "another root at the size that was cosigned before")
		}
		if len(req.Proof) > 0 {
			return refuse(422, "W6", "a consistency proof for a tree that has not grown")
		}
	default:
		// policy.MaxSize keeps the conversions from overflowing.
		if tlog.CheckTree(req.Proof, int64(head.Size), head.Root, int64(latest.Size), latest.Root) != nil {
			return refuse(422, "W6", "the consistency proof from size %d to size %d does not verify", latest.Size, head.Size)
		}
	}
	return nil
}

// cosign returns the note to keep, with the signatures of the log and the new
// cosignature, and the line of the latter. If the text is that of latest, the
// log's signatures on it are kept.
func (w *Witness) cosign(latest State, req *Request, signatures []policy.Signature) (note []byte, line string, err error) {
	now := w.now()
	mine, err := w.key.cosign(req.Note.Text, now)
	if err != nil {
		return nil, "", &Refusal{Status: 503, Rule: "W7", Reason: err.Error(), RetryAfter: time.Minute}
	}
	keep := &policy.Note{Text: req.Note.Text, Signatures: slices.Clone(signatures)}
	old, err := policy.ParseNote(latest.Note)
	if err == nil {
		for _, s := range old.Signatures {
			if at, ok := w.key.claimedAt(s); ok {
				w.noteClock(req.Head.Origin, at, now)
			}
		}
	}
	if err == nil && old.Text == keep.Text {
		for _, s := range old.Signatures {
			if !slices.ContainsFunc(keep.Signatures, func(t policy.Signature) bool { return s.Name == t.Name && s.ID == t.ID }) && !w.key.cosigned(keep.Text, s) {
				keep.Signatures = append(keep.Signatures, s)
			}
		}
	}
	keep.Signatures = append(keep.Signatures, mine)
	note = keep.Marshal()
	if len(note) > policy.MaxNote {
		return nil, "", &Refusal{Status: 400, Rule: "W12", Origin: req.Head.Origin, Reason: "the checkpoint is too long to be kept with a cosignature"}
	}
	return note, mine.String(), nil
}

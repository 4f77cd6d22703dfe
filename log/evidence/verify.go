package evidence

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// Verify returns whom the evidence convicts under pol: a log of pol, or a
// witness of pol. Nothing but the evidence and the policy is needed. Errors match
// ErrNotEvidence, ErrUnknownKey, ErrReserved for KindIndex, or, if the fields of e are
// not what Parse would have read, ErrMalformed.
//
// A witness is known by its public key alone, because the name of a key is not
// part of what a witness signs.
func (e *Evidence) Verify(pol *policy.Policy) (Verdict, error) { return e.VerifyWith(pol, nil) }

// VerifyWith is Verify with a judge of evidence of KindIndex, which convicts the
// index of a log of pol. Without one that is never convicted.
func (e *Evidence) VerifyWith(pol *policy.Policy, judge Judge) (Verdict, error) {
	k, name, ok := e.named(pol)
	if !ok {
		return Verdict{}, fmt.Errorf("evidence against %s: %w as a %s", e.Key, ErrUnknownKey, e.Kind.role())
	}
	v, err := e.VerifySelfWith(judge)
	v.Key, v.Name = k, name
	return v, err
}

// role is what a policy calls the party that evidence of a kind convicts.
func (k Kind) role() string {
	if k == KindIndex {
		return string(KindLog)
	}
	return string(k)
}

// named finds the convicted key in a policy.
func (e *Evidence) named(pol *policy.Policy) (k policy.Key, name string, ok bool) {
	if e.Kind != KindWitness {
		for _, l := range pol.Logs {
			if l.Key.String() == e.Key.String() {
				return l.Key, l.Key.Name, true
			}
		}
		return k, "", false
	}
	for _, w := range pol.Witnesses {
		if e.sameKey(w.Key) {
			return w.Key, w.Name, true
		}
	}
	return k, "", false
}

// sameKey reports whether the evidence is against k, whatever k is called.
func (e *Evidence) sameKey(k policy.Key) bool {
	return k.Type == e.Key.Type && bytes.Equal(k.Public, e.Key.Public)
}

// against reports whether the evidence is against k in the name that it has.
func (e *Evidence) against(k policy.Key) bool {
	return e.sameKey(k) && (e.Kind == KindWitness || k.Name == e.Key.Name)
}

// VerifyKey returns whom the evidence convicts if that is the holder of k, and
// an error matching ErrUnknownKey, or those of VerifySelf, otherwise.
func (e *Evidence) VerifyKey(k policy.Key) (Verdict, error) { return e.VerifyKeyWith(k, nil) }

// VerifyKeyWith is VerifyKey with a judge of evidence of KindIndex.
func (e *Evidence) VerifyKeyWith(k policy.Key, judge Judge) (Verdict, error) {
	if !e.against(k) {
		return Verdict{}, fmt.Errorf("evidence against %s: %w, %s", e.Key, ErrUnknownKey, k)
	}
	v, err := e.VerifySelfWith(judge)
	v.Key, v.Name = k, k.Name
	return v, err
}

// VerifySelf checks that the evidence convicts the key that it names itself.
// Anybody can make a key and convict it: who acts on evidence uses
// [Evidence.Verify]. Errors match ErrNotEvidence, ErrMalformed, or ErrReserved for KindIndex.
func (e *Evidence) VerifySelf() (Verdict, error) { return e.VerifySelfWith(nil) }

// VerifySelfWith is VerifySelf with a judge of evidence of KindIndex.
func (e *Evidence) VerifySelfWith(judge Judge) (Verdict, error) {
	if e.Kind == KindIndex {
		written, err := Parse(e.Marshal()) // so that the judge sees nothing else
		switch {
		case err != nil:
			return Verdict{}, err
		case judge == nil:
			return Verdict{}, errUnjudged
		}
		return judge(written)
	}
	if e.Kind != KindLog && e.Kind != KindWitness || e.Key.Type != e.Kind.keyType() || e.Index != nil {
		return Verdict{}, fmt.Errorf("%w: kind and key do not fit", ErrMalformed)
	}
	small, err := parseNote(e.Small, e.Key)
	if err != nil {
		return Verdict{}, err
	}
	large, err := parseNote(e.Large, e.Key)
	if err != nil {
		return Verdict{}, err
	}
	if err := e.checkShape(small.head, large.head); err != nil {
		return Verdict{}, err
	}
	for _, n := range []signed{small, large} {
		if !e.Key.Verify(n.text, n.sig) {
			return Verdict{}, fmt.Errorf("%w: the signature of %s on size %d does not verify", ErrNotEvidence, e.Key.Name, n.head.Size)
		}
	}
	if small.head.Size < large.head.Size {
		err := tlog.CheckTree(e.Proof, int64(large.head.Size), large.head.Root, int64(small.head.Size), e.Root)
		if err != nil {
			return Verdict{}, fmt.Errorf("%w: the proof from another root of size %d does not verify", ErrNotEvidence, small.head.Size)
		}
	}
	name := e.Key.Name
	return Verdict{Kind: e.Kind, Origin: small.head.Origin, Key: e.Key, Name: name}, nil
}

// Origin returns the origin that the evidence is about, as far as anybody signed it.
func (e *Evidence) Origin() string {
	if e.Kind == KindIndex {
		return e.Key.Name
	}
	n, err := parseNote(e.Small, e.Key)
	if err != nil {
		return ""
	}
	return n.head.Origin
}

// New makes evidence against a key out of two signed notes in any order, strips
// them of all other signatures, and verifies the result. Root and proof are as in
// [Evidence]; they are ignored if the sizes are equal. Errors match
// ErrNotEvidence or ErrMalformed.
func New(kind Kind, key policy.Key, a, b []byte, root tlog.Hash, proof []tlog.Hash) (*Evidence, error) {
	small, err := strip(a, key)
	if err != nil {
		return nil, err
	}
	large, err := strip(b, key)
	if err != nil {
		return nil, err
	}
	if s, l := small.head, large.head; s.Size > l.Size || s.Size == l.Size && bytes.Compare(s.Root[:], l.Root[:]) > 0 {
		small, large = large, small
	}
	e := &Evidence{Kind: kind, Key: key, Small: small.note(key), Large: large.note(key)}
	if small.head.Size != large.head.Size {
		e.Root, e.Proof = root, proof
	}
	if len(e.Proof) > maxProof {
		return nil, fmt.Errorf("%w: a proof of more than %d hashes", ErrMalformed, maxProof)
	}
	if _, err := e.VerifySelf(); err != nil {
		return nil, err
	}
	return e, nil
}

// strip finds the signature of k in a note. Of several it takes the first that
// verifies.
func strip(note []byte, k policy.Key) (signed, error) {
	n, err := policy.ParseNote(note)
	if err != nil {
		return signed{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		return signed{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, s := range n.Signatures {
		if s.Name == k.Name && s.ID == k.ID && k.Verify(n.Text, s.Sig) {
			return signed{n.Text, head, s.Sig}, nil
		}
	}
	return signed{}, fmt.Errorf("%w: the checkpoint at size %d %w by %s", ErrNotEvidence, head.Size, errNotSigned, k.Name)
}

var errNotSigned = errors.New("is not signed")

func (s signed) note(k policy.Key) []byte {
	n := policy.Note{Text: s.text, Signatures: []policy.Signature{{Name: k.Name, ID: k.ID, Sig: s.sig}}}
	return n.Marshal()
}

// FromNotes returns all evidence that two notes and a proof are under pol:
// against a log first, then against each witness that cosigned both. If there is
// none, the error matches ErrNotEvidence or ErrMalformed and says why the first
// key that signed both is not convicted.
func FromNotes(pol *policy.Policy, a, b []byte, root tlog.Hash, proof []tlog.Hash) ([]*Evidence, error) {
	var all []*Evidence
	why := fmt.Errorf("%w: no key of the policy signed both checkpoints", ErrNotEvidence)
	try := func(kind Kind, key policy.Key) {
		e, err := New(kind, key, a, b, root, proof)
		switch {
		case err == nil:
			all = append(all, e)
		case !errors.Is(err, errNotSigned):
			why = err
		}
	}
	for _, l := range pol.Logs {
		if l.Key.Type == policy.TypeEd25519 {
			try(KindLog, l.Key)
		}
	}
	for _, w := range pol.Witnesses {
		if w.Key.Type == policy.TypeCosignature {
			try(KindWitness, w.Key)
		}
	}
	if len(all) == 0 {
		return nil, why
	}
	return all, nil
}

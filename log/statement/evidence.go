package statement

import (
	"bytes"
	"crypto/ed25519"
	"errors"

	"github.com/firn-log/firn/log/evidence"
)

// Evidence puts evidence against a log, its index or a witness into a log
// (spec/statement.md#evidence). It convicts by itself, so anybody may sign it.
type Evidence struct {
	Bytes []byte // a file of spec/evidence.md
}

// Kind returns KindEvidence.
func (*Evidence) Kind() Kind { return KindEvidence }

// Check implements [Body]. It verifies both signatures of the evidence and its
// proof: what convicts nobody is no statement. Of evidence against an index it
// checks the form alone: whoever admits or reads it MUST judge it by package fraud.
func (b *Evidence) Check() error {
	if len(b.Bytes) > MaxLeaf {
		return errf(CodeOversize, "evidence: %d bytes do not fit in a leaf of %d", len(b.Bytes), MaxLeaf)
	}
	e, err := b.Parsed()
	if err == nil && e.Kind != evidence.KindIndex {
		_, err = e.VerifySelf()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, evidence.ErrNotEvidence):
		return errf(CodeNotEvidence, "evidence: %v", err)
	}
	return errf(CodeBadValue, "evidence: %v", err)
}

// Parsed returns the evidence. The error is that of [evidence.Parse], never one if
// the body did pass Check.
func (b *Evidence) Parsed() (*evidence.Evidence, error) { return evidence.Parse(bytes.Clone(b.Bytes)) }

// Convicted returns the Ed25519 key that the evidence convicts; zero if the
// body did not pass Check.
func (b *Evidence) Convicted() PublicKey {
	e, err := b.Parsed()
	if err != nil {
		return PublicKey{}
	}
	k, err := Ed25519Key(ed25519.PublicKey(e.Key.Public))
	if err != nil {
		return PublicKey{}
	}
	return k
}

func (b *Evidence) encode() ([]byte, error) {
	var w writer
	w.open()
	w.bytes(1, b.Bytes)
	return w.b, nil
}

func (b *Evidence) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindEvidence}
	f := r.fields("evidence")
	b.Bytes = f.bytes(1)
	f.end()
	return r.result(c)
}

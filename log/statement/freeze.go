package statement

import (
	"fmt"

	"github.com/firn-log/firn/log/policy"
)

// A Freeze is the last statement of a log (spec/statement.md#freeze).
type Freeze struct {
	Origin    string
	Successor *Successor // nil if the log has none
	Reason    string     // text of at most 256 bytes, or ""
}

// A Successor is the log that goes on where another one ends.
type Successor struct {
	Origin string
	LogKey PublicKey // Ed25519
}

// Kind returns KindFreeze.
func (*Freeze) Kind() Kind { return KindFreeze }

// Check implements [Body].
func (b *Freeze) Check() error {
	c := &checker{kind: KindFreeze}
	c.wrap("origin", CheckOrigin(b.Origin))
	if s := b.Successor; s != nil {
		c.wrap("successor", CheckOrigin(s.Origin))
		c.require(s.Origin != b.Origin, "the log succeeds itself")
		if s.LogKey.Type() != Ed25519 {
			c.failf(CodeBadKey, "the successor's key must be an Ed25519 key")
		}
	}
	if b.Reason != "" {
		c.text("reason", b.Reason, 256)
	}
	return c.result()
}

func (b *Freeze) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, b.Origin)
	if s := b.Successor; s != nil {
		w.text(2, s.Origin)
		w.bytes(3, s.LogKey.Preimage())
	}
	w.optText(4, b.Reason)
	return w.b, nil
}

func (b *Freeze) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindFreeze}
	f := r.fields("freeze")
	*b = Freeze{Origin: f.text(1)}
	origin, ok := f.optText(2)
	key := f.optBytes(3)
	if ok != (key != nil) {
		c.failf(CodeBadShape, "a successor has both an origin and a key")
	} else if ok {
		b.Successor = &Successor{origin, c.key("successor's key", *key)}
	}
	if reason, ok := f.optText(4); ok {
		b.Reason = reason
		c.require(reason != "", "an empty reason is left out instead")
	}
	f.end()
	return r.result(c)
}

// VKey returns the verifier key of the successor, as policies have it.
func (s *Successor) VKey() string {
	k, err := policy.NewKey(s.Origin, policy.TypeEd25519, s.LogKey.Ed25519())
	if err != nil {
		return s.Origin // never after Check
	}
	return k.String()
}

// Words says for people what b states: a clause without a period.
func (b *Freeze) Words() string {
	s := "the log " + b.Origin + " is frozen and takes nothing any more"
	if b.Successor != nil {
		s += "; its successor has the key " + b.Successor.VKey()
	}
	if b.Reason != "" {
		s += fmt.Sprintf("; the reason it gives: %q", b.Reason)
	}
	return s
}

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

// wireFreeze is a body of payload version 1 and fixed
// (spec/statement.md#evolution).
type wireFreeze struct {
	Origin    string  `cbor:"1,keyasint"`
	Successor *string `cbor:"2,keyasint,omitempty"`
	LogKey    *[]byte `cbor:"3,keyasint,omitempty"`
	Reason    *string `cbor:"4,keyasint,omitempty"`
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
	w := wireFreeze{Origin: b.Origin}
	if s := b.Successor; s != nil {
		key := s.LogKey.Preimage()
		w.Successor, w.LogKey = &s.Origin, &key
	}
	if b.Reason != "" {
		w.Reason = &b.Reason
	}
	return encodeWire(&w)
}

func (b *Freeze) decode(raw []byte) error {
	var w wireFreeze
	if err := decodeWire("freeze", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindFreeze}
	*b = Freeze{Origin: w.Origin}
	if (w.Successor == nil) != (w.LogKey == nil) {
		c.failf(CodeBadShape, "a successor has both an origin and a key")
	} else if w.Successor != nil {
		b.Successor = &Successor{*w.Successor, c.key("successor's key", *w.LogKey)}
	}
	if w.Reason != nil {
		b.Reason = *w.Reason
		c.require(b.Reason != "", "an empty reason is left out instead")
	}
	return c.result()
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

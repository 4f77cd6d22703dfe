package statement

import "github.com/firn-log/firn/internal/nix"

// An Operator statement introduces somebody who answers for keys. The first
// one has no OperatorID and no prev, and its statement id is the operator's id
// in every log; a later one replaces what is said (spec/statement.md#operator).
type Operator struct {
	Name       string    // 1..211 bytes of Nix's name set
	Contact    string    // 1..128 bytes of text
	URL        string    // http or https, ≤ 256 bytes; may be empty
	HomeLog    string    // origin of the one home log
	Identity   PublicKey // the key that signs this statement
	OperatorID *ID       // nil in the first statement
}

// Role says what a key may sign.
type Role string

// The roles of a key.
const (
	RoleBuild    Role = "build"    // claims
	RoleIdentity Role = "identity" // people statements
)

// ProofForm says how a key proved that it wants to belong to an operator.
type ProofForm string

// The forms of a key proof.
const (
	ProofRaw    ProofForm = "raw"    // 64-byte Ed25519 or P-256 signature over the message itself
	ProofSSHSIG ProofForm = "sshsig" // SSHSIG over the message, namespace firn-key-proof-v1
)

// A KeyAdd gives an operator another key. Proof is the new key's own
// signature (spec/statement.md#key-add).
type KeyAdd struct {
	OperatorID ID
	Key        PublicKey
	Role       Role
	Form       ProofForm
	Proof      []byte
	// CacheName is the name of the Nix key under which the key makes
	// cache-sigs; "" if it makes none. Only Ed25519 build keys have one.
	CacheName string
}

// RevokeReason says why a key is revoked.
type RevokeReason string

// The reasons to revoke a key.
const (
	Rotated     RevokeReason = "rotated"
	Compromised RevokeReason = "compromised"
	Retired     RevokeReason = "retired"
)

// Elsewhere says what becomes of a revoked key's claims in logs without a cut.
type Elsewhere string

// The two answers.
const (
	Keep Elsewhere = "keep"
	Drop Elsewhere = "drop"
)

// A KeyRevoke ends a key: claims at or after a cut do not count
// (spec/statement.md#key-revoke).
type KeyRevoke struct {
	OperatorID ID
	KeyID      KeyID
	Reason     RevokeReason
	Cuts       map[string]uint64 // origin → first index that does not count; ≤ 64
	Elsewhere  Elsewhere
}

// A Vouch says that one operator vouches for another (spec/statement.md#vouch).
type Vouch struct {
	OperatorID ID // who vouches
	For        ID // operator vouched for
}

// A Retract takes back one statement of the same operator (spec/statement.md#retract).
type Retract struct {
	OperatorID ID
	Statement  ID
	Reason     string // 1..256 bytes of text
}

// The wire structs below are bodies of payload version 1 and fixed
// (spec/statement.md#evolution).

type wireOperator struct {
	Name       string  `cbor:"1,keyasint"`
	Contact    string  `cbor:"2,keyasint"`
	URL        *string `cbor:"3,keyasint,omitempty"`
	HomeLog    string  `cbor:"4,keyasint"`
	Identity   []byte  `cbor:"5,keyasint"`
	OperatorID *[]byte `cbor:"6,keyasint,omitempty"`
}

type wireKeyAdd struct {
	OperatorID []byte    `cbor:"1,keyasint"`
	Key        []byte    `cbor:"2,keyasint"`
	Role       Role      `cbor:"3,keyasint"`
	Form       ProofForm `cbor:"4,keyasint"`
	Proof      []byte    `cbor:"5,keyasint"`
	CacheName  *string   `cbor:"6,keyasint,omitempty"`
}

type wireKeyRevoke struct {
	OperatorID []byte            `cbor:"1,keyasint"`
	KeyID      []byte            `cbor:"2,keyasint"`
	Reason     RevokeReason      `cbor:"3,keyasint"`
	Cuts       map[string]uint64 `cbor:"4,keyasint"`
	Elsewhere  Elsewhere         `cbor:"5,keyasint"`
}

type wireVouch struct {
	OperatorID []byte `cbor:"1,keyasint"`
	For        []byte `cbor:"2,keyasint"`
}

type wireRetract struct {
	OperatorID []byte `cbor:"1,keyasint"`
	Statement  []byte `cbor:"2,keyasint"`
	Reason     string `cbor:"3,keyasint"`
}

// Kind returns KindOperator.
func (*Operator) Kind() Kind { return KindOperator }

// Kind returns KindKeyAdd.
func (*KeyAdd) Kind() Kind { return KindKeyAdd }

// Kind returns KindKeyRevoke.
func (*KeyRevoke) Kind() Kind { return KindKeyRevoke }

// Kind returns KindVouch.
func (*Vouch) Kind() Kind { return KindVouch }

// Kind returns KindRetract.
func (*Retract) Kind() Kind { return KindRetract }

// Check implements [Body].
func (b *Operator) Check() error {
	c := &checker{kind: KindOperator}
	c.wrap("name", nix.CheckName(b.Name))
	c.text("contact", b.Contact, 128)
	if b.URL != "" {
		c.url("url", b.URL)
	}
	c.wrap("home log", CheckOrigin(b.HomeLog))
	if b.Identity.IsZero() {
		c.failf(CodeBadKey, "no identity key")
	}
	return c.result()
}

// Check implements [Body]: bounds and the shape of the proof, which
// [KeyAdd.VerifyProof] verifies.
func (b *KeyAdd) Check() error {
	c := &checker{kind: KindKeyAdd}
	if b.Key.IsZero() {
		c.failf(CodeBadKey, "no key")
	}
	oneOf(c, "role", b.Role, RoleBuild, RoleIdentity)
	oneOf(c, "proof form", b.Form, ProofRaw, ProofSSHSIG)
	if b.CacheName != "" {
		c.wrap("cache key name", nix.CheckName(b.CacheName))
		c.require(b.Role == RoleBuild && b.Key.Type() == Ed25519, "a cache key name, although only an Ed25519 build key can be a cache's")
	}
	if c.err == nil {
		if _, err := b.parseProof(); err != nil {
			return err
		}
	}
	return c.result()
}

// Check implements [Body].
func (b *KeyRevoke) Check() error {
	c := &checker{kind: KindKeyRevoke}
	oneOf(c, "reason", b.Reason, Rotated, Compromised, Retired)
	oneOf(c, "elsewhere", b.Elsewhere, Keep, Drop)
	c.require(len(b.Cuts) <= 64, "%d cuts, more than 64", len(b.Cuts))
	for origin, index := range b.Cuts {
		c.wrap("cuts", CheckOrigin(origin))
		c.require(index <= maxSize, "cut at %d", index)
	}
	return c.result()
}

// Check implements [Body].
func (b *Vouch) Check() error {
	c := &checker{kind: KindVouch}
	c.require(b.OperatorID != b.For, "an operator vouches for itself")
	return c.result()
}

// Check implements [Body].
func (b *Retract) Check() error {
	c := &checker{kind: KindRetract}
	c.text("reason", b.Reason, 256)
	return c.result()
}

func (b *Operator) encode() ([]byte, error) {
	w := wireOperator{Name: b.Name, Contact: b.Contact, HomeLog: b.HomeLog, Identity: b.Identity.Preimage()}
	if b.URL != "" {
		w.URL = &b.URL
	}
	if b.OperatorID != nil {
		id := b.OperatorID[:]
		w.OperatorID = &id
	}
	return encodeWire(&w)
}

func (b *Operator) decode(raw []byte) error {
	var w wireOperator
	if err := decodeWire("operator", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindOperator}
	*b = Operator{Name: w.Name, Contact: w.Contact, HomeLog: w.HomeLog, Identity: c.key("identity key", w.Identity)}
	if w.URL != nil {
		b.URL = *w.URL
		c.require(b.URL != "", "empty url")
	}
	if w.OperatorID != nil {
		id := ID(c.hash("operator id", *w.OperatorID))
		b.OperatorID = &id
	}
	return c.result()
}

// key reads the preimage of a key id.
func (c *checker) key(field string, preimage []byte) PublicKey {
	k, err := ParsePublicKey(preimage)
	if err != nil {
		c.failf(CodeBadKey, "%s: %v", field, err)
	}
	return k
}

func (b *KeyAdd) encode() ([]byte, error) {
	w := wireKeyAdd{OperatorID: b.OperatorID[:], Key: b.Key.Preimage(), Role: b.Role, Form: b.Form, Proof: b.Proof}
	if b.CacheName != "" {
		w.CacheName = &b.CacheName
	}
	return encodeWire(&w)
}

func (b *KeyAdd) decode(raw []byte) error {
	var w wireKeyAdd
	if err := decodeWire("key-add", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindKeyAdd}
	*b = KeyAdd{OperatorID: c.hash("operator id", w.OperatorID), Key: c.key("new key", w.Key), Role: w.Role, Form: w.Form, Proof: w.Proof}
	if w.CacheName != nil {
		b.CacheName = *w.CacheName
		c.require(b.CacheName != "", "empty cache key name")
	}
	return c.result()
}

func (b *KeyRevoke) encode() ([]byte, error) {
	return encodeWire(&wireKeyRevoke{b.OperatorID[:], b.KeyID[:], b.Reason, b.Cuts, b.Elsewhere})
}

func (b *KeyRevoke) decode(raw []byte) error {
	var w wireKeyRevoke
	if err := decodeWire("key-revoke", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindKeyRevoke}
	*b = KeyRevoke{c.hash("operator id", w.OperatorID), c.hash("key id", w.KeyID), w.Reason, w.Cuts, w.Elsewhere}
	return c.result()
}

func (b *Vouch) encode() ([]byte, error) {
	return encodeWire(&wireVouch{b.OperatorID[:], b.For[:]})
}

func (b *Vouch) decode(raw []byte) error {
	var w wireVouch
	if err := decodeWire("vouch", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindVouch}
	*b = Vouch{c.hash("operator id", w.OperatorID), c.hash("operator vouched for", w.For)}
	return c.result()
}

func (b *Retract) encode() ([]byte, error) {
	return encodeWire(&wireRetract{b.OperatorID[:], b.Statement[:], b.Reason})
}

func (b *Retract) decode(raw []byte) error {
	var w wireRetract
	if err := decodeWire("retract", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindRetract}
	*b = Retract{c.hash("operator id", w.OperatorID), c.hash("statement id", w.Statement), w.Reason}
	return c.result()
}

// OperatorOf returns the operator that a statement about people names as the
// one who speaks; it is zero for the first statement of an operator, which makes
// one, and for other kinds.
func OperatorOf(b Body) ID {
	switch b := b.(type) {
	case *Operator:
		if b.OperatorID != nil {
			return *b.OperatorID
		}
	case *KeyAdd:
		return b.OperatorID
	case *KeyRevoke:
		return b.OperatorID
	case *Vouch:
		return b.OperatorID
	case *Retract:
		return b.OperatorID
	case *Peer:
		return b.OperatorID
	}
	return ID{}
}

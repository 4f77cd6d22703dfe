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
	var w writer
	w.open()
	w.text(1, b.Name)
	w.text(2, b.Contact)
	w.optText(3, b.URL)
	w.text(4, b.HomeLog)
	w.bytes(5, b.Identity.Preimage())
	if b.OperatorID != nil {
		w.bytes(6, b.OperatorID[:])
	}
	return w.b, nil
}

func (b *Operator) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindOperator}
	f := r.fields("operator")
	*b = Operator{Name: f.text(1), Contact: f.text(2)}
	if url, ok := f.optText(3); ok {
		b.URL = url
		c.require(url != "", "empty url")
	}
	b.HomeLog, b.Identity = f.text(4), c.key("identity key", f.bytes(5))
	if id := f.optBytes(6); id != nil {
		op := ID(c.hash("operator id", *id))
		b.OperatorID = &op
	}
	f.end()
	return r.result(c)
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
	var w writer
	w.open()
	w.bytes(1, b.OperatorID[:])
	w.bytes(2, b.Key.Preimage())
	w.text(3, string(b.Role))
	w.text(4, string(b.Form))
	w.bytes(5, b.Proof)
	w.optText(6, b.CacheName)
	return w.b, nil
}

func (b *KeyAdd) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindKeyAdd}
	f := r.fields("key-add")
	*b = KeyAdd{
		OperatorID: c.hash("operator id", f.bytes(1)), Key: c.key("new key", f.bytes(2)),
		Role: Role(f.text(3)), Form: ProofForm(f.text(4)), Proof: f.bytes(5),
	}
	if name, ok := f.optText(6); ok {
		b.CacheName = name
		c.require(name != "", "empty cache key name")
	}
	f.end()
	return r.result(c)
}

func (b *KeyRevoke) encode() ([]byte, error) {
	var w writer
	w.open()
	w.bytes(1, b.OperatorID[:])
	w.bytes(2, b.KeyID[:])
	w.text(3, string(b.Reason))
	w.counts(4, b.Cuts)
	w.text(5, string(b.Elsewhere))
	return w.b, nil
}

func (b *KeyRevoke) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindKeyRevoke}
	f := r.fields("key-revoke")
	*b = KeyRevoke{
		c.hash("operator id", f.bytes(1)), c.hash("key id", f.bytes(2)), RevokeReason(f.text(3)), f.counts(4), Elsewhere(f.text(5)),
	}
	f.end()
	return r.result(c)
}

func (b *Vouch) encode() ([]byte, error) {
	var w writer
	w.open()
	w.bytes(1, b.OperatorID[:])
	w.bytes(2, b.For[:])
	return w.b, nil
}

func (b *Vouch) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindVouch}
	f := r.fields("vouch")
	*b = Vouch{c.hash("operator id", f.bytes(1)), c.hash("operator vouched for", f.bytes(2))}
	f.end()
	return r.result(c)
}

func (b *Retract) encode() ([]byte, error) {
	var w writer
	w.open()
	w.bytes(1, b.OperatorID[:])
	w.bytes(2, b.Statement[:])
	w.text(3, b.Reason)
	return w.b, nil
}

func (b *Retract) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindRetract}
	f := r.fields("retract")
	*b = Retract{c.hash("operator id", f.bytes(1)), c.hash("statement id", f.bytes(2)), f.text(3)}
	f.end()
	return r.result(c)
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

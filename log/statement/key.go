package statement

import "crypto/ed25519"

// A KeyType names a kind of public key.
type KeyType string

// The kinds of public key.
const (
	Ed25519   KeyType = "ed25519"
	P256      KeyType = "p256"
	RSA       KeyType = "rsa"
	SKEd25519 KeyType = "sk-ed25519"
	SKECDSA   KeyType = "sk-ecdsa"
)

// A PublicKey is a key that signs statements. The zero value is no key.
// Compare with [PublicKey.Equal] or by ID (spec/statement.md#keys).
type PublicKey struct {
	typ      KeyType
	preimage string
	id       KeyID
	key      any
}

// ParsePublicKey parses the preimage of a key id: a SubjectPublicKeyInfo in
// DER, or "sk\n" and an SSH public key blob.
func ParsePublicKey(preimage []byte) (PublicKey, error) {
	return PublicKey{}, errf(CodeInternalError, "not built yet")
}

// PublicKeyFromText parses a key as people write it: a line of an
// authorized_keys or .pub file, a Nix "name:base64", a PEM public key, or the
// preimage in hexadecimal.
func PublicKeyFromText(s string) (PublicKey, error) {
	return PublicKey{}, errf(CodeInternalError, "not built yet")
}

// Ed25519Key returns the key with these 32 bytes.
func Ed25519Key(key ed25519.PublicKey) (PublicKey, error) {
	return PublicKey{}, errf(CodeInternalError, "not built yet")
}

// Preimage returns the bytes whose SHA-256 is the key's id, and in which a
// body carries the key.
func (k PublicKey) Preimage() []byte { return []byte(k.preimage) }

// ID returns the key's id.
func (k PublicKey) ID() KeyID { return k.id }

// Type returns the kind of key, or "" for the zero value.
func (k PublicKey) Type() KeyType { return k.typ }

// IsZero reports whether k is the zero value.
func (k PublicKey) IsZero() bool { return k.typ == "" }

// Equal reports whether k and o are the same key.
func (k PublicKey) Equal(o PublicKey) bool { return k.preimage == o.preimage }

// Text returns the key as a line of an authorized_keys file without comment.
func (k PublicKey) Text() string { return "" }

// Ed25519 returns the raw key, or nil if k is of another type.
func (k PublicKey) Ed25519() ed25519.PublicKey {
	e, _ := k.key.(ed25519.PublicKey)
	return e
}

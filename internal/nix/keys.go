package nix

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/firn-log/firn/internal/ed25519x"
)

// MaxKeyNameLen bounds the name of a key, in bytes.
const MaxKeyNameLen = 255

// ErrKey is what errors about Nix keys wrap.
var ErrKey = errors.New("not a Nix key")

// PublicKey is a named Ed25519 key as in trusted-public-keys. The name only
// helps to find the key; it is not signed.
type PublicKey struct {
	Name string
	Key  ed25519.PublicKey
}

// ParsePublicKey reads "name:base64" of 32 bytes, with at most one line feed
// after it. Keys that ed25519x.CheckPublicKey refuses are refused.
func ParsePublicKey(s string) (PublicKey, error) {
	name, b, err := parseKey(s, ed25519.PublicKeySize)
	if err != nil {
		return PublicKey{}, err
	}
	if err := ed25519x.CheckPublicKey(b); err != nil {
		return PublicKey{}, fmt.Errorf("%w: %q: %w", ErrKey, name, err)
	}
	return PublicKey{Name: name, Key: b}, nil
}

// String returns the form that ParsePublicKey reads.
func (k PublicKey) String() string {
	return k.Name + ":" + base64.StdEncoding.EncodeToString(k.Key)
}

// Verify reports whether sig, "name:base64", bears this key's name and is its
// strict Ed25519 signature of the fingerprint.
func (k PublicKey) Verify(fingerprint, sig string) bool {
	name, b64, ok := strings.Cut(sig, ":")
	if !ok || name != k.Name {
		return false
	}
	b, err := decodeBase64(b64)
	return err == nil && ed25519x.Verify(k.Key, []byte(fingerprint), b)
}

// SecretKey is a named signing key as in secret-key-files.
type SecretKey struct {
	Name string
	Key  ed25519.PrivateKey
}

// ParseSecretKey reads "name:base64" of 64 bytes (seed, then public key), with
// at most one line feed after it. A public half that does not belong to the
// seed is refused, because signing with it would reveal the key. Errors never
// contain the key.
func ParseSecretKey(s string) (SecretKey, error) {
	name, b, err := parseKey(s, ed25519.PrivateKeySize)
	if err != nil {
		return SecretKey{}, err
	}
	key := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
	if !bytes.Equal(key, b) {
		return SecretKey{}, fmt.Errorf("%w: %q: the public half does not belong to the seed", ErrKey, name)
	}
	return SecretKey{Name: name, Key: key}, nil
}

// Public returns the key that verifies what k signs.
func (k SecretKey) Public() PublicKey {
	return PublicKey{Name: k.Name, Key: k.Key.Public().(ed25519.PublicKey)}
}

// Sign returns "name:base64", the signature of a fingerprint.
func (k SecretKey) Sign(fingerprint string) string {
	return k.Name + ":" + base64.StdEncoding.EncodeToString(ed25519.Sign(k.Key, []byte(fingerprint)))
}

// parseKey splits "name:base64" and decodes size bytes. The errors do not
// quote what follows the colon.
func parseKey(s string, size int) (string, []byte, error) {
	name, b64, ok := strings.Cut(strings.TrimSuffix(s, "\n"), ":")
	if !ok {
		return "", nil, fmt.Errorf("%w: no colon between name and key", ErrKey)
	}
	if err := checkKeyName(name); err != nil {
		return "", nil, err
	}
	b, err := decodeBase64(b64)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %q: %v", ErrKey, name, err)
	}
	if len(b) != size {
		return "", nil, fmt.Errorf("%w: %q: %d bytes instead of %d", ErrKey, name, len(b), size)
	}
	return name, b, nil
}

// checkKeyName wants 1 to MaxKeyNameLen printable ASCII characters without
// space, colon, quotation mark or backslash.
func checkKeyName(name string) error {
	if name == "" || len(name) > MaxKeyNameLen {
		return fmt.Errorf("%w: a name has 1 to %d bytes, not %d", ErrKey, MaxKeyNameLen, len(name))
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == ':' || c == '"' || c == '\\' {
			return fmt.Errorf("%w: character %q in its name", ErrKey, c)
		}
	}
	return nil
}

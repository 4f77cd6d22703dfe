package policy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/firn-log/firn/internal/ed25519x"
)

// Signature types of c2sp.org/signed-note that a policy may name.
const (
	TypeEd25519     = 0x01 // note signature, for logs
	TypeCosignature = 0x04 // timestamped Ed25519 cosignature, for witnesses
	TypeMLDSA       = 0x06 // ML-DSA-44 cosignature: carried, never counted
)

// mldsaKeySize is the size of an ML-DSA-44 public key in bytes.
const mldsaKeySize = 1312

// maxKeyName bounds the name of a key in bytes.
const maxKeyName = 1024

// A Key is a verifier key, or vkey (c2sp.org/signed-note#verifier-keys).
type Key struct {
	Name   string
	ID     uint32
	Type   byte   // one of the Type constants
	Public []byte // 32 bytes, or 1,312 for TypeMLDSA
}

// NewKey returns the key of a name, a type and raw public key bytes, and refuses
// what [ParseKey] refuses.
func NewKey(name string, typ byte, public []byte) (Key, error) {
	if err := checkName(name); err != nil {
		return Key{}, err
	}
	switch typ {
	case TypeEd25519, TypeCosignature:
		if err := ed25519x.CheckPublicKey(public); err != nil {
			return Key{}, fmt.Errorf("key of %s: %w", name, err)
		}
	case TypeMLDSA:
		if len(public) != mldsaKeySize {
			return Key{}, fmt.Errorf("key of %s: an ML-DSA-44 key has %d bytes, this one %d", name, mldsaKeySize, len(public))
		}
	default:
		return Key{}, fmt.Errorf("key of %s: signature type 0x%02x is not supported", name, typ)
	}
	return Key{Name: name, ID: keyID(name, typ, public), Type: typ, Public: public}, nil
}

// ParseKey reads a vkey: name+hex(key id)+base64(type ‖ public key). It refuses
// types other than the three above, key ids that do not follow from the key,
// upper-case hex, base64 that is not canonical, and Ed25519 keys of small order.
func ParseKey(vkey string) (Key, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	id, b64, ok := strings.Cut(rest, "+")
	if !ok {
		return Key{}, errors.New("not a verifier key: want name+keyid+base64")
	}
	raw, err := DecodeBase64(b64)
	if err != nil || len(raw) < 2 {
		return Key{}, fmt.Errorf("key of %q: its last part is not the base64 of a key", name)
	}
	k, err := NewKey(name, raw[0], raw[1:])
	if err != nil {
		return Key{}, err
	}
	if want := fmt.Sprintf("%08x", k.ID); id != want {
		return Key{}, fmt.Errorf("key of %s: its id is %s, not %q", name, want, id)
	}
	return k, nil
}

// String returns the vkey.
func (k Key) String() string {
	raw := append([]byte{k.Type}, k.Public...)
	return fmt.Sprintf("%s+%08x+%s", k.Name, k.ID, base64.StdEncoding.EncodeToString(raw))
}

func keyID(name string, typ byte, public []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', typ})
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// checkName applies the rules for key names of c2sp.org/signed-note#format.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name of a key is empty")
	case len(name) > maxKeyName:
		return fmt.Errorf("the name of a key is longer than %d bytes", maxKeyName)
	case !utf8.ValidString(name), strings.Contains(name, "+"),
		strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r < 0x20 }):
		return fmt.Errorf("%q is not a name for a key: it holds a space, a plus or bytes that are not text", name)
	}
	return nil
}

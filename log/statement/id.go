package statement

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// An ID names a statement: SHA-256("firn-statement-v1\n" ‖ key id ‖ payload).
// It does not depend on the signature, so that the same statement signed twice
// is one statement (spec/statement.md#ids).
type ID [32]byte

// A KeyID names a key: SHA-256 of [PublicKey.Preimage].
type KeyID [32]byte

// String returns id as 64 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id is all zero, which names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// String returns id as 64 lower-case hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id is all zero, which names nothing.
func (id KeyID) IsZero() bool { return id == KeyID{} }

// ParseID parses the text form of an ID: exactly 64 lower-case hexadecimal digits.
func ParseID(s string) (ID, error) {
	b, err := parseHex32(s)
	return ID(b), err
}

// ParseKeyID parses the text form of a KeyID: exactly 64 lower-case hexadecimal digits.
func ParseKeyID(s string) (KeyID, error) {
	b, err := parseHex32(s)
	return KeyID(b), err
}

func parseHex32(s string) (out [32]byte, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 || hex.EncodeToString(b) != s {
		return out, errf(CodeBadValue, "%s is not an id: an id is 64 lower-case hexadecimal digits", quoteShort(s))
	}
	return [32]byte(b), nil
}

// quoteShort quotes s for a message, cut to 80 bytes.
func quoteShort(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%+q…", s[:80])
	}
	return fmt.Sprintf("%+q", s)
}

// PayloadID returns the id of the statement that signer makes by signing payload.
func PayloadID(signer KeyID, payload []byte) ID {
	h := sha256.New()
	h.Write([]byte(Namespace + "\n"))
	h.Write(signer[:])
	h.Write(payload)
	return ID(h.Sum(nil))
}

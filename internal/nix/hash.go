package nix

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Hash is a SHA-256 digest: of a NAR, of a derivation modulo its inputs, of
// a file.
type Hash [32]byte

// ErrHash is what errors about hash texts wrap.
var ErrHash = errors.New("not a hash")

// String returns "sha256:" and 52 characters of nixbase32, as narinfos and
// fingerprints have it.
func (h Hash) String() string { return "sha256:" + EncodeBase32(h[:]) }

// Hex returns 64 lower-case hexadecimal digits, without a prefix.
func (h Hash) Hex() string { return hex.EncodeToString(h[:]) }

// ParseHex reads what Hex writes: 64 lower-case hexadecimal digits and nothing else.
func ParseHex(s string) (h Hash, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) || strings.ToLower(s) != s {
		return h, fmt.Errorf("%w: %q is not a SHA-256 in 64 lower-case hexadecimal digits", ErrHash, clip(s))
	}
	return Hash(b), nil
}

// IsZero reports whether h is all zero, which stands for "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// ParseHash reads a SHA-256 hash with its algorithm: "sha256:" followed by
// base 16, nixbase32 or base 64, or the SRI form "sha256-" base 64. Upper-case
// hexadecimal digits are accepted, because Nix accepts them.
func ParseHash(s string) (Hash, error) {
	var h Hash
	algo, b, err := parseTypedHash(s)
	if err != nil {
		return h, err
	}
	if algo != "sha256" {
		return h, fmt.Errorf("%w: algorithm %q where only sha256 will do", ErrHash, algo)
	}
	return Hash(b), nil
}

// hashSize returns the length in bytes of the digests of an algorithm that
// Nix knows, or 0.
func hashSize(algo string) int {
	switch algo {
	case "md5":
		return 16
	case "sha1":
		return 20
	case "sha256", "blake3":
		return 32
	case "sha512":
		return 64
	}
	return 0
}

// parseTypedHash reads "algo:digits" in three bases, or SRI.
func parseTypedHash(s string) (algo string, digest []byte, err error) {
	i := strings.IndexAny(s, ":-")
	if i < 0 {
		return "", nil, fmt.Errorf("%w: %q does not name its algorithm", ErrHash, clip(s))
	}
	algo, digits, sri := s[:i], s[i+1:], s[i] == '-'
	n := hashSize(algo)
	if n == 0 {
		return "", nil, fmt.Errorf("%w: algorithm %q", ErrHash, clip(algo))
	}
	switch {
	case len(digits) == base64.StdEncoding.EncodedLen(n):
		digest, err = decodeBase64(digits)
	case sri:
		err = errors.New("wrong length")
	case len(digits) == hex.EncodedLen(n):
		digest, err = hex.DecodeString(digits)
	case len(digits) == (n*8+4)/5:
		digest, err = DecodeBase32(digits)
	default:
		err = errors.New("wrong length")
	}
	if err == nil && len(digest) != n {
		err = errors.New("wrong length")
	}
	if err != nil {
		return "", nil, fmt.Errorf("%w: %q: %v", ErrHash, clip(s), err)
	}
	return algo, digest, nil
}

// decodeBase64 decodes padded standard base 64. Unlike encoding/base64 it
// refuses line breaks, and it refuses padding bits that are not zero.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base 64")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("not base 64")
	}
	return b, nil
}

// clip shortens foreign text for an error message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}

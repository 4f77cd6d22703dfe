// Package crypto stands in for the package of sigsum-go that torchwood's
// commands import; it has the names that they use.
package crypto

import "crypto/sha256"

// PublicKeySize is the length of an Ed25519 public key in bytes.
const PublicKeySize = 32

// HashSize is the length of a SHA-256 hash in bytes.
const HashSize = sha256.Size

type (
	// PublicKey is an Ed25519 public key.
	PublicKey [PublicKeySize]byte
	// Hash is a SHA-256 hash.
	Hash [HashSize]byte
)

// HashBytes returns the SHA-256 hash of b.
func HashBytes(b []byte) Hash { return sha256.Sum256(b) }

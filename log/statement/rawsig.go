package statement

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"

	"github.com/firn-log/firn/internal/ed25519x"
)

// rawSigSize is the size in bytes of an Ed25519 signature and of an ES256 one,
// r and s as 32 big-endian bytes each (RFC 9053 §2.1).
const rawSigSize = 64

// verifyRaw reports whether sig is key's 64-byte signature over msg itself.
// Only Ed25519 and P-256 keys make such signatures.
func verifyRaw(key PublicKey, msg, sig []byte) bool {
	if len(sig) != rawSigSize {
		return false
	}
	switch key.typ {
	case Ed25519:
		return ed25519x.Verify(key.key.(ed25519.PublicKey), msg, sig)
	case P256:
		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		return verifyECDSA(key.key.(*ecdsa.PublicKey), msg, r, s)
	}
	return false
}

func verifyECDSA(key *ecdsa.PublicKey, msg []byte, r, s *big.Int) bool {
	if r.Sign() <= 0 || s.Sign() <= 0 {
		return false
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	h := sha256.Sum256(msg)
	return err == nil && ecdsa.VerifyASN1(key, h[:], der)
}

// fixedECDSA returns r ‖ s in 64 bytes.
func fixedECDSA(r, s *big.Int) ([]byte, error) {
	if r.Sign() < 0 || s.Sign() < 0 || r.BitLen() > 256 || s.BitLen() > 256 {
		return nil, errf(CodeBadSignature, "an ECDSA signature that is not one of P-256")
	}
	out := make([]byte, rawSigSize)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}

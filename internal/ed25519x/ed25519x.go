// Package ed25519x verifies Ed25519 signatures strictly, so that every
// implementation of Firn's formats gives the same answer about the same bytes.
//
// It implements RFC 8032 §5.1.7 with the cofactorless equation and these
// additional refusals (spec/nix.md#ed25519):
//
//   - S must be below the group order L;
//   - A and R must be canonical encodings: y < 2^255-19, and the sign bit
//     clear where x = 0;
//   - A and R must not be one of the eight points of small order, because
//     such a key accepts one signature for many messages;
//   - A must be a point of the curve.
//
// crypto/ed25519 checks S and compares R byte by byte, but accepts keys of
// small order and keys in a non-canonical encoding. All functions may be
// called concurrently.
package ed25519x

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math/big"
	"sync"
	"sync/atomic"
)

// Errors of CheckPublicKey. ErrKey is what all of them wrap.
var (
	ErrKey          = errors.New("unusable Ed25519 public key")
	ErrLength       = &keyError{"not 32 bytes long"}
	ErrNonCanonical = &keyError{"the encoding is not canonical"}
	ErrSmallOrder   = &keyError{"the point has small order"}
	ErrNotOnCurve   = &keyError{"not a point of the curve"}
)

type keyError struct{ why string }

func (e *keyError) Error() string { return ErrKey.Error() + ": " + e.why }
func (e *keyError) Unwrap() error { return ErrKey }

// Verify reports whether sig (64 bytes) is a strictly valid signature of msg
// by pub (32 bytes). A slice of another length gives false.
func Verify(pub ed25519.PublicKey, msg, sig []byte) bool {
	if len(pub) != ed25519.PublicKeySize || len(sig) != ed25519.SignatureSize {
		return false
	}
	if checkEncoding(pub) != nil || checkEncoding(sig[:32]) != nil || !scalarInRange(sig[32:]) {
		return false
	}
	// Decodes A (a byte string that is no point gives false) and compares
	// the encoding of [S]B - [k]A with R.
	return ed25519.Verify(pub, msg, sig)
}

// CheckPublicKey returns an error that wraps ErrKey if no signature by pub
// should ever be accepted. Keys are checked with it when they are parsed, so
// that a bad key is refused where a person can see it.
func CheckPublicKey(pub []byte) error {
	if len(pub) != ed25519.PublicKeySize {
		return ErrLength
	}
	if err := checkEncoding(pub); err != nil {
		return err
	}
	if slot := &good[pub[0]]; !isIn(slot, pub) {
		if !onCurve(pub) {
			return ErrNotOnCurve
		}
		key := [32]byte(pub)
		slot.Store(&key)
	}
	return nil
}

// good holds keys that were found to be points, the last of each first byte: a log
// and its readers check one key of a cache or builder for thousands of statements.
var good [256]atomic.Pointer[[32]byte]

func isIn(slot *atomic.Pointer[[32]byte], pub []byte) bool {
	key := slot.Load()
	return key != nil && *key == [32]byte(pub)
}

// checkEncoding refuses 32 bytes that are not the canonical encoding of a y
// coordinate, or that encode a point of small order. It does not decode.
func checkEncoding(p []byte) error {
	for i := range smallOrder {
		if sameY(p, &smallOrder[i]) {
			return ErrSmallOrder
		}
	}
	// p = 2^255-19 is 0xed, 30 times 0xff, 0x7f in little-endian order.
	if p[31]&0x7f == 0x7f && p[0] >= 0xed {
		for _, b := range p[1:31] {
			if b != 0xff {
				return nil
			}
		}
		return ErrNonCanonical
	}
	return nil
}

// sameY compares two encodings without their sign bits: the table lists y
// coordinates, and both signs of x have the same order.
func sameY(p []byte, y *[32]byte) bool {
	return (p[31]^y[31])&0x7f == 0 && bytes.Equal(p[:31], y[:31])
}

// smallOrder holds the y coordinates of the points whose order divides 8, in
// every encoding of 255 bits (p+1 and p are the non-canonical ones of 1 and
// 0). With P = (x, y) on -x²+y² = 1+dx²y²:
//
//	order 1: y = 1; order 2: y = -1; order 4: y = 0;
//	order 8: 2P has y = 0, so x² = -y² and dy⁴+2y²-1 = 0, which has the four
//	roots ±y₁ and ±y₂ in the algebraic closure, of which one pair lies in GF(p).
//
// TestSmallOrderTable derives the table again.
var smallOrder = [7][32]byte{
	{0x01},
	{
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
	{0x00},
	{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
	{
		0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
	{
		0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
}

// order is L = 2^252 + 27742317777372353535851937790883648493, little-endian.
var order = [32]byte{
	0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
}

// scalarInRange reports whether s, little-endian, is below L.
func scalarInRange(s []byte) bool {
	for i := 31; i >= 0; i-- {
		if s[i] != order[i] {
			return s[i] < order[i]
		}
	}
	return false
}

// onCurve reports whether a canonical encoding's y has an x: whether
// (y²-1)/(dy²+1) is a square, which it is if (y²-1)(dy²+1) is.
// dy²+1 is never 0, because -1/d is not a square.
func onCurve(enc []byte) bool {
	p, d := fieldPrime(), curveD()
	be := make([]byte, 32)
	for i, b := range enc {
		be[31-i] = b
	}
	be[0] &= 0x7f
	y := new(big.Int).SetBytes(be)
	y2 := y.Mul(y, y)
	u := new(big.Int).Sub(y2, big.NewInt(1))
	v := new(big.Int).Mul(d, y2)
	v.Add(v, big.NewInt(1))
	u.Mul(u, v).Mod(u, p)
	return big.Jacobi(u, p) != -1
}

// fieldPrime is 2^255-19. It must not be changed.
var fieldPrime = sync.OnceValue(func() *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	return p.Sub(p, big.NewInt(19))
})

// curveD is -121665/121666 mod p. It must not be changed.
var curveD = sync.OnceValue(func() *big.Int {
	p := fieldPrime()
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665))
	return d.Mod(d, p)
})

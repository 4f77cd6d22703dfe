package statement

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"testing"
)

// oddModulus is an odd number of exactly n bits, which is all that a parser can see of a modulus.
func oddModulus(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.Add(n, big.NewInt(1))
}

func rsaPreimage(bits int) []byte {
	return must(x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: oddModulus(bits), E: 65537}))
}

func rsaSSHBlob(bits int) []byte {
	return appendMPInt(appendMPInt(appendSSHString(nil, sshRSA), big.NewInt(65537)), oddModulus(bits))
}

// keyVectors has public keys in the form in which bodies carry them.
func keyVectors(t testing.TB) map[string]vector {
	out := make(map[string]vector)
	good := func(name, comment string, k PublicKey) {
		out[name] = vector{Comment: comment, PublicKey: hex.EncodeToString(k.Preimage()), Kind: string(k.Type()), ID: k.ID().String()}
	}
	bad := func(name, comment string, preimage []byte) {
		out[name] = vector{Comment: comment, PublicKey: hex.EncodeToString(preimage), Code: CodeBadKey}
	}
	ed := edSigner(t, "build").pub
	p := memorySigner(t, testP256("build")).pub
	r := rsaSigner(t).pub
	good("ed25519", "", ed)
	good("p256", "", p)
	good("rsa-3072", "", r)
	good("sk-ed25519", "", testAuthenticator(false).signer(t).pub)
	good("sk-ecdsa", "", testAuthenticator(true).signer(t).pub)

	spki := func(raw ...byte) []byte {
		return append(bytes.Clone(ed25519SPKI), append(raw, make([]byte, 32-len(raw))...)...)
	}
	bad("empty", "", nil)
	bad("ed25519-identity", "the neutral point: every signature with S = k·0 fits", spki(1))
	bad("ed25519-order-4", "y = 0, a point of order 4", spki())
	minusOne := append([]byte{0xec}, bytes.Repeat([]byte{0xff}, 31)...)
	minusOne[31] = 0x7f
	bad("ed25519-order-2", "y = -1, the point of order 2", spki(minusOne...))
	big := bytes.Clone(minusOne)
	big[0] = 0xee
	bad("ed25519-non-canonical", "y = 2^255-18, which is 1 written in another way", spki(big...))
	bad("ed25519-off-curve", "y = 2 is on no point", spki(2))
	bad("ed25519-raw", "32 bytes without SubjectPublicKeyInfo", ed.Preimage()[12:])
	bad("ed25519-33", "a byte too many", append(ed.Preimage(), 0))
	bad("p256-compressed", "a compressed point", compressedSPKI(t, p))
	off := p.Preimage()
	off[len(off)-1] ^= 1
	bad("p256-off-curve", "a point that is not on the curve", off)
	bad("rsa-2048", "", rsaPreimage(2048))
	bad("rsa-3071", "", rsaPreimage(3071))
	bad("rsa-8193", "", rsaPreimage(8193))
	bad("rsa-exponent-3", "", must(x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: oddModulus(3072), E: 3})))
	bad("rsa-trailing", "", append(r.Preimage(), 0))
	bad("sk-prefix-ed25519", "a plain SSH key in the form of a security key: it would have two ids", append([]byte(skPrefix), ed.sshBlob()...))
	bad("sk-trailing", "", append(testAuthenticator(false).signer(t).pub.Preimage(), 0))
	web := testAuthenticator(false)
	web.app = "webauthn.example.org"
	bad("sk-web", "an application that does not begin with ssh:", append([]byte(skPrefix), web.blob()...))
	return out
}

func compressedSPKI(t testing.TB, k PublicKey) []byte {
	t.Helper()
	point := k.Preimage()[len(p256SPKI):]
	type algorithm struct{ Alg, Curve asn1.ObjectIdentifier }
	return must(asn1.Marshal(struct {
		Alg algorithm
		Key asn1.BitString
	}{
		algorithm{asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}},
		asn1.BitString{Bytes: append([]byte{2 + point[64]&1}, point[1:33]...), BitLength: 33 * 8},
	}))
}

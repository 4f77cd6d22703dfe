package statement

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"math/big"
	"slices"
	"testing"
)

// orderL is the group order of edwards25519.
var orderL, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)

// plusL returns the signature with L added to S, which lenient verifiers accept too.
func plusL(sig []byte) []byte {
	out := bytes.Clone(sig)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), orderL).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	copy(out[32:], sum)
	return out
}

// neutralR signs with the nonce 0: R is the neutral point. Only somebody with
// the private key can, and only verifiers that look at R's order refuse it.
func neutralR(key ed25519.PrivateKey, msg []byte) []byte {
	little := func(b []byte) *big.Int {
		b = bytes.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	h := sha512.Sum512(key.Seed())
	h[0] &= 248
	h[31] = h[31]&127 | 64
	sig := append([]byte{1}, make([]byte, 63)...)
	k := sha512.Sum512(slices.Concat(sig[:32], key[32:], msg))
	s := new(big.Int).Mul(little(k[:]), little(h[:32]))
	s.Mod(s, orderL).FillBytes(sig[32:])
	slices.Reverse(sig[32:])
	return sig
}

func rejectSignatures(r *rejecter) {
	k := edSigner(r.t, "build")
	verify := func(name, code, comment string, key PublicKey, leaf []byte) {
		r.t.Helper()
		r.leaf("verify-"+name, code, comment, leaf)
		v := r.out["verify-"+name]
		v.Stage, v.PublicKey = "verify", hex.EncodeToString(key.Preimage())
		r.out["verify-"+name] = v
	}
	payload := payloadOf(r.t, sampleBuild(), nil)
	good := rawCOSE(r.t, k, payload)
	sig, kid := good[len(good)-64:], k.pub.ID()
	altered := edit(r.t, payload, func(_, b anyMap) { b[uint64(12)] = 1787000043 })
	verify("altered-payload", CodeBadSignature, "one second later", k.pub, coseLeaf(algEdDSA, kid, altered, sig))
	verify("s-plus-l", CodeBadSignature, "the same signature with the group order added to S", k.pub, coseLeaf(algEdDSA, kid, payload, plusL(sig)))
	verify("small-order-r", CodeBadSignature, "R is the neutral point and S = k·a, which satisfies the equation", k.pub, coseLeaf(algEdDSA, kid, payload, neutralR(testEd25519("build"), sigStructure(algEdDSA, kid, payload))))
	verify("zero", CodeBadSignature, "a signature of zeros", k.pub, coseLeaf(algEdDSA, kid, payload, make([]byte, 64)))
	verify("other-key", CodeWrongKey, "a good signature, and a key that did not make it", edSigner(r.t, "identity").pub, good)
	p := memorySigner(r.t, testP256("build"))
	verify("alg-of-another-key", CodeBadSignature, "an Ed25519 key under the name of ES256", k.pub, coseLeaf(algES256, kid, payload, sig))
	verify("alg-signed", CodeBadSignature, "an Ed25519 key that signed the header of ES256", k.pub, coseLeaf(algES256, kid, payload, rawSignature(r.t, k, sigStructure(algES256, kid, payload))))
	verify("p256-zero", CodeBadSignature, "r and s are zero", p.pub, coseLeaf(algES256, p.pub.ID(), payload, make([]byte, 64)))
	pGood := rawCOSE(r.t, p, payload)
	verify("p256-altered", CodeBadSignature, "", p.pub, coseLeaf(algES256, p.pub.ID(), altered, pGood[len(pGood)-64:]))
	raw := rawSignature(r.t, k, payload)
	verify("payload-signed-bare", CodeBadSignature, "a signature over the payload instead of the Sig_structure", k.pub, coseLeaf(algEdDSA, kid, payload, raw))
	for name, s := range map[string]*keySigner{"ed25519": edSSHSIG(r.t), "p256": p256SSHSIG(r.t), "rsa": rsaSigner(r.t), "sk-ed25519": testAuthenticator(false).signer(r.t), "sk-ecdsa": testAuthenticator(true).signer(r.t)} {
		blob, err := s.sshsig(context.Background(), Namespace, payload)
		if err != nil {
			r.t.Fatal(err)
		}
		verify("sshsig-"+name+"-altered", CodeBadSignature, "", s.pub, pairLeaf(altered, blob))
	}
	a := testAuthenticator(false)
	a.counter++
	blob := a.sshsig(Namespace, payload)
	blob = append(bytes.Clone(blob[:len(blob)-1]), blob[len(blob)-1]+1)
	verify("sshsig-sk-counter", CodeBadSignature, "the counter was changed afterwards", a.signer(r.t).pub, pairLeaf(payload, blob))
	cs := sampleCacheSig(r.t)
	verify("cache-sig-digest", CodeNeedsBlob, "the leaf has the digest of the references, and the signature covers the list", *cs.SignerKey, pairLeaf(edit(r.t, cs.Payload, func(_, b anyMap) {
		digest := PathsDigest(cs.Body.(*CacheSig).References)
		delete(b, uint64(5))
		b[uint64(6)] = digest[:]
	}), cs.Sig))
	verify("cache-sig-size", CodeBadSignature, "another NAR size than the cache signed", *cs.SignerKey, pairLeaf(edit(r.t, cs.Payload, func(_, b anyMap) { b[uint64(4)] = 1 }), cs.Sig))
}

func rawSignature(t testing.TB, k *keySigner, msg []byte) []byte {
	t.Helper()
	sig, err := k.raw(context.Background(), msg)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

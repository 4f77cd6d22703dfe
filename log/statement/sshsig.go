package statement

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"math/big"

	"github.com/firn-log/firn/internal/ed25519x"
)

const (
	sshsigMagic = "SSHSIG"
	sshsigHash  = "sha512"
	sshRSASig   = "rsa-sha2-512"
	// userPresent and userVerified are the only flags that a security key may set.
	userPresent  = 0x01
	userVerified = 0x04
)

// An sshsig is a parsed SSHSIG (OpenSSH PROTOCOL.sshsig), still unverified.
type sshsig struct {
	key     PublicKey
	sig     []byte // 64 bytes for Ed25519; big-endian for RSA
	r, s    *big.Int
	flags   byte
	counter uint32
}

// sshsigMessage returns the bytes that the key of an SSHSIG signs.
func sshsigMessage(namespace string, msg []byte) []byte {
	h := sha512.Sum512(msg)
	b := appendSSHString([]byte(sshsigMagic), namespace)
	b = appendSSHString(b, "") // reserved
	b = appendSSHString(b, sshsigHash)
	return appendSSHString(b, h[:])
}

// sshsigBlob wraps a key's SSH signature into an SSHSIG.
func sshsigBlob(key PublicKey, namespace string, sig []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte(sshsigMagic), 1)
	b = appendSSHString(b, key.sshBlob())
	b = appendSSHString(b, namespace)
	b = appendSSHString(b, "")
	b = appendSSHString(b, sshsigHash)
	return appendSSHString(b, sig)
}

// parseSSHSIG parses blob, which must have exactly the layout that
// spec/statement.md#sshsig allows for namespace.
func parseSSHSIG(blob []byte, namespace string) (*sshsig, error) {
	if !bytes.HasPrefix(blob, []byte(sshsigMagic)) {
		return nil, errf(CodeBadSSHSIG, "not an SSHSIG")
	}
	r := &sshReader{b: blob[len(sshsigMagic):]}
	version, keyBlob, ns := r.uint32(), r.string(), string(r.string())
	reserved, hash, sigBlob := r.string(), string(r.string()), r.string()
	switch {
	case !r.done():
		return nil, errf(CodeBadSSHSIG, "an SSHSIG that ends too early or goes on after its end")
	case version != 1:
		return nil, errf(CodeBadSSHSIG, "an SSHSIG of version %d instead of 1", version)
	case ns != namespace:
		return nil, errf(CodeBadSSHSIG, "an SSHSIG with the namespace %s instead of %s", quoteShort(ns), namespace)
	case len(reserved) != 0:
		return nil, errf(CodeBadSSHSIG, "an SSHSIG whose reserved field is not empty")
	case hash != sshsigHash:
		return nil, errf(CodeBadSSHSIG, "an SSHSIG with the hash %s instead of sha512", quoteShort(hash))
	}
	key, err := parseSSHBlob(keyBlob)
	if err != nil {
		return nil, err
	}
	return parseSSHSignature(key, sigBlob)
}

// parseSSHSignature parses the signature that key makes inside an SSHSIG.
func parseSSHSignature(key PublicKey, blob []byte) (*sshsig, error) {
	s := &sshsig{key: key}
	r := &sshReader{b: blob}
	format := string(r.string())
	raw := r.string()
	want := string((&sshReader{b: key.sshBlob()}).string())
	if key.typ == RSA {
		want = sshRSASig
	}
	if !r.bad && format != want {
		return nil, errf(CodeBadSSHSIG, "an SSHSIG whose signature is %s instead of %s", quoteShort(format), want)
	}
	ok := true
	switch key.typ {
	case Ed25519, SKEd25519:
		s.sig, ok = raw, len(raw) == ed25519.SignatureSize
	case RSA:
		s.sig, ok = raw, len(raw) == key.key.(*rsa.PublicKey).Size()
	case P256, SKECDSA:
		in := &sshReader{b: raw}
		s.r, s.s = in.mpint(), in.mpint()
		ok = in.done() && s.r.BitLen() <= 256 && s.s.BitLen() <= 256
	}
	if key.isSK() {
		s.flags, s.counter = r.byte(), r.uint32()
	}
	if !ok || !r.done() {
		return nil, errf(CodeBadSSHSIG, "an SSHSIG with a malformed signature")
	}
	if key.isSK() {
		if s.flags&^(userPresent|userVerified) != 0 {
			return nil, errf(CodeBadSSHSIG, "a security key's signature with the flags %#02x, which are not supported", s.flags)
		}
		if s.flags&userPresent == 0 {
			return nil, errf(CodeNoPresence, "the security key signed without being touched")
		}
	}
	return s, nil
}

// blob encodes the SSHSIG again.
func (s *sshsig) blob(namespace string) []byte {
	format := string((&sshReader{b: s.key.sshBlob()}).string())
	if s.key.typ == RSA {
		format = sshRSASig
	}
	raw := s.sig
	if s.r != nil {
		raw = appendMPInt(appendMPInt(nil, s.r), s.s)
	}
	sig := appendSSHString(appendSSHString(nil, format), raw)
	if s.key.isSK() {
		sig = binary.BigEndian.AppendUint32(append(sig, s.flags), s.counter)
	}
	return sshsigBlob(s.key, namespace, sig)
}

// verify reports whether the signature is one over msg.
func (s *sshsig) verify(namespace string, msg []byte) bool {
	signed := sshsigMessage(namespace, msg)
	if s.key.isSK() {
		// OpenSSH PROTOCOL.u2f: what the authenticator signs.
		app, m := sha256.Sum256([]byte(s.key.app)), sha256.Sum256(signed)
		signed = binary.BigEndian.AppendUint32(append(app[:], s.flags), s.counter)
		signed = append(signed, m[:]...)
	}
	switch k := s.key.key.(type) {
	case ed25519.PublicKey:
		return ed25519x.Verify(k, signed, s.sig)
	case *ecdsa.PublicKey:
		return verifyECDSA(k, signed, s.r, s.s)
	case *rsa.PublicKey:
		h := sha512.Sum512(signed)
		return rsa.VerifyPKCS1v15(k, crypto.SHA512, h[:], s.sig) == nil
	}
	return false
}

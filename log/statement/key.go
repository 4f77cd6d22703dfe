package statement

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strings"

	"github.com/firn-log/firn/internal/ed25519x"
)

// A KeyType names a kind of public key.
type KeyType string

// The kinds of public key, and the forms in which they sign statements.
const (
	Ed25519   KeyType = "ed25519"    // COSE, SSHSIG, foreign
	P256      KeyType = "p256"       // COSE, SSHSIG
	RSA       KeyType = "rsa"        // SSHSIG; 3072 to 8192 bits, exponent ≥ 65537
	SKEd25519 KeyType = "sk-ed25519" // SSHSIG, with user presence
	SKECDSA   KeyType = "sk-ecdsa"   // SSHSIG, with user presence
)

// A PublicKey is a key that signs statements. The zero value is no key.
// Compare with [PublicKey.Equal] or by ID (spec/statement.md#keys).
type PublicKey struct {
	typ      KeyType
	preimage string
	id       KeyID
	key      any    // ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey
	app      string // application of a security key
}

// skPrefix begins the preimage of a security key's id.
const skPrefix = "sk\n"

// DER up to the key itself (RFC 8410, RFC 5480), so that the two common kinds need no ASN.1 parser.
var (
	ed25519SPKI = []byte("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00")
	p256SPKI    = []byte("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00")
)

func newKey(typ KeyType, preimage []byte, key any, app string) PublicKey {
	return PublicKey{typ: typ, preimage: string(preimage), id: KeyID(sha256.Sum256(preimage)), key: key, app: app}
}

// Ed25519Key returns the key with these 32 bytes ("bad-key" if they are not
// the canonical encoding of a point of large order).
func Ed25519Key(key ed25519.PublicKey) (PublicKey, error) {
	if err := ed25519x.CheckPublicKey(key); err != nil {
		return PublicKey{}, errf(CodeBadKey, "%v", err)
	}
	key = bytes.Clone(key)
	return newKey(Ed25519, append(bytes.Clone(ed25519SPKI), key...), key, ""), nil
}

func p256Key(point []byte) (PublicKey, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return PublicKey{}, errf(CodeBadKey, "not an uncompressed point of P-256")
	}
	return newKey(P256, append(bytes.Clone(p256SPKI), point...), key, ""), nil
}

func rsaKey(key *rsa.PublicKey) (PublicKey, error) {
	if n := key.N.BitLen(); n < 3072 || n > 8192 || key.N.Bit(0) == 0 {
		return PublicKey{}, errf(CodeBadKey, "an RSA key of %d bits; 3072 to 8192 are accepted", n)
	}
	if key.E < 65537 || key.E > 1<<31-1 || key.E&1 == 0 {
		return PublicKey{}, errf(CodeBadKey, "an RSA key with the exponent %d; an odd one of at least 65537 is needed", key.E)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, errf(CodeBadKey, "%v", err)
	}
	return newKey(RSA, der, key, ""), nil
}

// ParsePublicKey parses the preimage of a key id: a SubjectPublicKeyInfo in
// DER, or "sk\n" and an SSH public key blob. It refuses ("bad-key") everything
// but the five kinds, other encodings of the same key, Ed25519 keys of small
// order and RSA keys below 3072 bits.
func ParsePublicKey(preimage []byte) (PublicKey, error) {
	if blob, ok := bytes.CutPrefix(preimage, []byte(skPrefix)); ok {
		k, err := parseSSHBlob(blob)
		if err == nil && !k.isSK() {
			err = errf(CodeBadKey, "an SSH key that is not a security key is carried as SubjectPublicKeyInfo")
		}
		return orZero(k, err)
	}
	if raw, ok := bytes.CutPrefix(preimage, ed25519SPKI); ok {
		return Ed25519Key(raw)
	}
	if point, ok := bytes.CutPrefix(preimage, p256SPKI); ok {
		return p256Key(point)
	}
	return parseRSASPKI(preimage)
}

func parseRSASPKI(der []byte) (PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	r, ok := key.(*rsa.PublicKey)
	if err != nil || !ok {
		return PublicKey{}, errf(CodeBadKey, "not the SubjectPublicKeyInfo of an Ed25519, P-256 or RSA key")
	}
	k, err := rsaKey(r)
	if err == nil && k.preimage != string(der) {
		err = errf(CodeBadKey, "an RSA key that is not in its DER form")
	}
	return orZero(k, err)
}

func orZero(k PublicKey, err error) (PublicKey, error) {
	if err != nil {
		return PublicKey{}, err
	}
	return k, nil
}

// SSH names of the key types.
const (
	sshEd25519 = "ssh-ed25519"
	sshP256    = "ecdsa-sha2-nistp256"
	sshRSA     = "ssh-rsa"
	sshSKEd    = "sk-ssh-ed25519@openssh.com"
	sshSKECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
	nistP256   = "nistp256"
)

// parseSSHBlob parses an SSH public key blob (RFC 4253 §6.6, OpenSSH
// PROTOCOL.u2f). Certificates are refused.
func parseSSHBlob(blob []byte) (PublicKey, error) {
	r := &sshReader{b: blob}
	typ := string(r.string())
	var k PublicKey
	var err error
	switch typ {
	case sshEd25519:
		k, err = Ed25519Key(r.string())
	case sshSKEd:
		k, err = Ed25519Key(r.string())
		k = skKey(SKEd25519, blob, k.key, string(r.string()))
	case sshP256, sshSKECDSA:
		if curve := string(r.string()); curve != nistP256 {
			return k, errf(CodeBadKey, "an ECDSA key on %s; only nistp256 is accepted", quoteShort(curve))
		}
		k, err = p256Key(r.string())
		if typ == sshSKECDSA {
			k = skKey(SKECDSA, blob, k.key, string(r.string()))
		}
	case sshRSA:
		e, n := r.mpint(), r.mpint()
		if !e.IsInt64() || e.Int64() > 1<<31-1 {
			return k, errf(CodeBadKey, "an RSA key with a large exponent")
		}
		k, err = rsaKey(&rsa.PublicKey{N: n, E: int(e.Int64())})
	default:
		if strings.Contains(typ, "-cert-") {
			return k, errf(CodeBadKey, "an SSH certificate; only plain keys are accepted")
		}
		return k, errf(CodeBadKey, "an SSH key of type %s; accepted are ed25519, nistp256, RSA and their security-key forms", quoteShort(typ))
	}
	if !r.done() {
		return PublicKey{}, errf(CodeBadKey, "a malformed SSH public key")
	}
	if err == nil && k.isSK() {
		err = checkApplication(k.app)
	}
	return orZero(k, err)
}

func skKey(typ KeyType, blob []byte, key any, app string) PublicKey {
	return newKey(typ, append([]byte(skPrefix), blob...), key, app)
}

// checkApplication requires an application of OpenSSH, which a web site cannot ask a security key to sign for.
func checkApplication(app string) error {
	ok := strings.HasPrefix(app, "ssh:") && len(app) <= 64
	for i := range len(app) {
		ok = ok && app[i] > ' ' && app[i] < 0x7f
	}
	if !ok {
		return errf(CodeBadKey, "a security key for the application %s, which does not begin with ssh:", quoteShort(app))
	}
	return nil
}

// PublicKeyFromText parses a key as people write it: a line of an
// authorized_keys or .pub file without options, a Nix "name:base64", a PEM
// SubjectPublicKeyInfo, or the preimage in hexadecimal.
func PublicKeyFromText(s string) (PublicKey, error) {
	s = strings.TrimSpace(s)
	fields := strings.Fields(s)
	switch {
	case s == "" || len(s) > 32<<10:
		return PublicKey{}, errf(CodeBadKey, "no public key, or one of more than 32 KiB")
	case strings.HasPrefix(s, "-----BEGIN "):
		return publicKeyFromPEM(s)
	case strings.HasPrefix(s, "ssh-"), strings.HasPrefix(s, "sk-"), strings.HasPrefix(s, "ecdsa-"):
		if strings.ContainsAny(s, "\n\r") || len(fields) < 2 {
			return PublicKey{}, errf(CodeBadKey, "not one line with one SSH public key")
		}
		blob, err := base64.StdEncoding.Strict().DecodeString(fields[1])
		if r := (&sshReader{b: blob}); err != nil || string(r.string()) != fields[0] {
			return PublicKey{}, errf(CodeBadKey, "a malformed SSH public key")
		}
		return parseSSHBlob(blob)
	}
	if name, b64, ok := strings.Cut(s, ":"); ok && len(fields) == 1 && name != "" {
		raw, err := base64.StdEncoding.Strict().DecodeString(b64)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return PublicKey{}, errf(CodeBadKey, "not a Nix public key, which is name:base64 of 32 bytes")
		}
		return Ed25519Key(raw)
	}
	if raw, err := hex.DecodeString(s); err == nil {
		return ParsePublicKey(raw)
	}
	return PublicKey{}, errf(CodeBadKey, "not a public key: neither an SSH line, nor Nix name:base64, PEM or hexadecimal")
}

// Preimage returns the bytes whose SHA-256 is the key's id, and in which a
// body carries the key.
func (k PublicKey) Preimage() []byte { return []byte(k.preimage) }

// ID returns the key's id.
func (k PublicKey) ID() KeyID { return k.id }

// Type returns the kind of key, or "" for the zero value.
func (k PublicKey) Type() KeyType { return k.typ }

// IsZero reports whether k is the zero value.
func (k PublicKey) IsZero() bool { return k.typ == "" }

// Equal reports whether k and o are the same key.
func (k PublicKey) Equal(o PublicKey) bool { return k.preimage == o.preimage }

// Ed25519 returns the raw key, or nil if k is of another type.
func (k PublicKey) Ed25519() ed25519.PublicKey {
	if k.typ != Ed25519 {
		return nil
	}
	return bytes.Clone(k.key.(ed25519.PublicKey))
}

func (k PublicKey) isSK() bool { return k.typ == SKEd25519 || k.typ == SKECDSA }

// sshBlob returns the key as an SSH public key blob.
func (k PublicKey) sshBlob() []byte {
	switch k.typ {
	case Ed25519:
		return appendSSHString(appendSSHString(nil, sshEd25519), k.key.(ed25519.PublicKey))
	case P256:
		b := appendSSHString(appendSSHString(nil, sshP256), nistP256)
		return appendSSHString(b, k.preimage[len(p256SPKI):])
	case RSA:
		r := k.key.(*rsa.PublicKey)
		return appendMPInt(appendMPInt(appendSSHString(nil, sshRSA), big.NewInt(int64(r.E))), r.N)
	}
	return []byte(strings.TrimPrefix(k.preimage, skPrefix))
}

// Text returns the key as a line of an authorized_keys file, without comment
// and newline. PublicKeyFromText reads it back.
func (k PublicKey) Text() string {
	if k.IsZero() {
		return ""
	}
	blob := k.sshBlob()
	typ := (&sshReader{b: blob}).string()
	return string(typ) + " " + base64.StdEncoding.EncodeToString(blob)
}

// SSHFingerprint returns the key's fingerprint as ssh-keygen -l shows it.
func (k PublicKey) SSHFingerprint() string {
	h := sha256.Sum256(k.sshBlob())
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(h[:])
}

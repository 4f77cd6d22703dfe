package statement

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
)

// A Signer signs statements with one key. The Signers of this package may be
// used concurrently and check what they sign and what comes out.
type Signer interface {
	PublicKey() PublicKey
	// Sign returns the leaf that holds payload, signed.
	Sign(ctx context.Context, payload []byte) (leaf []byte, err error)
}

// Errors of OpenSigner that a caller may want to explain further.
var (
	ErrLoginKey   = errors.New("this key also logs in")
	ErrPassphrase = errors.New("the key file is encrypted and there is nobody to ask for its passphrase")
	ErrNoAgent    = errors.New("no ssh-agent: SSH_AUTH_SOCK is not set")
	ErrAgentKey   = errors.New("the ssh-agent does not hold exactly one such key")
)

// SignerOptions are what OpenSigner needs from its surroundings.
type SignerOptions struct {
	// Passphrase is asked for the passphrase of an encrypted key file; nil
	// means that there is nobody to ask.
	Passphrase func(path string) ([]byte, error)
	// CarryKey makes SSHSIG statements with an Ed25519 key too: they carry the key,
	// so that a log can verify them where nobody has registered it.
	CarryKey bool
	// UseLoginKey allows keys that also log in (spec/statement.md#login-keys).
	UseLoginKey bool
	AgentSocket string    // SSH_AUTH_SOCK
	SSHDir      string    // ~/.ssh; "" for none
	SSHKeygen   string    // program; "" means ssh-keygen from PATH
	Stderr      io.Writer // where ssh-keygen may ask for a touch; nil discards
}

// OpenSigner opens the key that spec names:
//
//	PATH, file:PATH         an OpenSSH private key, or a Nix secret key
//	agent:[SOCKET#]WHICH    a key in an ssh-agent: SHA256:fingerprint, comment, or path of a .pub file
//	ssh-keygen:PATH         stock ssh-keygen -Y sign -f PATH
//
// Ed25519 and P-256 keys from a file or an agent make COSE_Sign1 statements,
// every other key SSHSIG ones (spec/statement.md#signers).
func OpenSigner(ctx context.Context, spec string, opts SignerOptions) (Signer, error) {
	var k *keySigner
	var err error
	if rest, ok := strings.CutPrefix(spec, "agent:"); ok {
		k, err = openAgent(ctx, rest, &opts)
	} else if path, ok := strings.CutPrefix(spec, "ssh-keygen:"); ok {
		k, err = openKeygen(ctx, path, &opts)
	} else {
		k, err = openFile(strings.TrimPrefix(spec, "file:"), &opts)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the key %s: %w", spec, err)
	}
	if opts.CarryKey {
		return k.carrying()
	}
	return k, nil
}

// A keySigner is the one Signer of this package; the functions do what the key
// or the program that holds it can do.
type keySigner struct {
	pub     PublicKey
	nixName string // name of a Nix key; "" if it is none
	// raw returns a 64-byte signature over msg; nil if the key makes SSHSIGs only.
	raw func(ctx context.Context, msg []byte) ([]byte, error)
	// sshsig returns an SSHSIG over msg; used if raw is nil.
	sshsig func(ctx context.Context, namespace string, msg []byte) ([]byte, error)
}

// carrying returns the signer that makes SSHSIG statements with the same key.
func (k *keySigner) carrying() (Signer, error) {
	switch {
	case k.raw == nil:
		return k, nil
	case k.pub.typ != Ed25519:
		return nil, fmt.Errorf("a key of the type %s makes statements that do not carry it; an Ed25519 or RSA key does", k.pub.typ)
	}
	c := &keySigner{pub: k.pub, nixName: k.nixName}
	c.sshsig = func(ctx context.Context, namespace string, msg []byte) ([]byte, error) {
		sig, err := k.raw(ctx, sshsigMessage(namespace, msg))
		if err != nil {
			return nil, err
		}
		return sshsigBlob(k.pub, namespace, appendSSHString(appendSSHString(nil, sshEd25519), sig)), nil
	}
	return c, nil
}

func (k *keySigner) PublicKey() PublicKey { return k.pub }

// Sign implements Signer. It refuses to sign what Parse would refuse, and to
// return what does not verify.
func (k *keySigner) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	if err := (&Statement{Payload: payload}).parsePayload(); err != nil {
		return nil, err
	}
	var leaf []byte
	if k.raw != nil {
		alg := coseAlgs[k.pub.typ]
		sig, err := k.raw(ctx, sigStructure(alg, k.pub.ID(), payload))
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		leaf = coseLeaf(alg, k.pub.ID(), payload, sig)
	} else {
		blob, err := k.sshsig(ctx, Namespace, payload)
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		leaf = pairLeaf(payload, blob)
	}
	s, err := Parse(leaf)
	if err != nil {
		return nil, err
	}
	return leaf, s.Verify(k.pub)
}

// Sign encodes, signs and parses one statement. forWhom may be "" and prev nil.
func Sign(ctx context.Context, s Signer, body Body, forWhom string, prev *ID) (*Statement, error) {
	payload, err := EncodePayload(body, forWhom, prev)
	if err != nil {
		return nil, err
	}
	leaf, err := s.Sign(ctx, payload)
	if err != nil {
		return nil, err
	}
	return Parse(leaf)
}

// NewEd25519Signer returns a Signer for a key in memory. It is how a log signs
// with its own key.
func NewEd25519Signer(key ed25519.PrivateKey) (Signer, error) { return newMemorySigner(key) }

// newMemorySigner returns the signer of an Ed25519, P-256 or RSA private key.
func newMemorySigner(key crypto.Signer) (*keySigner, error) {
	var pub PublicKey
	var err error
	k := &keySigner{}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		if len(key) != ed25519.PrivateKeySize {
			return nil, errf(CodeBadKey, "an Ed25519 private key of %d bytes instead of 64", len(key))
		}
		// The public half in the file may be anything, and signing with a wrong
		// one gives the private key away.
		key = ed25519.NewKeyFromSeed(key.Seed())
		pub, err = Ed25519Key(key.Public().(ed25519.PublicKey))
		k.raw = func(_ context.Context, msg []byte) ([]byte, error) { return ed25519.Sign(key, msg), nil }
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return nil, errf(CodeBadKey, "an ECDSA key on %s; only P-256 is accepted", key.Curve.Params().Name)
		}
		var point []byte
		if point, err = key.PublicKey.Bytes(); err == nil {
			pub, err = p256Key(point)
		}
		k.raw = func(_ context.Context, msg []byte) ([]byte, error) {
			h := sha256.Sum256(msg)
			// Without a source of randomness: deterministic (RFC 6979).
			der, err := key.Sign(nil, h[:], crypto.SHA256)
			if err != nil {
				return nil, err
			}
			var sig struct{ R, S *big.Int }
			if _, err := asn1.Unmarshal(der, &sig); err != nil {
				return nil, err
			}
			return fixedECDSA(sig.R, sig.S)
		}
	case *rsa.PrivateKey:
		pub, err = rsaKey(&key.PublicKey)
		k.sshsig = func(_ context.Context, namespace string, msg []byte) ([]byte, error) {
			h := sha512.Sum512(sshsigMessage(namespace, msg))
			sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA512, h[:])
			if err != nil {
				return nil, err
			}
			return sshsigBlob(pub, namespace, appendSSHString(appendSSHString(nil, sshRSASig), sig)), nil
		}
	default:
		err = errf(CodeBadKey, "a private key that is neither Ed25519, P-256 nor RSA")
	}
	if err != nil {
		return nil, err
	}
	k.pub = pub
	return k, nil
}

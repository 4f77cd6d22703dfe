package witness

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/ed25519x"
	"github.com/firn-log/firn/log/policy"
)

// A Key is the private key of a witness: an Ed25519 key that makes cosignatures
// (c2sp.org/tlog-cosignature, type 0x04) and nothing else. It may be used
// concurrently.
type Key struct {
	verifier policy.Key
	private  ed25519.PrivateKey
}

const keyPrefix = "PRIVATE+KEY+"

// GenerateKey makes a key with a name and returns it with the text that
// ParseKey reads.
func GenerateKey(name string) (k *Key, text string, err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, "", err
	}
	if k, err = newKey(name, private); err != nil {
		return nil, "", err
	}
	return k, k.text(), nil
}

func newKey(name string, private ed25519.PrivateKey) (*Key, error) {
	v, err := policy.NewKey(name, policy.TypeCosignature, private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	return &Key{verifier: v, private: private}, nil
}

func (k *Key) text() string {
	raw := append([]byte{policy.TypeCosignature}, k.private.Seed()...)
	return fmt.Sprintf("%s%s+%08x+%s", keyPrefix, k.verifier.Name, k.verifier.ID, base64.StdEncoding.EncodeToString(raw))
}

// ParseKey reads "PRIVATE+KEY+<name>+<key id>+<base64 of 0x04 ‖ seed>", the form
// that golang.org/x/mod/sumdb/note has for its keys, with the type of a
// cosignature and the key id that follows from it. Errors do not hold the key.
func ParseKey(text string) (*Key, error) {
	rest, ok := strings.CutPrefix(text, keyPrefix)
	fields := strings.SplitN(rest, "+", 3) // base64 may hold a "+" too
	if !ok || len(fields) != 3 {
		return nil, errors.New("it is not a private key of a witness")
	}
	raw, err := policy.DecodeBase64(fields[2])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, errors.New("its last part is not the base64 of a type and 32 bytes")
	}
	if raw[0] != policy.TypeCosignature {
		return nil, fmt.Errorf("it is a key of type 0x%02x; a witness has one of type 0x%02x, used for nothing else", raw[0], policy.TypeCosignature)
	}
	k, err := newKey(fields[0], ed25519.NewKeyFromSeed(raw[1:]))
	if err != nil {
		return nil, err
	}
	if id, err := strconv.ParseUint(fields[1], 16, 32); err != nil || k.text() != text {
		return nil, fmt.Errorf("its key id is %08x by its content, not %08x", k.verifier.ID, id)
	}
	return k, nil
}

// Verifier returns the verifier key, type 0x04.
func (k *Key) Verifier() policy.Key { return k.verifier }

// errNoTime says that the clock cannot be used: a cosignature without a time
// means something else (c2sp.org/tlog-cosignature).
var errNoTime = errors.New("the clock of this machine shows a time before 1970")

// cosign signs the text of a checkpoint at a time. Whoever calls it has made
// sure that the checkpoint may be signed, and lets nobody see the signature
// before the checkpoint is durable.
func (k *Key) cosign(text string, now time.Time) (policy.Signature, error) {
	t := now.Unix()
	if t <= 0 {
		return policy.Signature{}, errNoTime
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(t))
	sig = append(sig, ed25519.Sign(k.private, policy.CosignatureMessage(text, uint64(t)))...)
	return policy.Signature{Name: k.verifier.Name, ID: k.verifier.ID, Sig: sig}, nil
}

// cosignedAt returns the time of a cosignature by k of a text.
func (k *Key) cosignedAt(text string, s policy.Signature) (time.Time, bool) {
	if !k.cosigned(text, s) {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(s.Sig)), 0), true
}

// claimedAt returns the time of a signature under the name of k, which it does not
// verify.
func (k *Key) claimedAt(s policy.Signature) (time.Time, bool) {
	if s.Name != k.verifier.Name || s.ID != k.verifier.ID || len(s.Sig) != 8+ed25519.SignatureSize {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(s.Sig)), 0), true
}

// cosigned reports whether s is a cosignature by k of a text.
func (k *Key) cosigned(text string, s policy.Signature) bool {
	if s.Name != k.verifier.Name || s.ID != k.verifier.ID || len(s.Sig) != 8+ed25519.SignatureSize {
		return false
	}
	t := binary.BigEndian.Uint64(s.Sig)
	return t>>63 == 0 && ed25519x.Verify(k.verifier.Public, policy.CosignatureMessage(text, t), s.Sig[8:])
}

package policy

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

const testOrigin = "log.example/0123abcd"

var testNow = time.Unix(1_800_000_000, 0)

func seeded(what string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(what))
	return ed25519.NewKeyFromSeed(seed[:])
}

// A signer makes signature lines of one key.
type signer struct {
	Key
	priv ed25519.PrivateKey
}

func newSigner(t testing.TB, name string, typ byte, seed string) signer {
	t.Helper()
	priv := seeded(seed)
	k, err := NewKey(name, typ, priv.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return signer{k, priv}
}

func (s signer) sign(text string) Signature {
	return Signature{s.Name, s.ID, ed25519.Sign(s.priv, []byte(text))}
}

func (s signer) cosign(text string, at int64) Signature {
	sig := binary.BigEndian.AppendUint64(nil, uint64(at))
	return Signature{s.Name, s.ID, append(sig, ed25519.Sign(s.priv, CosignatureMessage(text, uint64(at)))...)}
}

// world is a log, three witnesses and a policy of two of them.
type world struct {
	log  signer
	w    [3]signer
	text string
	pol  *Policy
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{log: newSigner(t, testOrigin, TypeEd25519, "log")}
	for i := range w.w {
		w.w[i] = newSigner(t, fmt.Sprintf("witness.example/w%d", i+1), TypeCosignature, fmt.Sprint("witness ", i))
	}
	w.text = Head{Origin: testOrigin, Size: 5, Root: sha256.Sum256([]byte("root"))}.Text()
	w.pol = mustParse(t, fmt.Sprintf("log %s\nwitness w1 %s\nwitness w2 %s\nwitness w3 %s\ngroup g 2 w1 w2 w3\nquorum g\n",
		w.log.Key, w.w[0].Key, w.w[1].Key, w.w[2].Key))
	return w
}

func (w *world) note(sigs ...Signature) []byte {
	return (&Note{w.text, sigs}).Marshal()
}

// good is a note that satisfies the policy, cosigned at testNow − 10 s and − 20 s.
func (w *world) good() []byte {
	return w.note(w.log.sign(w.text), w.w[0].cosign(w.text, testNow.Unix()-10), w.w[1].cosign(w.text, testNow.Unix()-20))
}

func mustParse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

func wantErr(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want one that says %q", err, part)
	}
}

package federation

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// What a peer passes on of a note is read again as the same bytes.
func FuzzReadSigned(f *testing.F) {
	seed := sha256.Sum256([]byte("fuzz"))
	priv := ed25519.NewKeyFromSeed(seed[:])
	key, err := policy.NewKey("log.example/0123abcd", policy.TypeEd25519, priv.Public().(ed25519.PublicKey))
	if err != nil {
		f.Fatal(err)
	}
	pol, err := policy.Parse([]byte("log " + key.String() + "\nquorum none\n"))
	if err != nil {
		f.Fatal(err)
	}
	text := policy.Head{Origin: key.Name, Size: 3, Root: seed}.Text()
	sig := policy.Signature{Name: key.Name, ID: key.ID, Sig: ed25519.Sign(priv, []byte(text))}
	other := policy.Signature{Name: "grease.invalid", ID: 7, Sig: []byte("x")}
	f.Add((&policy.Note{Text: text, Signatures: []policy.Signature{sig}}).Marshal())
	f.Add((&policy.Note{Text: text, Signatures: []policy.Signature{other, sig, sig}}).Marshal())
	f.Add([]byte(text))
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, note []byte) {
		s, _, err := readSigned(pol, note, now)
		if err != nil {
			return
		}
		again, _, err := readSigned(pol, s.note, now)
		if err != nil || !bytes.Equal(again.note, s.note) || again.text != s.text {
			t.Errorf("%q is passed on as %q: %v", note, s.note, err)
		}
	})
}

package statement

import (
	"crypto"
	"crypto/rand"
	"testing"

	"github.com/veraison/go-cose"
)

// Another implementation of COSE verifies our leaves, and we verify its.
func TestCOSEAgreesWithGoCOSE(t *testing.T) {
	for name, tc := range map[string]struct {
		key crypto.Signer
		alg cose.Algorithm
	}{
		"EdDSA": {testEd25519("build"), cose.AlgorithmEdDSA},
		"ES256": {testP256("build"), cose.AlgorithmES256},
	} {
		t.Run(name, func(t *testing.T) {
			k := memorySigner(t, tc.key)
			leaf := signSample(t, k, sampleBuild(), "", nil).Leaf()
			var ours cose.Sign1Message
			if err := ours.UnmarshalCBOR(leaf); err != nil {
				t.Fatal(err)
			}
			verifier, err := cose.NewVerifier(tc.alg, tc.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			if err := ours.Verify(nil, verifier); err != nil {
				t.Errorf("go-cose does not verify our leaf: %v", err)
			}

			signer, err := cose.NewSigner(tc.alg, tc.key)
			if err != nil {
				t.Fatal(err)
			}
			kid := k.pub.ID()
			theirs := cose.Sign1Message{
				Headers: cose.Headers{Protected: cose.ProtectedHeader{
					cose.HeaderLabelAlgorithm:   tc.alg,
					cose.HeaderLabelContentType: ContentType,
					cose.HeaderLabelKeyID:       kid[:],
				}},
				Payload: payloadOf(t, sampleBuild(), nil),
			}
			if err := theirs.Sign(rand.Reader, nil, signer); err != nil {
				t.Fatal(err)
			}
			b, err := theirs.MarshalCBOR()
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(k.pub); err != nil {
				t.Errorf("we do not verify go-cose's leaf: %v", err)
			}
			if s.ID() != signSample(t, k, sampleBuild(), "", nil).ID() {
				t.Error("the statement id depends on who encoded it")
			}
		})
	}
}

package statement

import "testing"

// Beside the signature itself, which is the limit: what a log spends on one leaf.
func BenchmarkLeaf(b *testing.B) {
	k := edSigner(b, "build")
	leaf := signSample(b, k, sampleBuild(), "", nil).Leaf()
	s, err := Parse(leaf)
	if err != nil {
		b.Fatal(err)
	}
	signed := sigStructure(algEdDSA, k.pub.ID(), s.Payload)
	b.Run("Ed25519", func(b *testing.B) {
		for b.Loop() {
			verifyRaw(k.pub, signed, s.Sig)
		}
	})
	b.Run("Parse", func(b *testing.B) {
		b.SetBytes(int64(len(leaf)))
		for b.Loop() {
			if _, err := Parse(leaf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ParseAndVerify", func(b *testing.B) {
		b.SetBytes(int64(len(leaf)))
		for b.Loop() {
			if s, err := Parse(leaf); err != nil || s.Verify(k.pub) != nil {
				b.Fatal(err)
			}
		}
	})
}

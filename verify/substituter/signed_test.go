package substituter

import (
	"testing"

	"github.com/firn-log/firn/verify"
)

// A signature that was kept is served, unless another key signs now.
func TestKeptSignaturesAreOfTheKeyOfNow(t *testing.T) {
	n := info(t, "app", "text")
	pack(n, narOf(t, "text"))
	d := &decision{info: n, action: verify.Serve, verdict: verify.Trusted}
	s := &Substituter{o: Options{Key: localKey}, keyID: keyIDOf(localKey)}
	s.sign(d)
	kept, err := decodeDecision(storeDir, d.encode())
	if err != nil {
		t.Fatal(err)
	}
	if sig := s.derive(kept).Sigs[0]; kept.signed != s.keyID+sig || !localKey.Public().Verify(n.Fingerprint(), sig) {
		t.Errorf("kept %q, served %q", kept.signed, sig)
	}
	other := secret("another")
	other.Name = localKey.Name
	after := &Substituter{o: Options{Key: other}, keyID: keyIDOf(other)}
	if sig := after.derive(kept).Sigs[0]; !other.Public().Verify(n.Fingerprint(), sig) {
		t.Errorf("a signature of the key before is served: %q", sig)
	}
	after.sign(kept)
	if sig := after.derive(kept).Sigs[0]; !other.Public().Verify(n.Fingerprint(), sig) {
		t.Errorf("a signature of the key before is kept: %q", sig)
	}
}

// What is not served is not signed.
func TestRefusalsAreNotSigned(t *testing.T) {
	d := &decision{info: info(t, "app", "text"), action: verify.Refuse}
	s := &Substituter{o: Options{Key: localKey}, keyID: keyIDOf(localKey)}
	if s.sign(d); d.signed != "" {
		t.Errorf("signed %q", d.signed)
	}
}

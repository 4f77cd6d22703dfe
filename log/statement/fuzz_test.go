package statement

import (
	"bytes"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, dir := range []string{"accept", "reject"} {
		for _, v := range readVectors(f, dir) {
			f.Add(unhex(f, v.Leaf))
		}
	}
	f.Fuzz(func(t *testing.T, leaf []byte) {
		s, err := Parse(leaf)
		if err != nil {
			if code := CodeOf(err); code == "" || code == CodeInternalError {
				t.Errorf("an error without a code: %v", err)
			}
			return
		}
		checkRoundTrip(t, s, leaf)
		if s.SignerKey != nil {
			_ = s.Verify(*s.SignerKey)
		}
		_ = verifyProof(s.Body)
		_ = Blobs(s.Body)
		_ = s.VerifyWithReferences(PublicKey{}, nil)
	})
}

// FuzzPayload reaches the bodies without a signature in the way.
func FuzzPayload(f *testing.F) {
	for _, dir := range []string{"accept", "reject"} {
		for _, v := range readVectors(f, dir) {
			if s := new(Statement); s.splitLeaf(unhex(f, v.Leaf)) == nil {
				f.Add(s.Payload)
			}
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := &Statement{Payload: payload}
		if err := s.parsePayload(); err != nil {
			checkSentence(t, err)
			return
		}
		again, err := EncodePayload(s.Body, s.For, s.Prev)
		if err != nil || !bytes.Equal(again, payload) {
			t.Errorf("encodes as %x (%v)", again, err)
		}
	})
}

func FuzzPublicKey(f *testing.F) {
	for _, v := range readVectors(f, "keys") {
		f.Add(unhex(f, v.PublicKey))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParsePublicKey(b)
		if err != nil {
			return
		}
		if !bytes.Equal(k.Preimage(), b) {
			t.Errorf("encodes as %x", k.Preimage())
		}
		again, err := PublicKeyFromText(k.Text())
		if err != nil || !again.Equal(k) {
			t.Errorf("the text form does not read back: %v", err)
		}
	})
}

func FuzzSSHSIG(f *testing.F) {
	for _, dir := range []string{"accept", "reject"} {
		for _, v := range readVectors(f, dir) {
			if s := new(Statement); s.splitLeaf(unhex(f, v.Leaf)) == nil && len(s.Sig) > 64 {
				f.Add(s.Sig)
			}
		}
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		s, err := parseSSHSIG(blob, Namespace)
		if err != nil {
			return
		}
		if !bytes.Equal(s.blob(Namespace), blob) {
			t.Errorf("encodes as %x", s.blob(Namespace))
		}
		_ = s.verify(Namespace, nil)
	})
}

func FuzzPublicKeyText(f *testing.F) {
	for _, v := range readVectors(f, "keys") {
		f.Add(v.PublicKey)
		if k, err := ParsePublicKey(unhex(f, v.PublicKey)); err == nil {
			f.Add(k.Text() + " comment")
		}
	}
	f.Add(testNixKey().Public().String())
	f.Fuzz(func(t *testing.T, s string) {
		k, err := PublicKeyFromText(s)
		if err != nil {
			return
		}
		again, err := ParsePublicKey(k.Preimage())
		if err != nil || again.ID() != k.ID() {
			t.Errorf("%q gives a key that does not parse: %v", s, err)
		}
	})
}

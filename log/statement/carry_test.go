package statement

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

func writePKCS8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAStatementCanCarryAnEd25519Key(t *testing.T) {
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSigner(t.Context(), writePKCS8(t, private), SignerOptions{CarryKey: true})
	if err != nil {
		t.Fatal(err)
	}
	st, err := Sign(t.Context(), s, &Closure{Name: "x", StoreDir: "/nix/store", Count: 1}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if st.Form != SSHSIG || st.SignerKey == nil || !st.SignerKey.Ed25519().Equal(pub) {
		t.Fatalf("form %s, key %v", st.Form, st.SignerKey)
	}
	if err := st.Verify(*st.SignerKey); err != nil {
		t.Error(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSigner(t.Context(), writePKCS8(t, p256), SignerOptions{CarryKey: true}); err == nil {
		t.Error("a P-256 key is taken, whose statements do not carry it")
	}
}

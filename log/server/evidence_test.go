package server

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

func evidenceBody(t *testing.T, name string) *statement.Evidence {
	t.Helper()
	return &statement.Evidence{Bytes: want(os.ReadFile(filepath.Join(testreq.Root(), "spec", "vectors", "evidence", name+".firn-evidence")))(t)}
}

// stranger is a key that no operator has registered and that signs SSHSIG.
func stranger(t testing.TB) statement.Signer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	key := want(os.ReadFile(filepath.Join(testreq.Root(), "log", "statement", "testdata", "rsa3072")))(t)
	if err := os.WriteFile(path, key, 0o600); err != nil {
		t.Fatal(err)
	}
	return want(statement.OpenSigner(t.Context(), "file:"+path, statement.SignerOptions{}))(t)
}

// carrier is a new Ed25519 key, as firn-peer has one.
func carrier(t testing.TB) statement.Signer {
	t.Helper()
	der := want(x509.MarshalPKCS8PrivateKey(sample.Key("carrier")))(t)
	path := filepath.Join(t.TempDir(), "submit.key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return want(statement.OpenSigner(t.Context(), path, statement.SignerOptions{CarryKey: true}))(t)
}

func TestAnybodySubmitsEvidence(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Admission.ClaimsPerSubject = 2 })
	alice := l.operator("alice")
	sign := func(s statement.Signer, name string) []byte {
		return want(statement.Sign(t.Context(), s, evidenceBody(t, name), "", nil))(t).Leaf()
	}
	revoked := sample.Signer("revoked")
	l.must(alice.AddKey(revoked, statement.RoleBuild))
	l.must(alice.Revoke(revoked.PublicKey().ID()))
	for _, tt := range []struct {
		who  string
		by   statement.Signer
		name string
		code string
	}{
		{"a stranger whose key is in the leaf", stranger(t), "accept-log-one-size", ""},
		{"a stranger with an Ed25519 key in the leaf", carrier(t), "accept-log-one-size", ""},
		{"a build key", alice.Build, "accept-log-one-size", ""},
		{"an identity key", alice.Identity, "accept-log-one-size", ""},
		{"more against one key", alice.Build, "accept-log-two-sizes", ""},
		{"too much against one key", alice.Build, "accept-log-extension-line", "too-many-claims"},
		{"against another", alice.Build, "accept-witness-one-size", ""},
		{"a key that nobody knows", sample.Signer("nobody"), "accept-log-one-size", "unknown-key"},
		{"a revoked key", revoked, "accept-log-one-size", "revoked-key"},
		{"the log's own key", l.key.statement, "accept-log-one-size", "log-only"},
	} {
		if got := l.code(sign(tt.by, tt.name)); got != tt.code {
			t.Errorf("%s: %q, want %q", tt.who, got, tt.code)
		}
	}
	l.must(alice.Builds(0, 1)...) // and wait for a checkpoint over all of it
	key := index.Key(evidenceBody(t, "accept-log-one-size").Convicted().ID())
	l.settle()
	_, got := l.lookupNow(fmt.Sprintf(`{"keys":[{"key":%q}],"signers":null}`, key))
	if n := len(got.Lists[0].Items); n != 5 {
		t.Errorf("%d entries under the convicted key, want 5", n)
	}
}

func TestEvidenceThatConvictsNobodyIsRefused(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	files, err := filepath.Glob(filepath.Join(testreq.Root(), "spec", "vectors", "statement", "reject", "evidence-*.json"))
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, f := range files {
		var v struct{ Leaf, Code string }
		if err := json.Unmarshal(want(os.ReadFile(f))(t), &v); err != nil {
			t.Fatal(err)
		}
		if got := l.code(want(hex.DecodeString(v.Leaf))(t)); got != v.Code {
			t.Errorf("%s: %q, want %q", filepath.Base(f), got, v.Code)
		}
	}
}

// Parsing looks at the form of evidence against an index alone, so the log judges it.
func TestEvidenceAgainstAnIndexIsJudged(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	alice := l.operator("alice")
	for name, code := range map[string]string{
		"index/accept-two-revisions":      "",
		"index/accept-missing-between":    "",
		"index/reject-innocent-present":   statement.CodeNotEvidence,
		"index/reject-innocent-two-sizes": statement.CodeNotEvidence,
		"index/reject-reserved-kind":      statement.CodeNotYet,
	} {
		leaf := want(statement.Sign(t.Context(), alice.Build, evidenceBody(t, name), "", nil))(t).Leaf()
		if got := l.code(leaf); got != code {
			t.Errorf("%s: %q, want %q", name, got, code)
		}
	}
}

// However much there is against the index of a log, there is room for evidence that it
// has shown two histories.
func TestEvidenceAgainstAnIndexTakesNoPlaceOfOther(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Admission.ClaimsPerSubject = 1 })
	alice := l.operator("alice")
	for _, tt := range []struct{ name, code string }{
		{"index/accept-two-revisions", ""},
		{"index/accept-missing-between", "too-many-claims"},
		{"accept-log-one-size", ""},
		{"accept-log-two-sizes", "too-many-claims"},
	} {
		if got := l.code(want(statement.Sign(t.Context(), alice.Build, evidenceBody(t, tt.name), "", nil))(t).Leaf()); got != tt.code {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.code)
		}
	}
}

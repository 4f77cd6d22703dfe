package server

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

// newClaims returns a claim of each kind about caches, content and evaluations; n tells
// one from another.
func newClaims(t *testing.T, n int) map[statement.Kind]statement.Body {
	t.Helper()
	dir := nix.DefaultStoreDir
	b := sample.Build(n)
	o := b.Outputs[0]
	ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: o.NarHash[:]}
	path := want(nix.FixedOutputPath(dir, "source", ca, nix.Refs{}))(t)
	r := &statement.Realisation{StoreDir: dir, Modulo: &b.Modulo, Output: "out", Path: o.Path, Builder: b.Builder}
	key := sample.Key("cache.example-1")
	r.NixSigs = []statement.NixSig{{
		KeyName: "cache.example-1", Key: [32]byte(key.Public().(ed25519.PublicKey)),
		Sig: [64]byte(ed25519.Sign(key, r.Fingerprint())), Form: statement.SigByModulo,
	}}
	return map[statement.Kind]statement.Body{
		statement.KindObserved:    &statement.Observed{StoreDir: dir, Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, Cache: "https://cache.example", Seen: uint64(n)},
		statement.KindRealisation: r,
		statement.KindPath:        &statement.PathClaim{StoreDir: dir, Path: path, NarHash: o.NarHash, NarSize: o.NarSize, CA: ca.String()},
		statement.KindDiff:        &statement.Diff{StoreDir: dir, Path: o.Path, A: o.NarHash, Total: 1, Tool: "firn"},
		statement.KindEval:        &statement.Eval{Name: "e", StoreDir: dir, Digest: o.NarHash, Count: 1},
	}
}

// They are claims: a build key makes them, and no other.
func TestClaimsOfNewKindsAreAdmittedFromBuildKeys(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	alice := l.operator("alice")
	stranger := sample.NewOperator("stranger", l.Origin())
	for kind, body := range newClaims(t, 1) {
		if kind.Class() != statement.Claim {
			t.Errorf("%s is of class %d", kind, kind.Class())
		}
		leaf := alice.Claim(body)
		for _, tt := range []struct {
			name string
			leaf []byte
			code string
		}{
			{"an identity key", want(statement.Sign(t.Context(), alice.Identity, body, "", nil))(t).Leaf(), "wrong-role"},
			{"a stranger", stranger.Claim(body), "unknown-key"},
			{"the log", want(statement.Sign(t.Context(), l.key.statement, body, "", nil))(t).Leaf(), "log-only"},
			{"a build key", leaf, ""},
			{"the same again", leaf, ""},
		} {
			if got := l.code(tt.leaf); got != tt.code {
				t.Errorf("%s by %s: %q, want %q", kind, tt.name, got, tt.code)
			}
		}
	}
	bad := newClaims(t, 2)[statement.KindRealisation].(*statement.Realisation)
	bad.NixSigs[0].Sig[0] ^= 1
	if got := l.code(signRaw(t, alice.Build, bad, nil)); got != "bad-signature" {
		t.Errorf("a realisation with a false signature of a Nix key: %q", got)
	}
}

// What is observed of a path, or differs, is bounded, and takes no place of a build of it.
func TestObservedAndDiffAreCountedApart(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Admission.ClaimsPerSubject = 2 })
	alice := l.operator("alice")
	o := newClaims(t, 1)[statement.KindObserved].(*statement.Observed)
	d := newClaims(t, 1)[statement.KindDiff].(*statement.Diff)
	var got []string
	for i := range 3 {
		o.Seen, d.Total = uint64(i), uint64(1+i)
		got = append(got, l.code(alice.Claim(o)), l.code(alice.Claim(d)))
	}
	if want := []string{"", "", "", "", "too-many-claims", "too-many-claims"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for i := range 3 {
		code, wanted := l.code(alice.Claim(sample.Again(1, i))), ""
		if i == 2 {
			wanted = "too-many-claims"
		}
		if code != wanted {
			t.Errorf("build %d: %q", i, code)
		}
	}
	// One that a realisation is about, whatever path it says.
	r := newClaims(t, 3)[statement.KindRealisation].(*statement.Realisation)
	r.NixSigs = nil
	for i := range 3 {
		r.Path = want(nix.DefaultStoreDir.FromBase(fmt.Sprintf("%032d-x", i)))(t)
		code, wanted := l.code(alice.Claim(r)), ""
		if i == 2 {
			wanted = "too-many-claims"
		}
		if code != wanted {
			t.Errorf("realisation %d: %q", i, code)
		}
	}
}

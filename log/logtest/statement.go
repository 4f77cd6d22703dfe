package logtest

import (
	"context"
	"crypto/sha256"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Signer returns an Ed25519 signer whose key follows from name.
func Signer(t testing.TB, name string) statement.Signer {
	t.Helper()
	s, err := statement.NewEd25519Signer(seeded("signer " + name))
	if err != nil {
		t.Fatalf("logtest: %v", err)
	}
	return s
}

// Leaf returns the leaf of a statement.
func Leaf(t testing.TB, s statement.Signer, body statement.Body) []byte {
	t.Helper()
	st, err := statement.Sign(context.Background(), s, body, "", nil)
	if err != nil {
		t.Fatalf("logtest: %v", err)
	}
	return st.Leaf()
}

// Closure returns the body of a closure statement about a set of paths that
// follows from name: a small valid statement, found under ClosureKey(name).
func Closure(name string) *statement.Closure {
	return &statement.Closure{Name: name, StoreDir: nix.DefaultStoreDir, Digest: closureDigest(name), Count: 1}
}

// ClosureKey returns the index key of Closure(name).
func ClosureKey(name string) string {
	d := closureDigest(name)
	return "digest:sha256:" + d.Hex()
}

func closureDigest(name string) nix.Hash { return sha256.Sum256([]byte("closure " + name)) }

package verify

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

func refsHash(refs []nix.StorePath) nix.Hash { return statement.PathsDigest(refs) }

func cacheKey(name string) nix.SecretKey {
	seed := sha256.Sum256([]byte("firn test cache " + name))
	return nix.SecretKey{Name: name, Key: ed25519.NewKeyFromSeed(seed[:])}
}

func keyID(t testing.TB, k nix.SecretKey) statement.KeyID {
	t.Helper()
	pub, err := statement.Ed25519Key(k.Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	return pub.ID()
}

func cacheSig(t testing.TB, k nix.SecretKey, info *nix.PathInfo) *statement.Statement {
	t.Helper()
	s, err := statement.NewCacheSig(info, k.Public(), k.Sign(info.Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func infoOf(b *statement.Build) *nix.PathInfo {
	o := b.Outputs[0]
	return &nix.PathInfo{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, References: o.References, CA: o.CA}
}

// caBuild is a build of a floating content-addressed output, and its key.
func caBuild(t testing.TB, name, what, implementation string) (*statement.Build, string) {
	t.Helper()
	b := buildOf(t, name, what)
	b.Builder.Implementation = implementation
	o := &b.Outputs[0]
	ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: o.NarHash[:]}
	o.CA, o.References = ca.String(), nil
	var err error
	if o.Path, err = nix.FixedOutputPath(b.StoreDir, name, ca, nix.Refs{}); err != nil {
		t.Fatal(err)
	}
	return b, RealisationKey(b.Modulo, "out")
}

func mustCheckpoint(t testing.TB, w *world) *log.Checkpoint {
	t.Helper()
	cp, err := w.logs[0].Client("").Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

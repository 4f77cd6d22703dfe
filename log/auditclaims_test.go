package log_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// An audit looks at the signatures of Nix keys in realisations, and says of how many
// caches' signatures it does not know what they cover.
func TestAuditOfRealisationsAndOfListsThatAreMissing(t *testing.T) {
	l := logtest.New(t)
	a := logtest.Signer(t, "a")
	path := func(name string) nix.StorePath {
		p, err := nix.DefaultStoreDir.FromBase("00000000000000000000000000000000-" + name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	key := nix.SecretKey{Name: "cache-1", Key: ed25519.NewKeyFromSeed(make([]byte, 32))}
	realisation := func(signed, says string) []byte {
		r := &statement.Realisation{
			StoreDir: nix.DefaultStoreDir, Modulo: &nix.Hash{1}, Output: "out", Path: path(signed),
			Builder: statement.Builder{Implementation: "nix", Version: "2.31.2"},
		}
		sig := [64]byte(ed25519.Sign(key.Key, r.Fingerprint()))
		r.Path = path(says)
		r.NixSigs = []statement.NixSig{{KeyName: key.Name, Key: [32]byte(key.Key[32:]), Sig: sig, Form: statement.SigByModulo}}
		return logtest.Leaf(t, a, r)
	}
	info := &nix.PathInfo{Path: path("hello"), NarSize: 1}
	for i := range 1500 {
		info.References = append(info.References, path(fmt.Sprintf("dependency-number-%04d", i)))
	}
	slices.SortFunc(info.References, nix.StorePath.Compare)
	long, err := statement.NewCacheSig(info, key.Public(), key.Sign(info.Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range [][]byte{
		logtest.Leaf(t, a, &statement.Operator{Name: "op", Contact: "op@example.org", HomeLog: l.Origin(), Identity: a.PublicKey()}),
		realisation("hello", "hello"), realisation("hello", "evil"), long.Leaf(),
	} {
		l.Add(leaf)
	}
	l.Publish()
	c := l.Client("")
	res, err := c.Audit(t.Context(), checkpoint(t, c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Faults) != 1 || res.Faults[0].Index != 2 || res.Unlisted != 1 {
		t.Errorf("faults %+v, %d without their list", res.Faults, res.Unlisted)
	}
}

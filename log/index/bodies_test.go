package index_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

const drv = "/nix/store/0c9kq1w5ip32lwiz79bjbhv8s3jqb0yf-hello.drv"

var builder = statement.Builder{Implementation: "nix", Version: "2.31.2", Sandbox: true}

func signer(t *testing.T, n byte) statement.Signer {
	t.Helper()
	s, err := statement.NewEd25519Signer(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func storePath(t *testing.T, s string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var modulo = nix.Hash(bytes.Repeat([]byte{9}, 32))

func outPath(t *testing.T, output string) string {
	t.Helper()
	p, err := nix.OutputPath(nix.DefaultStoreDir, modulo, "hello", output)
	if err != nil {
		t.Fatal(err)
	}
	return p.String()
}

func build(t *testing.T) *statement.Build {
	t.Helper()
	b := &statement.Build{
		DrvPath: storePath(t, drv), Modulo: modulo, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir,
		How: statement.HowBuilt, Builder: builder,
	}
	for _, name := range []string{"dev", "out"} {
		b.Outputs = append(b.Outputs, statement.BuildOutput{
			Name: name, Path: storePath(t, outPath(t, name)), NarSize: 120, References: []nix.StorePath{},
		})
	}
	return b
}

// rules list one operator key and one cache key.
func rules(cache statement.PublicKey) statement.Rules {
	return statement.Rules{
		Mode: statement.ModeOpen, Budgets: statement.Budgets{ClaimsPerSubject: 1}, VouchThreshold: 1,
		OperatorKeys: []statement.KeyID{statement.KeyID(bytes.Repeat([]byte{10}, 32))},
		CacheKeys:    []statement.CacheKey{{Name: "c", Key: [32]byte(cache.Ed25519())}},
	}
}

// fixed is a build with one output whose content is fixed.
func fixed(t *testing.T) *statement.Build {
	t.Helper()
	hash := bytes.Repeat([]byte{7}, 32)
	ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: hash}
	p, err := nix.FixedOutputPath(nix.DefaultStoreDir, "hello", ca, nix.Refs{})
	if err != nil {
		t.Fatal(err)
	}
	b := build(t)
	b.Outputs = []statement.BuildOutput{{
		Name: "out", Path: p, NarHash: nix.Hash(hash), NarSize: 120, References: []nix.StorePath{}, CA: ca.String(),
	}}
	return b
}

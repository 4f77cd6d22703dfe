package index_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// The keys and subjects of the claims about caches, content and evaluations,
// written by hand from spec/index.md#keys and spec/log.md#claims-per-subject.
func TestKeysAndSubjectsOfClaims(t *testing.T) {
	me := signer(t, 1)
	key := "key:" + me.PublicKey().ID().String()
	const path, drvPath = "/nix/store/00000000000000000000000000000000-a", "/nix/store/11111111111111111111111111111111-a.drv"
	p, d := storePath(t, path), storePath(t, drvPath)
	modulo := nix.Hash(bytes.Repeat([]byte{9}, 32))
	content := bytes.Repeat([]byte{7}, 32)
	fixed := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: content}
	text := nix.ContentAddress{Method: nix.Text, Algo: "sha256", Hash: content}
	claim := func(ca nix.ContentAddress) *statement.PathClaim {
		at, err := nix.FixedOutputPath(nix.DefaultStoreDir, "a", ca, nix.Refs{})
		if err != nil {
			t.Fatal(err)
		}
		return &statement.PathClaim{StoreDir: nix.DefaultStoreDir, Path: at, NarHash: nix.Hash(content), NarSize: 1, CA: ca.String()}
	}
	nixKey := ed25519.NewKeyFromSeed(make([]byte, 32))
	signed := &statement.Realisation{StoreDir: nix.DefaultStoreDir, Modulo: &modulo, Output: "out", Path: p, Builder: builder}
	signed.NixSigs = []statement.NixSig{{
		KeyName: "cache-1", Key: [32]byte(nixKey[32:]), Sig: [64]byte(ed25519.Sign(nixKey, signed.Fingerprint())), Form: statement.SigByModulo,
	}}
	nixKeyID, err := statement.Ed25519Key(nixKey.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	dep := statement.RealisationDep{Drv: &d, Output: "out", Path: storePath(t, "/nix/store/22222222222222222222222222222222-a")}
	real9 := "real:sha256:" + strings.Repeat("09", 32) + "!out"
	for _, tt := range []struct {
		name           string
		body           statement.Body
		keys, subjects []string
	}{
		{
			"observed", &statement.Observed{StoreDir: nix.DefaultStoreDir, Path: p, NarSize: 1, Cache: "https://c.example", Deriver: &d},
			[]string{"out:" + path, "drv:" + drvPath},
			[]string{"observed:out:" + path},
		},
		{
			"observed, no deriver", &statement.Observed{StoreDir: nix.DefaultStoreDir, Path: p, NarSize: 1, Cache: "https://c.example"},
			[]string{"out:" + path},
			[]string{"observed:out:" + path},
		},
		{
			"realisation by modulo", signed,
			[]string{"out:" + path, real9, "key:" + nixKeyID.ID().String()},
			[]string{"out:" + path, real9},
		},
		{
			"realisation by derivation", &statement.Realisation{
				StoreDir: nix.DefaultStoreDir, Drv: &d, Output: "out", Path: p, Builder: builder, Deps: []statement.RealisationDep{dep},
			},
			[]string{"out:" + path, "real:" + drvPath + "!out", "drv:" + drvPath},
			[]string{"out:" + path, "real:" + drvPath + "!out"},
		},
		{
			"path", claim(fixed),
			[]string{"out:" + claim(fixed).Path.String(), "digest:sha256:" + strings.Repeat("07", 32)},
			[]string{"out:" + claim(fixed).Path.String()},
		},
		{
			"path of a text", claim(text),
			[]string{"out:" + claim(text).Path.String()},
			[]string{"out:" + claim(text).Path.String()},
		},
		{
			"diff", &statement.Diff{StoreDir: nix.DefaultStoreDir, Drv: &d, Output: "out", Path: p, B: modulo, Total: 1, Tool: "firn"},
			[]string{"out:" + path, "drv:" + drvPath},
			[]string{"diff:out:" + path},
		},
		{
			"diff of a source", &statement.Diff{StoreDir: nix.DefaultStoreDir, Path: p, B: modulo, Total: 1, Tool: "firn"},
			[]string{"out:" + path},
			[]string{"diff:out:" + path},
		},
		{
			"eval", &statement.Eval{Name: "e", StoreDir: nix.DefaultStoreDir, Digest: modulo, Count: 3},
			[]string{"digest:sha256:" + strings.Repeat("09", 32)},
			[]string{"digest:sha256:" + strings.Repeat("09", 32)},
		},
	} {
		s, err := statement.Sign(context.Background(), me, tt.body, "", nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		want := slices.Sorted(slices.Values(append(tt.keys, key)))
		if got := index.Keys(s.Leaf()); !slices.Equal(got, want) {
			t.Errorf("%s: keys\n%s", tt.name, cmp.Diff(want, got))
		}
		if got := slices.Sorted(slices.Values(index.Subjects(s))); !slices.Equal(got, tt.subjects) {
			t.Errorf("%s: subjects\n%s", tt.name, cmp.Diff(tt.subjects, got))
		}
	}
}

// The key of a realisation by derivation is the longest there is, and fits in a lookup
// because the name of the output's path bounds that of the derivation.
func TestLongestKeyOfARealisationCanBeLookedUp(t *testing.T) {
	dir := nix.StoreDir("/" + strings.Repeat("d", nix.MaxStoreDirLen-1))
	longest := 0
	for _, output := range []string{"out", "o", strings.Repeat("o", 100)} {
		name := strings.Repeat("n", nix.MaxNameLen-len(".drv"))
		if output != "out" {
			name = name[:min(len(name), nix.MaxNameLen-1-len(output))]
		}
		hash := nix.EncodeBase32(make([]byte, 20))
		drv, err := dir.FromBase(hash + "-" + name + ".drv")
		if err != nil {
			t.Fatal(err)
		}
		path, err := dir.FromBase(hash + "-" + nix.OutputName(name, output))
		if err != nil {
			t.Fatal(err)
		}
		s, err := statement.Sign(context.Background(), signer(t, 1), &statement.Realisation{StoreDir: dir, Drv: &drv, Output: output, Path: path, Builder: builder}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range index.Keys(s.Leaf()) {
			longest = max(longest, len(k))
		}
	}
	if longest > 512 || longest < 508 {
		t.Errorf("the longest key has %d bytes", longest)
	}
}

package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// statementBytes is the size that the targets are stated for.
const statementBytes = 1024

// operator is somebody who is registered and builds things.
type operator struct {
	id     statement.ID
	build  statement.Signer
	people [][]byte // leaves: the operator statement and the key-add
}

func newOperator(ctx context.Context, name, origin string) (*operator, error) {
	identity, err := newSigner()
	if err != nil {
		return nil, err
	}
	build, err := newSigner()
	if err != nil {
		return nil, err
	}
	first, err := statement.Sign(ctx, identity, &statement.Operator{
		Name: name, Contact: name + "@bench.example", HomeLog: origin, Identity: identity.PublicKey(),
	}, "", nil)
	if err != nil {
		return nil, err
	}
	id := first.ID()
	add, err := statement.ProveKey(ctx, build, id, statement.RoleBuild)
	if err != nil {
		return nil, err
	}
	second, err := statement.Sign(ctx, identity, add, "", &id)
	if err != nil {
		return nil, err
	}
	return &operator{id: id, build: build, people: [][]byte{first.Leaf(), second.Leaf()}}, nil
}

func newSigner() (statement.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return statement.NewEd25519Signer(key)
}

// pathInfo returns the i-th of an endless row of made-up outputs and the hash
// modulo that it follows from. Each refers to some of the paths before it.
func pathInfo(i, references int) (*nix.PathInfo, nix.Hash, error) {
	seed := func(what string, i int) nix.Hash {
		return sha256.Sum256(binary.BigEndian.AppendUint64([]byte(what), uint64(i)))
	}
	modulo := seed("modulo", i)
	path, err := nix.OutputPath(nix.DefaultStoreDir, modulo, packageName(i), "out")
	if err != nil {
		return nil, modulo, err
	}
	info := &nix.PathInfo{Path: path, NarHash: seed("nar", i), NarSize: uint64(1000 + i)}
	for r := range min(references, i) {
		ref, err := nix.OutputPath(nix.DefaultStoreDir, seed("modulo", i-1-r), packageName(i-1-r), "out")
		if err != nil {
			return nil, modulo, err
		}
		info.References = append(info.References, ref)
	}
	slices.SortFunc(info.References, func(a, b nix.StorePath) int { return cmp.Compare(a.Base(), b.Base()) })
	return info, modulo, nil
}

func packageName(i int) string { return fmt.Sprintf("package-%d-1.%d", i, i%17) }

// buildLeaf is the operator's signed claim to have built the i-th output.
func (o *operator) buildLeaf(ctx context.Context, i, references int) ([]byte, error) {
	info, modulo, err := pathInfo(i, references)
	if err != nil {
		return nil, err
	}
	return o.claimLeaf(ctx, info, modulo, packageName(i))
}

// claimLeaf is the operator's signed claim to have built what info says.
func (o *operator) claimLeaf(ctx context.Context, info *nix.PathInfo, modulo nix.Hash, name string) ([]byte, error) {
	drv, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(modulo[:20]) + "-" + name + ".drv")
	if err != nil {
		return nil, err
	}
	b := &statement.Build{
		DrvPath: drv, DrvHash: sha256.Sum256(modulo[:]), Modulo: modulo, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir,
		Outputs: []statement.BuildOutput{{
			Name: "out", Path: info.Path, NarHash: info.NarHash, NarSize: info.NarSize, References: info.References,
		}},
		How:     statement.HowBuilt,
		Builder: statement.Builder{Implementation: "nix", Version: "2.8.0", Sandbox: true},
		Started: 1_700_000_000, Finished: 1_700_000_060,
	}
	if info.References == nil {
		b.Outputs[0].References = []nix.StorePath{}
	}
	if _, err := rand.Read(b.BuildID[:]); err != nil {
		return nil, err
	}
	s, err := statement.Sign(ctx, o.build, b, "", nil)
	if err != nil {
		return nil, err
	}
	return s.Leaf(), nil
}

// buildLeaves signs n claims about the outputs from, from+1, …, each within a
// tenth of statementBytes.
func (o *operator) buildLeaves(ctx context.Context, from, n int) ([][]byte, error) {
	const referencesOf1KiB = 11
	leaves := make([][]byte, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i := range leaves {
		g.Go(func() (err error) {
			leaves[i], err = o.buildLeaf(ctx, from+i, referencesOf1KiB)
			if off := len(leaves[i]) - statementBytes; err == nil && max(off, -off) > statementBytes/10 {
				err = fmt.Errorf("a statement of %d bytes, want about %d", len(leaves[i]), statementBytes)
			}
			return err
		})
	}
	return leaves, g.Wait()
}

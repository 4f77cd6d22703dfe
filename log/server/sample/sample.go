// Package sample makes operators and statements for the tests and measurements
// of a log: everything in it follows from names and numbers.
package sample

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Signer returns the Ed25519 signer that follows from name.
func Signer(name string) statement.Signer {
	return must(statement.NewEd25519Signer(Key(name)))
}

// Key returns the private key that follows from name.
func Key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("sample key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Operator is an operator with one identity key and one build key. Its methods
// may be called concurrently.
type Operator struct {
	ID              statement.ID
	Identity, Build statement.Signer

	mu     sync.Mutex
	last   statement.ID // newest of its statements about people
	leaves [][]byte     // of its registration
}

// NewOperator returns an operator with statements that register it and its
// build key. home is the origin of its home log.
func NewOperator(name, home string) *Operator {
	o := &Operator{Identity: Signer(name + " identity"), Build: Signer(name + " build")}
	first := o.sign(o.Identity, &statement.Operator{
		Name: name, Contact: name + "@example.org", HomeLog: home, Identity: o.Identity.PublicKey(),
	}, nil)
	o.ID, o.last = first.ID(), first.ID()
	o.leaves = [][]byte{first.Leaf(), o.AddKey(o.Build, statement.RoleBuild)}
	return o
}

// Registration returns the leaves of the operator statement and of the key-add
// of its build key.
func (o *Operator) Registration() [][]byte { return o.leaves }

// AddKey returns a key-add that continues the operator's chain.
func (o *Operator) AddKey(key statement.Signer, role statement.Role) []byte {
	return o.People(must(statement.ProveKey(context.Background(), key, o.ID, role)))
}

// AddCacheKey returns a key-add of that cache's key as a build key, with a cache
// key name or, if that is "", without one.
func (o *Operator) AddCacheKey(keyName, cacheName string) []byte {
	body := must(statement.ProveKey(context.Background(), must(statement.NewEd25519Signer(Key(keyName))), o.ID, statement.RoleBuild))
	body.CacheName = cacheName
	return o.People(body)
}

// Vouch returns a vouch for another operator.
func (o *Operator) Vouch(other statement.ID) []byte {
	return o.People(&statement.Vouch{OperatorID: o.ID, For: other})
}

// Revoke returns a revocation of one of the operator's keys.
func (o *Operator) Revoke(key statement.KeyID) []byte {
	return o.People(&statement.KeyRevoke{
		OperatorID: o.ID, KeyID: key, Reason: statement.Rotated, Cuts: map[string]uint64{}, Elsewhere: statement.Keep,
	})
}

// People signs a statement about people that continues the operator's chain.
func (o *Operator) People(body statement.Body) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	prev := o.last
	s := o.sign(o.Identity, body, &prev)
	o.last = s.ID()
	return s.Leaf()
}

// Claim signs a claim with the operator's build key.
func (o *Operator) Claim(body statement.Body) []byte { return o.sign(o.Build, body, nil).Leaf() }

// Builds returns the leaves of builds [from, to).
func (o *Operator) Builds(from, to int) [][]byte {
	var leaves [][]byte
	for n := from; n < to; n++ {
		leaves = append(leaves, o.Claim(Build(n)))
	}
	return leaves
}

func (o *Operator) sign(s statement.Signer, body statement.Body, prev *statement.ID) *statement.Statement {
	return must(statement.Sign(context.Background(), s, body, "", prev))
}

// Build returns a build of derivation number n with one output: about 1 KiB as
// a leaf, like the builds of a distribution.
func Build(n int) *statement.Build {
	dir := nix.DefaultStoreDir
	hash := func(what string) (h nix.Hash) {
		return sha256.Sum256(binary.BigEndian.AppendUint64([]byte(what), uint64(n)))
	}
	name := fmt.Sprintf("package-%d-1.0", n)
	var refs []nix.StorePath
	for i := range 10 {
		refs = append(refs, path(fmt.Sprintf("%d reference %d", n, i), fmt.Sprintf("dependency-%d", i)))
	}
	sortPaths(refs)
	b := &statement.Build{
		DrvPath: path(name, name+".drv"), DrvHash: hash("drv"), Modulo: hash("modulo"),
		System: "x86_64-linux", StoreDir: dir, How: statement.HowBuilt,
		Outputs: []statement.BuildOutput{{
			Name: "out", Path: must(nix.OutputPath(dir, hash("modulo"), name, "out")),
			NarHash: hash("nar"), NarSize: uint64(1000 + n), References: refs,
		}},
		Builder: statement.Builder{Implementation: "nix", Version: "2.31.2", Sandbox: true},
		Started: 1_790_000_000, Finished: 1_790_000_060,
	}
	id := hash("build id")
	copy(b.BuildID[:], id[:])
	return b
}

// Again returns build n executed another time: another statement about the
// same path.
func Again(n, time int) *statement.Build {
	b := Build(n)
	binary.BigEndian.PutUint64(b.BuildID[:], uint64(time))
	return b
}

// path returns a store path whose hash follows from seed.
func path(seed, name string) nix.StorePath {
	h := sha256.Sum256([]byte(seed))
	return must(nix.DefaultStoreDir.FromBase(nix.EncodeBase32(h[:20]) + "-" + name))
}

func sortPaths(paths []nix.StorePath) {
	for i := range paths {
		for j := i; j > 0 && paths[j].Base() < paths[j-1].Base(); j-- {
			paths[j], paths[j-1] = paths[j-1], paths[j]
		}
	}
}

// CacheSig returns the leaf of what the cache with this key signed about path
// number n.
func CacheSig(keyName string, n int) []byte { return CacheSigAs(keyName, keyName, n) }

// CacheSigAs returns the same signature under another key name, which it does
// not cover.
func CacheSigAs(keyName, name string, n int) []byte {
	b := Build(n)
	o := b.Outputs[0]
	key := nix.SecretKey{Name: name, Key: Key(keyName)}
	info := &nix.PathInfo{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, References: o.References}
	return must(statement.NewCacheSig(info, key.Public(), key.Sign(info.Fingerprint()))).Leaf()
}

// CacheSigByDigest returns the leaf of what the cache signed about path number n with 1,500
// references, which it has by their digest only, and the blob with their list.
func CacheSigByDigest(keyName string, n int) (leaf, list []byte) {
	o := Build(n).Outputs[0]
	var refs []nix.StorePath
	for i := range 1500 {
		refs = append(refs, path(fmt.Sprintf("%d reference %d", n, i), fmt.Sprintf("dependency-%d", i)))
	}
	sortPaths(refs)
	key := nix.SecretKey{Name: keyName, Key: Key(keyName)}
	info := &nix.PathInfo{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, References: refs}
	return must(statement.NewCacheSig(info, key.Public(), key.Sign(info.Fingerprint()))).Leaf(), statement.PathsBlob(refs)
}

// Failed returns a failed execution of derivation number n that names its derivation text
// and its log.
func Failed(n int, drv, log []byte) *statement.BuildFailed {
	b := Build(n)
	logHash := nix.Hash(sha256.Sum256(log))
	return &statement.BuildFailed{
		DrvPath: b.DrvPath, DrvHash: sha256.Sum256(drv), Modulo: b.Modulo, System: b.System, StoreDir: b.StoreDir,
		Outputs: []string{"out"}, Reason: statement.ReasonTimeout, Builder: b.Builder,
		Started: b.Started, Finished: b.Finished, BuildID: b.BuildID, LogHash: &logHash,
	}
}

// CacheKey returns the public key of that cache as Nix writes it.
func CacheKey(keyName string) string {
	return nix.SecretKey{Name: keyName, Key: Key(keyName)}.Public().String()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

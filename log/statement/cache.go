package statement

import "github.com/firn-log/firn/internal/nix"

// A CacheSig repeats what a binary cache has signed about a path. Its leaf
// carries the cache's own signature, so anybody may submit it
// (spec/statement.md#cache-sig).
type CacheSig struct {
	StoreDir   nix.StoreDir
	Path       nix.StorePath
	NarHash    nix.Hash
	NarSize    uint64
	References []nix.StorePath // sorted; nil only if RefsDigest is given
	RefsDigest *nix.Hash       // refused as not-yet: the list would have to be held as a blob
	KeyName    string          // name in the Nix key; not covered by the signature
	Key        [32]byte        // raw Ed25519 public key
}

// A Closure names a set of store paths by its digest (spec/statement.md#closure).
type Closure struct {
	Name     string
	StoreDir nix.StoreDir
	Digest   nix.Hash // [PathsDigest] of the set
	Count    uint64
	Paths    []nix.StorePath // sorted, or nil if only the digest is given
}

// PathsDigest returns the digest of a sorted list of paths: SHA-256 over each
// base name followed by "\n" (spec/statement.md#digests).
func PathsDigest(paths []nix.StorePath) nix.Hash { return nix.Hash{} }

// NewCacheSig returns the statement that repeats a signature which key made
// over info. sig is "name:base64" as in a narinfo. The signature is verified.
func NewCacheSig(info *nix.PathInfo, key nix.PublicKey, sig string) (*Statement, error) {
	return nil, errf(CodeInternalError, "not built yet")
}

// PathInfo returns the path with its references as the cache signed it.
func (c *CacheSig) PathInfo() *nix.PathInfo { return nil }

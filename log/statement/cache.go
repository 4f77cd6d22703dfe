package statement

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/ed25519x"
	"github.com/firn-log/firn/internal/nix"
)

// A CacheSig repeats what a binary cache has signed about a path. Its leaf
// carries the cache's own signature, so anybody may submit it
// (spec/statement.md#cache-sig).
type CacheSig struct {
	StoreDir   nix.StoreDir
	Path       nix.StorePath
	NarHash    nix.Hash
	NarSize    uint64
	References []nix.StorePath // sorted; nil only if RefsDigest is given
	RefsDigest *nix.Hash       // [PathsDigest] of a list that does not fit; the list is a blob
	KeyName    string          // name in the Nix key; not covered by the signature
	Key        [32]byte        // raw Ed25519 public key
}

// A Closure names a set of store paths by its digest (spec/statement.md#closure).
type Closure struct {
	Name     string // 1..211 bytes of Nix's name set
	StoreDir nix.StoreDir
	Digest   nix.Hash // [PathsDigest] of the set
	Count    uint64
	Paths    []nix.StorePath // sorted, or nil if only the digest is given
}

// PathsDigest returns the digest of a list of paths: SHA-256 over each base
// name followed by "\n", in ascending order. paths must be sorted
// (spec/statement.md#digests).
func PathsDigest(paths []nix.StorePath) nix.Hash {
	h := sha256.New()
	for _, p := range paths {
		h.Write([]byte(p.Base() + "\n"))
	}
	return nix.Hash(h.Sum(nil))
}

// Kind returns KindCacheSig.
func (*CacheSig) Kind() Kind { return KindCacheSig }

// Kind returns KindClosure.
func (*Closure) Kind() Kind { return KindClosure }

// Check implements [Body].
func (b *CacheSig) Check() error {
	c := &checker{kind: KindCacheSig}
	c.wrap("store dir", b.StoreDir.Validate())
	c.inDir("path", b.StoreDir, b.Path)
	c.require(b.NarSize >= 1 && b.NarSize <= maxSize, "NAR size %d", b.NarSize)
	c.references(b.StoreDir, b.References, b.RefsDigest)
	c.wrap("key name", nix.CheckName(b.KeyName))
	if err := ed25519x.CheckPublicKey(b.Key[:]); err != nil {
		c.failf(CodeBadKey, "key %s: %v", b.KeyName, err)
	}
	return c.result()
}

func (b *CacheSig) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, string(b.StoreDir))
	w.text(2, b.Path.Base())
	w.bytes(3, b.NarHash[:])
	w.uint(4, b.NarSize)
	w.references(5, b.References, b.RefsDigest)
	w.text(7, b.KeyName)
	w.bytes(8, b.Key[:])
	return w.b, nil
}

func (b *CacheSig) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindCacheSig}
	f := r.fields("cache-sig")
	dir := c.storeDir(f.text(1))
	*b = CacheSig{StoreDir: dir, Path: c.base("path", dir, f.text(2)), NarHash: c.hash("NAR hash", f.bytes(3)), NarSize: f.uint(4)}
	b.References, b.RefsDigest = f.references(5, c, dir)
	b.KeyName, b.Key = f.text(7), c.hash("key", f.bytes(8))
	f.end()
	return r.result(c)
}

// PathInfo returns the path as the cache signed it: path, NAR hash, NAR size
// and references, which are not there if b has only their digest.
func (b *CacheSig) PathInfo() *nix.PathInfo {
	return &nix.PathInfo{Path: b.Path, NarHash: b.NarHash, NarSize: b.NarSize, References: b.References}
}

// NewCacheSig returns the statement that repeats a signature which key made
// over info. sig is "name:base64" as in a narinfo. The signature is verified
// ("bad-signature"). If the references do not fit in a leaf, the statement has
// their digest, and [PathsBlob] of them, sorted, goes with it.
func NewCacheSig(info *nix.PathInfo, key nix.PublicKey, sig string) (*Statement, error) {
	name, b64, _ := strings.Cut(sig, ":")
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil || len(raw) != 64 || name != key.Name {
		return nil, errf(CodeBadSignature, "%s is not a signature by the key %s", quoteShort(sig), key.Name)
	}
	if len(key.Key) != 32 {
		return nil, errf(CodeBadKey, "the key %s has %d bytes instead of 32", key.Name, len(key.Key))
	}
	refs := slices.SortedFunc(slices.Values(info.References), nix.StorePath.Compare)
	body := &CacheSig{
		StoreDir: info.Path.Dir(), Path: info.Path, NarHash: info.NarHash, NarSize: info.NarSize,
		References: append([]nix.StorePath{}, refs...), KeyName: key.Name, Key: [32]byte(key.Key),
	}
	payload, err := EncodePayload(body, "", nil)
	if err != nil {
		return nil, err
	}
	if leaf := pairLeaf(payload, raw); len(leaf) > KindCacheSig.MaxLeaf() {
		digest := PathsDigest(refs)
		body.References, body.RefsDigest = nil, &digest
		if payload, err = EncodePayload(body, "", nil); err != nil {
			return nil, err
		}
	}
	s, err := Parse(pairLeaf(payload, raw))
	if err != nil {
		return nil, err
	}
	return s, s.VerifyWithReferences(*s.SignerKey, refs)
}

// VerifyWithReferences is [Statement.Verify] for a cache-sig that has only the
// digest of its references, with the list itself: sorted, in its store dir
// ("bad-value"), with that digest ("digest-does-not-match"). Of any other
// statement it is Verify, and refs does not matter.
func (s *Statement) VerifyWithReferences(key PublicKey, refs []nix.StorePath) error {
	b, ok := s.Body.(*CacheSig)
	if !ok || b.RefsDigest == nil {
		return s.Verify(key)
	}
	c := &checker{kind: KindCacheSig}
	c.sortedPaths("references", b.StoreDir, refs)
	if c.err == nil && PathsDigest(refs) != *b.RefsDigest {
		c.failf(CodeDigest, "the references are not those of the digest")
	}
	if c.err != nil {
		return c.err
	}
	info := b.PathInfo()
	info.References = refs
	return s.verify(key, info)
}

// Check implements [Body]: if the paths are given, digest and count must be theirs.
func (b *Closure) Check() error {
	c := &checker{kind: KindClosure}
	c.wrap("name", nix.CheckName(b.Name))
	c.wrap("store dir", b.StoreDir.Validate())
	c.require(b.Count >= 1 && b.Count <= maxSize, "count %d", b.Count)
	if b.Paths != nil && c.err == nil {
		c.sortedPaths("paths", b.StoreDir, b.Paths)
		if uint64(len(b.Paths)) != b.Count || PathsDigest(b.Paths) != b.Digest {
			c.failf(CodeDigest, "digest or count is not that of the paths")
		}
	}
	return c.result()
}

func (b *Closure) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, b.Name)
	w.text(2, string(b.StoreDir))
	w.bytes(3, b.Digest[:])
	w.uint(4, b.Count)
	if b.Paths != nil {
		w.bases(5, b.Paths)
	}
	return w.b, nil
}

func (b *Closure) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindClosure}
	f := r.fields("closure")
	*b = Closure{Name: f.text(1), StoreDir: c.storeDir(f.text(2)), Digest: c.hash("digest", f.bytes(3)), Count: f.uint(4)}
	if f.has(5) {
		b.Paths = f.bases(c, "paths", b.StoreDir)
	}
	f.end()
	return r.result(c)
}

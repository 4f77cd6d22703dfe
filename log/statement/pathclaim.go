package statement

import (
	"bytes"
	"slices"

	"github.com/firn-log/firn/internal/nix"
)

// A PathClaim is a statement of the kind path: a content-addressed path that
// need not come from a derivation, such as a source or a text file, has this
// content (spec/statement.md#path).
type PathClaim struct {
	StoreDir   nix.StoreDir
	Path       nix.StorePath
	NarHash    nix.Hash
	NarSize    uint64          // bytes, at least 1
	References []nix.StorePath // sorted, itself included if it refers to itself
	CA         string          // content address in Nix's writing, from which Path follows
}

// Kind returns KindPath.
func (*PathClaim) Kind() Kind { return KindPath }

// Check implements [Body]: bounds, then the path recomputed.
func (b *PathClaim) Check() error {
	c := &checker{kind: KindPath}
	c.wrap("store dir", b.StoreDir.Validate())
	c.inDir("path", b.StoreDir, b.Path)
	c.require(b.NarSize >= 1 && b.NarSize <= maxSize, "NAR size %d", b.NarSize)
	c.sortedPaths("references", b.StoreDir, b.References)
	if c.err == nil {
		c.addressed(addressed{what: "path", name: b.Path.Name(), path: b.Path, refs: b.References, ca: b.CA, narHash: b.NarHash})
	}
	return c.result()
}

// addressed is a content-addressed path and what it must follow from.
type addressed struct {
	what    string // for messages
	name    string
	path    nix.StorePath
	refs    []nix.StorePath
	ca      string
	narHash nix.Hash
}

// addressed recomputes a content-addressed path, and for a recursive SHA-256
// address without a self reference also its NAR hash.
func (c *checker) addressed(a addressed) {
	ca, err := nix.ParseContentAddress(a.ca)
	if err != nil || ca.String() != a.ca {
		c.failf(CodeBadValue, "%s: %s is not a content address", a.what, quoteShort(a.ca))
		return
	}
	refs := nix.Refs{Self: slices.Contains(a.refs, a.path)}
	for _, r := range a.refs {
		if r != a.path {
			refs.Others = append(refs.Others, r)
		}
	}
	want, err := nix.FixedOutputPath(a.path.Dir(), a.name, ca, refs)
	c.wrap(a.what, err)
	if err == nil && want != a.path {
		c.failf(CodePath, "%s: %s does not follow from its content address, which gives %s", a.what, a.path, want.Base())
	}
	if ca.Method == nix.Recursive && ca.Algo == "sha256" && !refs.Self && !bytes.Equal(ca.Hash, a.narHash[:]) {
		c.failf(CodeDigest, "%s: the NAR hash is not the one in its content address", a.what)
	}
}

func (b *PathClaim) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, string(b.StoreDir))
	w.text(2, b.Path.Base())
	w.bytes(3, b.NarHash[:])
	w.uint(4, b.NarSize)
	w.bases(5, b.References)
	w.text(6, b.CA)
	return w.b, nil
}

func (b *PathClaim) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindPath}
	f := r.fields("path")
	*b = PathClaim{StoreDir: c.storeDir(f.text(1))}
	b.Path = c.base("path", b.StoreDir, f.text(2))
	b.NarHash, b.NarSize = c.hash("NAR hash", f.bytes(3)), f.uint(4)
	if f.need(5) {
		b.References = f.bases(c, "references", b.StoreDir)
	}
	b.CA = f.text(6)
	f.end()
	return r.result(c)
}

package statement

import (
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// An Observed says what an importer saw of a path in a binary cache beside the
// cache's signature: who served it, and what nobody signed. It supports nothing
// (spec/statement.md#observed).
type Observed struct {
	StoreDir nix.StoreDir
	Path     nix.StorePath
	NarHash  nix.Hash
	NarSize  uint64         // bytes, at least 1
	Cache    string         // http(s) address of the cache, without user, query and fragment
	Deriver  *nix.StorePath // what the narinfo said; nil if nothing
	Seen     uint64         // Unix seconds, by the importer's clock
}

// Kind returns KindObserved.
func (*Observed) Kind() Kind { return KindObserved }

// Check implements [Body].
func (b *Observed) Check() error {
	c := &checker{kind: KindObserved}
	c.wrap("store dir", b.StoreDir.Validate())
	c.inDir("path", b.StoreDir, b.Path)
	c.require(b.NarSize >= 1 && b.NarSize <= maxSize, "NAR size %d", b.NarSize)
	c.bareURL("cache", b.Cache)
	if b.Deriver != nil {
		c.drvPath("deriver", b.StoreDir, *b.Deriver)
	}
	c.require(b.Seen <= maxUnix, "seen after the year 9999")
	return c.result()
}

// bareURL requires a url (spec/statement.md#text) without user, query and
// fragment: where secrets stand in addresses.
func (c *checker) bareURL(field, s string) {
	c.url(field, s)
	_, rest, _ := strings.Cut(s, "://")
	authority, _, _ := strings.Cut(rest, "/")
	c.require(authority != "" && !strings.Contains(authority, "@") && !strings.ContainsAny(rest, "?#"),
		"%s has no host, or a user, a query or a fragment, which may be secrets: give the bare address", field)
}

// drvPath requires the path of a derivation in dir.
func (c *checker) drvPath(field string, dir nix.StoreDir, drv nix.StorePath) {
	c.inDir(field, dir, drv)
	if !drv.IsDerivation() || len(drv.Name()) <= len(".drv") {
		c.failf(CodeBadValue, "%s %s is not the path of a derivation", field, drv)
	}
}

// optDrv reads the full path of a derivation in field n, nil if it is not there.
func (f *fields) optDrv(n uint64, c *checker, field string, dir nix.StoreDir) *nix.StorePath {
	s, ok := f.optText(n)
	if !ok {
		return nil
	}
	p := c.full(field, dir, s)
	return &p
}

// optPath writes the full path of p, if there is one.
func (w *writer) optPath(n byte, p *nix.StorePath) {
	if p != nil {
		w.text(n, p.String())
	}
}

// optHash writes h, if there is one.
func (w *writer) optHash(n byte, h *nix.Hash) {
	if h != nil {
		w.bytes(n, h[:])
	}
}

func (b *Observed) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, string(b.StoreDir))
	w.text(2, b.Path.Base())
	w.bytes(3, b.NarHash[:])
	w.uint(4, b.NarSize)
	w.text(5, b.Cache)
	w.optPath(6, b.Deriver)
	w.uint(7, b.Seen)
	return w.b, nil
}

func (b *Observed) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindObserved}
	f := r.fields("observed")
	*b = Observed{StoreDir: c.storeDir(f.text(1))}
	b.Path = c.base("path", b.StoreDir, f.text(2))
	b.NarHash, b.NarSize = c.hash("NAR hash", f.bytes(3)), f.uint(4)
	b.Cache = f.text(5)
	b.Deriver = f.optDrv(6, c, "deriver", b.StoreDir)
	b.Seen = f.uint(7)
	f.end()
	return r.result(c)
}

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

// wireObserved is a body of payload version 1 and fixed (spec/statement.md#evolution).
type wireObserved struct {
	StoreDir string  `cbor:"1,keyasint"`
	Path     string  `cbor:"2,keyasint"`
	NarHash  []byte  `cbor:"3,keyasint"`
	NarSize  uint64  `cbor:"4,keyasint"`
	Cache    string  `cbor:"5,keyasint"`
	Deriver  *string `cbor:"6,keyasint,omitempty"`
	Seen     uint64  `cbor:"7,keyasint"`
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
	c.require(drv.IsDerivation() && len(drv.Name()) > len(".drv"), "%s %s is not the path of a derivation", field, drv)
}

// optDrv reads the full path of a derivation that may be left out.
func (c *checker) optDrv(field string, dir nix.StoreDir, s *string) *nix.StorePath {
	if s == nil {
		return nil
	}
	p := c.full(field, dir, *s)
	return &p
}

// fullPath returns the full path of p, or nil if there is none.
func fullPath(p *nix.StorePath) *string {
	if p == nil {
		return nil
	}
	s := p.String()
	return &s
}

// optBytes returns the bytes of h, or nil if there is none.
func optBytes(h *nix.Hash) *[]byte {
	if h == nil {
		return nil
	}
	b := h[:]
	return &b
}

func (b *Observed) encode() ([]byte, error) {
	return encodeWire(&wireObserved{
		string(b.StoreDir), b.Path.Base(), b.NarHash[:], b.NarSize, b.Cache, fullPath(b.Deriver), b.Seen,
	})
}

func (b *Observed) decode(raw []byte) error {
	var w wireObserved
	if err := decodeWire("observed", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindObserved}
	dir := c.storeDir(w.StoreDir)
	*b = Observed{
		StoreDir: dir, Path: c.base("path", dir, w.Path), NarHash: c.hash("NAR hash", w.NarHash), NarSize: w.NarSize,
		Cache: w.Cache, Deriver: c.optDrv("deriver", dir, w.Deriver), Seen: w.Seen,
	}
	return c.result()
}

package statement

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/firn-log/firn/internal/ed25519x"
	"github.com/firn-log/firn/internal/nix"
)

// A Realisation claims that an output of a content-addressed derivation turned
// out to be a path (spec/statement.md#realisation). Nothing in it shows that the
// path follows from the content.
type Realisation struct {
	StoreDir nix.StoreDir
	// Exactly one of the two is given: the hash modulo of the derivation with
	// output paths masked, or the path of the resolved derivation.
	Modulo  *nix.Hash
	Drv     *nix.StorePath
	Output  string
	Path    nix.StorePath
	Builder Builder
	Deps    []RealisationDep // sorted by ID, at most 256
	NixSigs []NixSig         // sorted by key, then form; at most 8
}

// A RealisationDep is a realisation that another one rests on. Exactly one of
// Modulo and Drv is given.
type RealisationDep struct {
	Modulo *nix.Hash
	Drv    *nix.StorePath
	Output string
	Path   nix.StorePath
}

// The forms of a [NixSig]: which generation of Nix's JSON it is over
// (spec/nix.md#realisations).
const (
	SigByModulo  = 1 // {"dependentRealisations":…,"id":"sha256:…!out","outPath":…}
	SigByDrvPath = 2 // {"key":{"drvPath":…},"value":{"outPath":…}}
)

// A NixSig is what a Nix key signed about a [Realisation], over Nix's own bytes.
type NixSig struct {
	KeyName string   // name in the Nix key; not covered by the signature
	Key     [32]byte // raw Ed25519 public key
	Sig     [64]byte
	Form    uint64 // SigByModulo or SigByDrvPath
}

// UnknownImplementation is what a realisation names as its builder that was brought
// from elsewhere: nobody knows which Nix made it, so it is compared with nothing
// (spec/statement.md#realisation).
const UnknownImplementation = "unknown"

// Kind returns KindRealisation.
func (*Realisation) Kind() Kind { return KindRealisation }

// ID returns what is realised: "sha256:<hash modulo, hexadecimal>!<output>" or
// "<drv path in full>!<output>".
func (b *Realisation) ID() string { return realisedID(b.Modulo, b.Drv, b.Output) }

// ID is [Realisation.ID] of the dependency.
func (d *RealisationDep) ID() string { return realisedID(d.Modulo, d.Drv, d.Output) }

func realisedID(modulo *nix.Hash, drv *nix.StorePath, output string) string {
	switch {
	case modulo != nil:
		return "sha256:" + modulo.Hex() + "!" + output
	case drv != nil:
		return drv.String() + "!" + output
	}
	return "!" + output
}

// Check implements [Body]. It does not verify the signatures of Nix keys:
// [Realisation.VerifyNixSigs] does.
func (b *Realisation) Check() error {
	c := &checker{kind: KindRealisation}
	c.wrap("store dir", b.StoreDir.Validate())
	c.realised(b.StoreDir, b.Modulo, b.Drv, b.Output, b.Path)
	c.token("builder", b.Builder.Implementation)
	c.token("builder version", b.Builder.Version)
	c.require(len(b.Deps) <= 256, "%d dependencies, more than 256", len(b.Deps))
	for i := range b.Deps {
		d := &b.Deps[i]
		c.realised(b.StoreDir, d.Modulo, d.Drv, d.Output, d.Path)
		c.require(i == 0 || b.Deps[i-1].ID() < d.ID(), "dependencies are not sorted, or one repeats: %s", quoteShort(d.ID()))
		if c.err != nil {
			break
		}
	}
	b.checkSigs(c)
	return c.result()
}

// realised checks what is realised and, as far as it follows, the name of the path.
func (c *checker) realised(dir nix.StoreDir, modulo *nix.Hash, drv *nix.StorePath, output string, path nix.StorePath) {
	if (modulo == nil) == (drv == nil) {
		c.failf(CodeBadShape, "a hash modulo or a derivation, and not both")
	}
	c.wrap("output name", nix.CheckName(output))
	c.inDir("path", dir, path)
	if drv != nil {
		c.drvPath("drv path", dir, *drv)
	}
	if c.err != nil {
		return
	}
	follows := output == "out" || strings.HasSuffix(path.Name(), "-"+output)
	if drv != nil {
		follows = path.Name() == nix.OutputName(strings.TrimSuffix(drv.Name(), ".drv"), output)
	}
	if !follows {
		c.failf(CodePath, "%s is not the name of the output %s", quoteShort(path.Name()), quoteShort(output))
	}
}

func (b *Realisation) checkSigs(c *checker) {
	c.require(len(b.NixSigs) <= 8, "%d signatures of Nix keys, more than 8", len(b.NixSigs))
	for i := range b.NixSigs {
		s := &b.NixSigs[i]
		c.wrap("key name", nix.CheckName(s.KeyName))
		if err := ed25519x.CheckPublicKey(s.Key[:]); err != nil {
			c.failf(CodeBadKey, "key %s: %v", quoteShort(s.KeyName), err)
		}
		c.require(s.Form == SigByModulo || s.Form == SigByDrvPath, "form %d of a signature instead of 1 or 2", s.Form)
		c.require((s.Form == SigByModulo) == (b.Modulo != nil), "a signature of form %d is about the other name of what is realised", s.Form)
		c.require(i == 0 || b.NixSigs[i-1].compare(s) < 0, "signatures are not sorted by key, or one repeats")
	}
	for i := range b.Deps {
		c.require(len(b.NixSigs) == 0 || b.Modulo != nil && b.Deps[i].Modulo != nil, "a dependency that no signature of Nix can cover")
	}
}

func (s *NixSig) compare(t *NixSig) int {
	return cmp.Or(bytes.Compare(s.Key[:], t.Key[:]), cmp.Compare(s.Form, t.Form))
}

// Fingerprint returns the bytes that a Nix key signs about b
// (spec/nix.md#realisations). b must have passed Check.
func (b *Realisation) Fingerprint() []byte {
	r := nix.Realisation{Output: b.Output, OutPath: b.Path}
	if b.Drv != nil {
		r.Form, r.DrvPath = nix.ByDrvPath, *b.Drv
		return r.Fingerprint()
	}
	r.Form, r.Modulo = nix.ByModulo, *b.Modulo
	for i := range b.Deps {
		r.Dependent = append(r.Dependent, nix.DependentRealisation{ID: b.Deps[i].ID(), OutPath: b.Deps[i].Path})
	}
	return r.Fingerprint()
}

// VerifyNixSigs returns an [*Error] ("bad-signature") unless every signature in
// NixSigs verifies. b must have passed Check. Whoever admits or shows a
// realisation calls it.
func (b *Realisation) VerifyNixSigs() error {
	for i := range b.NixSigs {
		s := &b.NixSigs[i]
		if !ed25519x.Verify(s.Key[:], b.Fingerprint(), s.Sig[:]) {
			return errf(CodeBadSignature, "realisation: the signature by the Nix key %s does not verify", s.KeyName)
		}
	}
	return nil
}

func (b *Realisation) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, string(b.StoreDir))
	w.optHash(2, b.Modulo)
	w.optPath(3, b.Drv)
	w.text(4, b.Output)
	w.text(5, b.Path.Base())
	w.builder(6, b.Builder)
	w.list(7, len(b.Deps))
	for i := range b.Deps {
		d := &b.Deps[i]
		outer := w.open()
		w.optHash(1, d.Modulo)
		w.optPath(2, d.Drv)
		w.text(3, d.Output)
		w.text(4, d.Path.Base())
		w.close(outer)
	}
	w.list(8, len(b.NixSigs))
	for i := range b.NixSigs {
		s := &b.NixSigs[i]
		outer := w.open()
		w.text(1, s.KeyName)
		w.bytes(2, s.Key[:])
		w.bytes(3, s.Sig[:])
		w.uint(4, s.Form)
		w.close(outer)
	}
	return w.b, nil
}

func (b *Realisation) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindRealisation}
	f := r.fields("realisation")
	*b = Realisation{StoreDir: c.storeDir(f.text(1))}
	b.Modulo = c.optHash("hash modulo", f.optBytes(2))
	b.Drv = f.optDrv(3, c, "drv path", b.StoreDir)
	b.Output = f.text(4)
	b.Path = c.base("path", b.StoreDir, f.text(5))
	b.Builder = f.builder(6, "realisation: builder")
	for range f.list(7) {
		if r.err != nil {
			break
		}
		g := f.sub("realisation: dependency")
		dep := RealisationDep{Modulo: c.optHash("hash modulo", g.optBytes(1)), Drv: g.optDrv(2, c, "drv path", b.StoreDir), Output: g.text(3)}
		dep.Path = c.base("path", b.StoreDir, g.text(4))
		g.end()
		b.Deps = append(b.Deps, dep)
	}
	for range f.list(8) {
		if r.err != nil {
			break
		}
		g := f.sub("realisation: signature")
		s := NixSig{KeyName: g.text(1), Key: c.hash("key", g.bytes(2))}
		if sig := g.bytes(3); len(sig) == rawSigSize {
			s.Sig = [64]byte(sig)
		} else {
			c.failf(CodeBadShape, "a signature of %d bytes instead of 64", len(sig))
		}
		s.Form = g.uint(4)
		g.end()
		b.NixSigs = append(b.NixSigs, s)
	}
	f.end()
	return r.result(c)
}

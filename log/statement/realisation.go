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

// The wire structs below are bodies of payload version 1 and fixed
// (spec/statement.md#evolution).

type wireRealisation struct {
	StoreDir string               `cbor:"1,keyasint"`
	Modulo   *[]byte              `cbor:"2,keyasint,omitempty"`
	Drv      *string              `cbor:"3,keyasint,omitempty"`
	Output   string               `cbor:"4,keyasint"`
	Path     string               `cbor:"5,keyasint"`
	Builder  wireBuilder          `cbor:"6,keyasint"`
	Deps     []wireRealisationDep `cbor:"7,keyasint"`
	NixSigs  []wireNixSig         `cbor:"8,keyasint"`
}

type wireRealisationDep struct {
	Modulo *[]byte `cbor:"1,keyasint,omitempty"`
	Drv    *string `cbor:"2,keyasint,omitempty"`
	Output string  `cbor:"3,keyasint"`
	Path   string  `cbor:"4,keyasint"`
}

type wireNixSig struct {
	KeyName string `cbor:"1,keyasint"`
	Key     []byte `cbor:"2,keyasint"`
	Sig     []byte `cbor:"3,keyasint"`
	Form    uint64 `cbor:"4,keyasint"`
}

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
	w := wireRealisation{
		StoreDir: string(b.StoreDir), Modulo: optBytes(b.Modulo), Drv: fullPath(b.Drv), Output: b.Output, Path: b.Path.Base(),
		Builder: wireBuilder(b.Builder),
	}
	for i := range b.Deps {
		d := &b.Deps[i]
		w.Deps = append(w.Deps, wireRealisationDep{optBytes(d.Modulo), fullPath(d.Drv), d.Output, d.Path.Base()})
	}
	for i := range b.NixSigs {
		s := &b.NixSigs[i]
		w.NixSigs = append(w.NixSigs, wireNixSig{s.KeyName, s.Key[:], s.Sig[:], s.Form})
	}
	return encodeWire(&w)
}

func (b *Realisation) decode(raw []byte) error {
	var w wireRealisation
	if err := decodeWire("realisation", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindRealisation}
	dir := c.storeDir(w.StoreDir)
	*b = Realisation{
		StoreDir: dir, Modulo: c.optHash("hash modulo", w.Modulo), Drv: c.optDrv("drv path", dir, w.Drv), Output: w.Output,
		Path: c.base("path", dir, w.Path), Builder: Builder(w.Builder),
	}
	for _, d := range w.Deps {
		b.Deps = append(b.Deps, RealisationDep{
			c.optHash("hash modulo", d.Modulo), c.optDrv("drv path", dir, d.Drv), d.Output, c.base("path", dir, d.Path),
		})
	}
	for _, s := range w.NixSigs {
		if len(s.Sig) != rawSigSize {
			c.failf(CodeBadShape, "a signature of %d bytes instead of 64", len(s.Sig))
			break
		}
		b.NixSigs = append(b.NixSigs, NixSig{s.KeyName, c.hash("key", s.Key), [64]byte(s.Sig), s.Form})
	}
	return c.result()
}

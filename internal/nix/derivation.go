package nix

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxDerivationLen bounds the text of a derivation, in bytes.
const MaxDerivationLen = 64 << 20

// Errors of ParseDerivation. Dynamic and impure derivations are understood
// and refused: their outputs do not follow from their text.
var (
	ErrDerivation        = errors.New("bad derivation")
	ErrDynamicDerivation = errors.New("dynamic derivations are not supported")
	ErrImpureDerivation  = errors.New("impure derivations are not supported")
)

// Derivation is a parsed .drv file. Its fields must not be changed.
type Derivation struct {
	Raw       []byte // the file, byte for byte
	Dir       StoreDir
	Name      string      // without ".drv"
	Outputs   []DrvOutput // at least one, sorted by name
	InputDrvs []InputDrv  // sorted by path
	InputSrcs []StorePath // sorted
	System    string
	Builder   string
	Args      []string
	Env       []EnvVar // sorted by name, as in the file

	kind DrvKind
}

// DrvOutput is one output as the file has it.
type DrvOutput struct {
	Name     string
	Path     string // "" for floating and deferred outputs
	HashAlgo string // "r:sha256", "sha256", "text:sha256" …; "" if input-addressed
	Hash     string // lower-case base 16; only for fixed outputs
}

// InputDrv names the outputs of another derivation that this one uses.
type InputDrv struct {
	Path    StorePath
	Outputs []string // sorted
}

// EnvVar is one variable of the builder's environment, or "__json".
type EnvVar struct{ Name, Value string }

// DrvKind says how the output paths of a derivation are found.
type DrvKind int

// The kinds of derivation.
const (
	InputAddressed DrvKind = iota // paths follow from the hash modulo
	Fixed                         // one output, its hash is declared
	FloatingCA                    // paths follow from what is built
	Deferred                      // input-addressed, but inputs are FloatingCA
)

func (k DrvKind) String() string {
	return [...]string{"input-addressed", "fixed", "floating", "deferred"}[k]
}

// ParseDerivation reads the text of the derivation name (without ".drv") of
// the store directory dir, and keeps b as Raw (spec/nix.md#derivations). It
// accepts only the text that Nix itself writes: lists in order, no other
// escapes, nothing after the end; and only paths of dir. The path of a fixed
// output must follow from its hash; other paths are checked by
// ModuloCache.Match. ErrDynamicDerivation and ErrImpureDerivation are
// wrapped where they apply, ErrDerivation in all other cases.
func ParseDerivation(dir StoreDir, name string, b []byte) (*Derivation, error) {
	d, err := parseATerm(dir, name, b)
	if err == nil {
		err = d.classify()
	}
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, ErrDynamicDerivation), errors.Is(err, ErrImpureDerivation):
		return nil, fmt.Errorf("%s.drv: %w", clip(name), err)
	}
	return nil, fmt.Errorf("%w %s.drv: %w", ErrDerivation, clip(name), err)
}

// parseATerm reads the syntax.
func parseATerm(dir StoreDir, name string, b []byte) (*Derivation, error) {
	if len(b) > MaxDerivationLen {
		return nil, fmt.Errorf("longer than %d bytes", MaxDerivationLen)
	}
	if err := dir.Validate(); err != nil {
		return nil, err
	}
	if err := CheckName(name + ".drv"); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(b, []byte(`DrvWithVersion("xp-dyn-drv",`)) {
		return nil, ErrDynamicDerivation
	}
	d := &Derivation{Raw: b, Dir: dir, Name: name}
	a := &aterm{b: b}
	if err := a.derive(d); err != nil {
		return nil, err
	}
	return d, nil
}

// classify checks the outputs and sets the kind.
func (d *Derivation) classify() error {
	if len(d.Outputs) == 0 {
		return errors.New("no outputs")
	}
	for i, o := range d.Outputs {
		k, err := d.checkOutput(o)
		if err != nil {
			return fmt.Errorf("output %q: %w", clip(o.Name), err)
		}
		if i > 0 && k != d.kind {
			return fmt.Errorf("output %q is %v, but %q is %v", clip(o.Name), k, clip(d.Outputs[0].Name), d.kind)
		}
		d.kind = k
	}
	if d.kind == Fixed && (len(d.Outputs) != 1 || d.Outputs[0].Name != "out") {
		return errors.New("a fixed-output derivation has one output, named out")
	}
	return nil
}

func (d *Derivation) checkOutput(o DrvOutput) (DrvKind, error) {
	if err := CheckName(o.Name); err != nil {
		return 0, err
	}
	if err := CheckName(OutputName(d.Name, o.Name)); err != nil {
		return 0, err
	}
	if o.Hash == "impure" {
		return 0, ErrImpureDerivation
	}
	switch {
	case o.HashAlgo == "" && o.Hash != "":
		return 0, errors.New("a hash without an algorithm")
	case o.Hash != "":
		return Fixed, d.checkFixed(o)
	case o.HashAlgo != "":
		if o.Path != "" {
			return 0, errors.New("a floating output cannot have a path")
		}
		_, _, err := parseMethodAlgo(o.HashAlgo)
		return FloatingCA, err
	case o.Path == "":
		return Deferred, nil
	}
	p, err := d.Dir.Parse(o.Path)
	if err == nil && p.Name() != OutputName(d.Name, o.Name) {
		err = fmt.Errorf("path %s does not bear the output's name", p)
	}
	return InputAddressed, err
}

// checkFixed recomputes the path of a fixed output.
func (d *Derivation) checkFixed(o DrvOutput) error {
	ca, err := o.contentAddress()
	if err != nil {
		return err
	}
	p, err := FixedOutputPath(d.Dir, OutputName(d.Name, o.Name), ca, Refs{})
	if err != nil {
		return err
	}
	if p.String() != o.Path {
		return fmt.Errorf("path %s does not follow from the hash, which gives %s", clip(o.Path), p)
	}
	return nil
}

// contentAddress reads HashAlgo and Hash of a fixed output.
func (o DrvOutput) contentAddress() (ContentAddress, error) {
	m, algo, err := parseMethodAlgo(o.HashAlgo)
	if err != nil {
		return ContentAddress{}, err
	}
	h, err := hex.DecodeString(o.Hash)
	if err != nil || len(h) != hashSize(algo) || hex.EncodeToString(h) != o.Hash {
		return ContentAddress{}, fmt.Errorf("%w: %q is not lower-case base 16 of %s", ErrHash, clip(o.Hash), algo)
	}
	return ContentAddress{Method: m, Algo: algo, Hash: h}, nil
}

// ContentAddress returns the declared address of a Fixed derivation's output,
// and false for other kinds.
func (d *Derivation) ContentAddress() (ContentAddress, bool) {
	if d.kind != Fixed {
		return ContentAddress{}, false
	}
	ca, err := d.Outputs[0].contentAddress()
	return ca, err == nil
}

// Kind says how the output paths are found; all outputs are of one kind.
func (d *Derivation) Kind() DrvKind { return d.kind }

// Output returns the output of that name.
func (d *Derivation) Output(name string) (DrvOutput, bool) {
	i, ok := slices.BinarySearchFunc(d.Outputs, name, func(o DrvOutput, n string) int { return strings.Compare(o.Name, n) })
	if !ok {
		return DrvOutput{}, false
	}
	return d.Outputs[i], true
}

// LookupEnv returns the value of an environment variable.
func (d *Derivation) LookupEnv(name string) (string, bool) {
	i, ok := slices.BinarySearchFunc(d.Env, name, func(v EnvVar, n string) int { return strings.Compare(v.Name, n) })
	if !ok {
		return "", false
	}
	return d.Env[i].Value, true
}

// StructuredAttrs returns the JSON text of a derivation with structured
// attributes, unparsed, and whether it has them.
func (d *Derivation) StructuredAttrs() (json string, ok bool) { return d.LookupEnv("__json") }

// DrvPath returns the derivation's own store path: that of Raw as a text file
// named "<name>.drv" that refers to all inputs (spec/nix.md#drv-paths).
func (d *Derivation) DrvPath() StorePath {
	refs := slices.Clone(d.InputSrcs)
	for _, in := range d.InputDrvs {
		refs = append(refs, in.Path)
	}
	sum := sha256.Sum256(d.Raw)
	p, err := FixedOutputPath(d.Dir, d.Name+".drv", ContentAddress{Text, "sha256", sum[:]}, Refs{Others: refs})
	if err != nil {
		return StorePath{} // not reached: ParseDerivation checked the name and every path
	}
	return p
}

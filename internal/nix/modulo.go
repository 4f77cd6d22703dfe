package nix

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Variant says what happens when two inputs of a derivation have the same
// hash modulo, for instance two ways to fetch one source. Releases of Nix
// differ; where no two inputs coincide, the variants agree.
type Variant int

// The variants of the hash modulo.
const (
	Merge   Variant = iota // the union of the outputs used: Nix 2.8 to 2.34, and after August 2026
	Clobber                // the outputs of the last such input: Nix up to 2.7, and 2.35
)

func (v Variant) String() string {
	if v == Clobber {
		return "clobber"
	}
	return "merge"
}

// Modulo is a hash modulo and the variant that it was computed under.
type Modulo struct {
	Hash    Hash
	Variant Variant
}

// MaxDrvDepth bounds how many derivations may stand in a chain of inputs; the
// longest of nixpkgs have hundreds.
const MaxDrvDepth = 10_000

// Errors of a ModuloCache.
var (
	ErrDrvDepth     = fmt.Errorf("%w: more than %d that need each other in turn", ErrDerivation, MaxDrvDepth)
	ErrOutputPath   = errors.New("the output path does not follow from the derivation")
	ErrWrongDrvPath = errors.New("the derivation does not have that path")
)

// ModuloCache computes hashes of derivations modulo the ways in which their
// fixed-output inputs are fetched (spec/nix.md#hash-modulo). It keeps the hash
// of every input derivation it has seen, and may be used concurrently.
type ModuloCache struct {
	load func(StorePath) (*Derivation, error)

	mu    sync.Mutex // guards known
	known map[moduloKey]knownModulo
}

// knownModulo is the hash of a derivation, and how many derivations its
// longest chain of inputs has, itself included.
type knownModulo struct {
	hash  Hash
	depth int
}

type moduloKey struct {
	path    StorePath
	variant Variant
}

// NewModuloCache returns an empty cache that gets input derivations from
// load. What load returns must have the path it was asked for; this is
// checked, and is why derivations cannot depend on each other in a circle.
// load may be called concurrently, and more than once for a path.
func NewModuloCache(load func(StorePath) (*Derivation, error)) *ModuloCache {
	return &ModuloCache{load: load, known: make(map[moduloKey]knownModulo)}
}

// Modulo returns the hash of d with its own output paths masked: that from
// which output paths and the ids of realisations follow. Errors: those of
// load, ErrWrongDrvPath, and ErrDrvDepth.
func (c *ModuloCache) Modulo(d *Derivation, v Variant) (Hash, error) {
	m, err := c.hash(d, v, true, 1)
	return m.hash, err
}

// Match finds the variant under which the output paths of an input-addressed
// derivation follow, and the masked hash. Merge is tried first. If neither
// gives the paths in d, it returns ErrOutputPath. For other kinds, whose
// paths do not depend on the hash, it returns the Merge hash.
func (c *ModuloCache) Match(d *Derivation) (Modulo, error) {
	for _, v := range []Variant{Merge, Clobber} {
		h, err := c.Modulo(d, v)
		if err != nil {
			return Modulo{}, err
		}
		if d.Kind() != InputAddressed {
			return Modulo{h, v}, nil
		}
		ok, err := follows(d, h)
		if err != nil {
			return Modulo{}, err
		}
		if ok {
			return Modulo{h, v}, nil
		}
	}
	return Modulo{}, fmt.Errorf("%s.drv: %w", d.Name, ErrOutputPath)
}

func follows(d *Derivation, h Hash) (bool, error) {
	for _, o := range d.Outputs {
		p, err := OutputPath(d.Dir, h, d.Name, o.Name)
		if err != nil {
			return false, err
		}
		if p.String() != o.Path {
			return false, nil
		}
	}
	return true, nil
}

// hash computes one hash. level is how many derivations stand above d, itself
// included, in the chain that led here.
func (c *ModuloCache) hash(d *Derivation, v Variant, mask bool, level int) (knownModulo, error) {
	if level > MaxDrvDepth {
		return knownModulo{}, fmt.Errorf("%s.drv: %w", d.Name, ErrDrvDepth)
	}
	m := knownModulo{depth: 1}
	if d.kind == Fixed {
		o := d.Outputs[0]
		m.hash = Hash(sha256Sum("fixed:out:" + o.HashAlgo + ":" + o.Hash + ":" + o.Path))
		return m, nil
	}
	byHash := make(map[string][]string, len(d.InputDrvs))
	for _, in := range d.InputDrvs {
		im, err := c.input(in, v, level+1)
		if err != nil {
			return knownModulo{}, err
		}
		m.depth = max(m.depth, im.depth+1)
		key := im.hash.Hex()
		if v == Clobber {
			delete(byHash, key)
		}
		byHash[key] = append(byHash[key], in.Outputs...)
	}
	inputs := make([]modInput, 0, len(byHash))
	for _, key := range slices.Sorted(maps.Keys(byHash)) {
		outputs := byHash[key]
		slices.Sort(outputs)
		inputs = append(inputs, modInput{key, slices.Compact(outputs)})
	}
	m.hash = Hash(sha256.Sum256(d.unparse(inputs, mask)))
	return m, nil
}

// input returns the unmasked hash of an input derivation.
func (c *ModuloCache) input(in InputDrv, v Variant, level int) (knownModulo, error) {
	key := moduloKey{in.Path, v}
	c.mu.Lock()
	m, ok := c.known[key]
	c.mu.Unlock()
	if ok {
		// So that the answer does not depend on what was asked before.
		if level+m.depth-1 > MaxDrvDepth {
			return knownModulo{}, fmt.Errorf("%s: %w", in.Path, ErrDrvDepth)
		}
		return m, nil
	}
	d, err := c.load(in.Path)
	if err != nil {
		return knownModulo{}, fmt.Errorf("loading %s: %w", in.Path, err)
	}
	if d.DrvPath() != in.Path {
		return knownModulo{}, fmt.Errorf("loading %s: %w", in.Path, ErrWrongDrvPath)
	}
	if m, err = c.hash(d, v, false, level); err != nil {
		return knownModulo{}, err
	}
	c.mu.Lock()
	c.known[key] = m
	c.mu.Unlock()
	return m, nil
}

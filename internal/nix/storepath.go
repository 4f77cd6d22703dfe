package nix

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Bounds of store paths.
const (
	HashPartLen     = 32  // characters of nixbase32, 160 bits
	MaxNameLen      = 211 // bytes of the name after the hash and the hyphen
	MaxStoreDirLen  = 256 // bytes; so that every index key of a path fits in a lookup
	DefaultStoreDir = StoreDir("/nix/store")
)

// Errors about store paths.
var (
	ErrStorePath = errors.New("not a store path")
	ErrStoreDir  = errors.New("not a store directory")
)

// StoreDir is the directory that holds the store paths, without a slash at
// its end. It is part of what every path's hash commits to.
type StoreDir string

// Validate refuses what cannot be a store directory: it must be absolute and
// clean, not the root, at most MaxStoreDirLen bytes, of the characters that
// store path names have and '/', '@', '~'. So ':' ';' ',' and white space,
// which separate fields in what Nix hashes and signs, cannot occur.
func (d StoreDir) Validate() error {
	if d == DefaultStoreDir {
		return nil
	}
	s := string(d)
	switch {
	case len(s) > MaxStoreDirLen:
		return fmt.Errorf("%w: longer than %d bytes", ErrStoreDir, MaxStoreDirLen)
	case len(s) < 2 || s[0] != '/' || path.Clean(s) != s:
		return fmt.Errorf("%w: %q is not an absolute, clean path", ErrStoreDir, clip(s))
	}
	for i := range len(s) {
		if c := s[i]; c != '/' && c != '@' && c != '~' && !isNameChar(c) {
			return fmt.Errorf("%w: character %q", ErrStoreDir, c)
		}
	}
	return nil
}

// Parse reads a full store path that must lie directly below d.
func (d StoreDir) Parse(s string) (StorePath, error) {
	base, ok := strings.CutPrefix(s, string(d)+"/")
	if !ok {
		return StorePath{}, fmt.Errorf("%w: %q is not in %q", ErrStorePath, clip(s), d)
	}
	return d.FromBase(base)
}

// FromBase makes the store path of d with the given base name,
// "<hash>-<name>".
func (d StoreDir) FromBase(base string) (StorePath, error) {
	if err := d.Validate(); err != nil {
		return StorePath{}, err
	}
	if err := checkBase(base); err != nil {
		return StorePath{}, err
	}
	return StorePath{dir: d, base: base}, nil
}

// StorePath is a path directly below a store directory. The zero value
// stands for "none". Values are comparable with ==.
type StorePath struct {
	dir  StoreDir
	base string
}

// ParseStorePath reads a full store path, directly below whatever store
// directory it names. It is strict: 32 characters of nixbase32, '-', and a
// name that CheckName accepts (spec/nix.md#store-paths).
func ParseStorePath(s string) (StorePath, error) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return StorePath{}, fmt.Errorf("%w: %q is not absolute", ErrStorePath, clip(s))
	}
	return StoreDir(s[:i]).FromBase(s[i+1:])
}

// String returns the full path, or "" for the zero value.
func (p StorePath) String() string {
	if p.IsZero() {
		return ""
	}
	return string(p.dir) + "/" + p.base
}

// Base returns "<hash>-<name>".
func (p StorePath) Base() string { return p.base }

// HashPart returns the 32 characters before the name.
func (p StorePath) HashPart() string {
	if p.IsZero() {
		return ""
	}
	return p.base[:HashPartLen]
}

// Name returns what follows the hash and its hyphen.
func (p StorePath) Name() string {
	if p.IsZero() {
		return ""
	}
	return p.base[HashPartLen+1:]
}

// Dir returns the store directory.
func (p StorePath) Dir() StoreDir { return p.dir }

// IsDerivation reports whether the name ends in ".drv".
func (p StorePath) IsDerivation() bool { return strings.HasSuffix(p.base, ".drv") }

// IsZero reports whether p is the zero value, "none".
func (p StorePath) IsZero() bool { return p.base == "" }

// Compare orders by store directory, then by base name, bytewise: within one
// store this is Nix's order of references.
func (p StorePath) Compare(q StorePath) int {
	if c := cmp.Compare(p.dir, q.dir); c != 0 {
		return c
	}
	return cmp.Compare(p.base, q.base)
}

func checkBase(base string) error {
	if len(base) < HashPartLen+2 || base[HashPartLen] != '-' || !isBase32(base[:HashPartLen]) {
		return fmt.Errorf("%w: %q does not begin with %d characters of nixbase32 and a hyphen", ErrStorePath, clip(base), HashPartLen)
	}
	return CheckName(base[HashPartLen+1:])
}

// CheckName refuses what cannot be the name of a store path: it must have 1
// to MaxNameLen bytes of [0-9A-Za-z+._?=-], must not be "." or "..", and must
// not begin with ".-" or "..-".
func CheckName(name string) error {
	if name == "" || len(name) > MaxNameLen {
		return fmt.Errorf("%w: a name has 1 to %d bytes, not %d", ErrStorePath, MaxNameLen, len(name))
	}
	for i := range len(name) {
		if !nameChars[name[i]] {
			return fmt.Errorf("%w: character %q in a name", ErrStorePath, name[i])
		}
	}
	if name == "." || name == ".." || strings.HasPrefix(name, ".-") || strings.HasPrefix(name, "..-") {
		return fmt.Errorf("%w: name %q", ErrStorePath, clip(name))
	}
	return nil
}

// nameChars is isNameChar as a table.
var nameChars = func() (t [256]bool) {
	for i := range t {
		t[i] = isNameChar(byte(i))
	}
	return t
}()

func isNameChar(c byte) bool {
	switch {
	case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		return true
	}
	switch c {
	case '+', '-', '.', '_', '?', '=':
		return true
	}
	return false
}

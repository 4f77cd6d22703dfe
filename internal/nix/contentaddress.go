package nix

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrContentAddress is what errors about content addresses wrap.
var ErrContentAddress = errors.New("not a content address")

// Method says what of a content-addressed path is hashed.
type Method int

// The methods. The zero value is none of them.
const (
	_         Method = iota
	Text             // the bytes of a file whose references count too
	Flat             // the bytes of a file without references
	Recursive        // the NAR
	Git              // the Git tree or blob
)

// prefix is how hashAlgo fields and content addresses name the method.
func (m Method) prefix() string {
	switch m {
	case Text:
		return "text:"
	case Recursive:
		return "r:"
	case Git:
		return "git:"
	}
	return ""
}

// ContentAddress names content: how it was hashed, and the hash.
type ContentAddress struct {
	Method Method
	Algo   string // md5, sha1, sha256, sha512, blake3
	Hash   []byte
}

// ParseContentAddress reads "text:sha256:H", "fixed:ALGO:H", "fixed:r:ALGO:H"
// or "fixed:git:ALGO:H", where H is base 16, nixbase32 or base 64.
func ParseContentAddress(s string) (ContentAddress, error) {
	var c ContentAddress
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "text":
		c.Method = Text
	case "fixed":
		c.Method = Flat
		if r, ok := strings.CutPrefix(rest, "r:"); ok {
			c.Method, rest = Recursive, r
		} else if r, ok := strings.CutPrefix(rest, "git:"); ok {
			c.Method, rest = Git, r
		}
	default:
		return c, fmt.Errorf("%w: %q", ErrContentAddress, clip(s))
	}
	if strings.IndexByte(rest, '-') >= 0 {
		return ContentAddress{}, fmt.Errorf("%w: %q", ErrContentAddress, clip(s))
	}
	var err error
	if c.Algo, c.Hash, err = parseTypedHash(rest); err != nil {
		return ContentAddress{}, fmt.Errorf("%w: %w", ErrContentAddress, err)
	}
	return c, c.check()
}

// check refuses combinations that Nix does not have.
func (c ContentAddress) check() error {
	n := hashSize(c.Algo)
	switch {
	case n == 0 || len(c.Hash) != n:
		return fmt.Errorf("%w: %d bytes of %q", ErrContentAddress, len(c.Hash), clip(c.Algo))
	case c.Method < Text || c.Method > Git:
		return fmt.Errorf("%w: no method", ErrContentAddress)
	case c.Method == Text && c.Algo != "sha256",
		c.Method == Git && c.Algo != "sha1" && c.Algo != "sha256":
		return fmt.Errorf("%w: %s%s", ErrContentAddress, c.Method.prefix(), c.Algo)
	}
	return nil
}

// String returns the form that Nix's database and narinfos have, with the
// hash in nixbase32.
func (c ContentAddress) String() string {
	if c.Method == Text {
		return "text:" + c.Algo + ":" + EncodeBase32(c.Hash)
	}
	return "fixed:" + c.MethodAlgo() + ":" + EncodeBase32(c.Hash)
}

// MethodAlgo returns the hashAlgo field that a derivation has for c, such as
// "r:sha256".
func (c ContentAddress) MethodAlgo() string { return c.Method.prefix() + c.Algo }

// parseMethodAlgo reads a derivation's hashAlgo field.
func parseMethodAlgo(s string) (Method, string, error) {
	m, algo := Flat, s
	for _, p := range []Method{Text, Recursive, Git} {
		if a, ok := strings.CutPrefix(s, p.prefix()); ok {
			m, algo = p, a
			break
		}
	}
	c := ContentAddress{m, algo, make([]byte, hashSize(algo))}
	return m, algo, c.check()
}

// Refs are the references that a content-addressed path commits to.
type Refs struct {
	Others []StorePath // any order; duplicates do not count
	Self   bool        // the path refers to itself
}

// FixedOutputPath returns the store path of content with the given address
// (spec/nix.md#content-addressed-paths): a text file, a fixed output, or a
// floating one with its references. name is the whole name of the path
// (OutputName). References are refused where the address cannot carry them:
// Flat, Git, and NARs hashed with anything but SHA-256 have none, Text none
// to itself.
func FixedOutputPath(dir StoreDir, name string, ca ContentAddress, refs Refs) (StorePath, error) {
	if err := ca.check(); err != nil {
		return StorePath{}, err
	}
	for _, r := range refs.Others {
		if r.Dir() != dir {
			return StorePath{}, fmt.Errorf("%w: reference %s is not in %s", ErrStorePath, r, dir)
		}
	}
	switch {
	case ca.Method == Text:
		if refs.Self {
			return StorePath{}, fmt.Errorf("%w: a text file cannot refer to itself", ErrContentAddress)
		}
		return makeStorePath(dir, withRefs("text", refs), [32]byte(ca.Hash), name)
	case ca.Method == Recursive && ca.Algo == "sha256":
		return makeStorePath(dir, withRefs("source", refs), [32]byte(ca.Hash), name)
	case len(refs.Others) > 0 || refs.Self:
		return StorePath{}, fmt.Errorf("%w: content hashed as %s has no references", ErrContentAddress, ca.MethodAlgo())
	}
	inner := sha256Sum("fixed:out:" + ca.MethodAlgo() + ":" + hex.EncodeToString(ca.Hash) + ":")
	return makeStorePath(dir, "output:out", inner, name)
}

// withRefs appends the references to a path type, each after a colon.
func withRefs(kind string, refs Refs) string {
	var b strings.Builder
	b.WriteString(kind)
	for _, r := range sortedPaths(refs.Others) {
		b.WriteByte(':')
		b.WriteString(r.String())
	}
	if refs.Self {
		b.WriteString(":self")
	}
	return b.String()
}

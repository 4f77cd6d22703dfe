package statement

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/firn-log/firn/internal/nix"
)

// maxUnix bounds times, in Unix seconds: the year 9999.
const maxUnix = 253402300799

// maxSize bounds NAR sizes in bytes, so that every number fits a signed 64-bit one.
const maxSize = 1<<63 - 1

// A checker collects the first thing that is wrong with a body.
type checker struct {
	kind Kind
	err  *Error
}

func (c *checker) failf(code, format string, args ...any) {
	if c.err == nil {
		c.err = errf(code, string(c.kind)+": "+format, args...)
	}
}

// result returns the first error; it exists so that no nil *Error becomes a
// non-nil error.
func (c *checker) result() error {
	if c.err == nil {
		return nil
	}
	return c.err
}

// require wants ok. Where most statements pass, an if around failf does not make the
// arguments of a message that nobody needs.
func (c *checker) require(ok bool, format string, args ...any) {
	if !ok {
		c.failf(CodeBadValue, format, args...)
	}
}

// wrap records err as a bad value of the named field.
func (c *checker) wrap(field string, err error) {
	if err != nil {
		c.failf(CodeBadValue, "%s: %v", field, err)
	}
}

// hash reads a 32-byte string.
func (c *checker) hash(field string, b []byte) (h [32]byte) {
	if len(b) != len(h) {
		c.failf(CodeBadShape, "%s has %d bytes instead of 32", field, len(b))
		return h
	}
	return [32]byte(b)
}

func (c *checker) bytes16(field string, b []byte) (h [16]byte) {
	if len(b) != len(h) {
		c.failf(CodeBadShape, "%s has %d bytes instead of 16", field, len(b))
		return h
	}
	return [16]byte(b)
}

func (c *checker) optHash(field string, b *[]byte) *nix.Hash {
	if b == nil {
		return nil
	}
	h := nix.Hash(c.hash(field, *b))
	return &h
}

func (c *checker) storeDir(s string) nix.StoreDir {
	dir := nix.StoreDir(s)
	c.wrap("store dir", dir.Validate())
	return dir
}

// base reads the base name of a store path in dir.
func (c *checker) base(field string, dir nix.StoreDir, s string) nix.StorePath {
	if c.err != nil {
		return nix.StorePath{}
	}
	p, err := dir.FromBase(s)
	c.wrap(field, err)
	return p
}

// full reads a full store path that must lie in dir.
func (c *checker) full(field string, dir nix.StoreDir, s string) nix.StorePath {
	if c.err != nil {
		return nix.StorePath{}
	}
	p, err := dir.Parse(s)
	c.wrap(field, err)
	return p
}

// sortedPaths requires paths in dir, strictly ascending.
func (c *checker) sortedPaths(field string, dir nix.StoreDir, paths []nix.StorePath) {
	for i, p := range paths {
		if p.Dir() != dir {
			c.failf(CodeBadValue, "%s: %s is not in %q", field, p, dir)
		}
		if i > 0 && paths[i-1].Compare(p) >= 0 {
			c.failf(CodeBadValue, "%s are not sorted, or one repeats: %s", field, p.Base())
		}
	}
}

func (c *checker) inDir(field string, dir nix.StoreDir, p nix.StorePath) {
	if p.IsZero() || p.Dir() != dir {
		c.failf(CodeBadValue, "%s is not a path in %s", field, dir)
	}
}

// token requires 1 to 64 bytes of [A-Za-z0-9._+-].
func (c *checker) token(field, s string) {
	ok := len(s) >= 1 && len(s) <= 64
	for i := range len(s) {
		ok = ok && (alnum(s[i]) || strings.IndexByte("._+-", s[i]) >= 0)
	}
	if !ok {
		c.failf(CodeBadValue, "%s %s is not 1 to 64 characters of A-Z a-z 0-9 . _ + -", field, quoteShort(s))
	}
}

func alnum(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// oneOf requires s to be one of the words.
func oneOf[T ~string](c *checker, field string, s T, words ...T) {
	if !slices.Contains(words, s) {
		all := make([]string, len(words))
		for i, w := range words {
			all[i] = string(w)
		}
		c.failf(CodeBadValue, "%s %s is not one of %s", field, quoteShort(string(s)), strings.Join(all, ", "))
	}
}

// text requires 1 to limit bytes of text as spec/statement.md#text defines it.
func (c *checker) text(field, s string, limit int) {
	c.require(s != "" && len(s) <= limit, "%s has %d bytes instead of 1 to %d", field, len(s), limit)
	c.require(utf8.ValidString(s), "%s is not UTF-8", field)
	for _, r := range s {
		if !printable(r) {
			c.failf(CodeBadValue, "%s has the character %U, which is a control, direction or invisible character", field, r)
			return
		}
	}
	c.require(!strings.HasPrefix(s, " ") && !strings.HasSuffix(s, " "), "%s begins or ends with a space", field)
}

// hidden lists the ranges of characters that no text may have. It is fixed
// here, and not taken from a version of Unicode, because every reader of a log
// must give the same answer.
var hidden = [...][2]rune{
	{0x0000, 0x001f}, {0x007f, 0x009f}, // controls
	{0x00ad, 0x00ad},                                     // soft hyphen
	{0x061c, 0x061c}, {0x200b, 0x200f}, {0x2028, 0x202e}, // zero width, marks and embeddings, line ends
	{0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, // invisible operators, isolates, annotations
	{0xd800, 0xdfff}, {0xfdd0, 0xfdef}, // surrogates, noncharacters
	{0xe0000, 0xe0fff}, // tags
}

func printable(r rune) bool {
	if r&0xfffe == 0xfffe {
		return false
	}
	for _, h := range hidden {
		if h[0] <= r && r <= h[1] {
			return false
		}
	}
	return true
}

// CheckOrigin returns an *Error if s is not the origin of a firn log: at most
// 128 bytes, two or more parts joined by "/", each 1 to 63 characters of a-z
// 0-9 . _ - and neither "." nor "..", the last one 8 hexadecimal digits
// (spec/statement.md#origins).
func CheckOrigin(s string) error {
	parts := strings.Split(s, "/")
	ok := len(s) <= 128 && len(parts) >= 2
	for _, p := range parts {
		ok = ok && p != "" && p != "." && p != ".." && len(p) <= 63 && strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
	}
	last := parts[len(parts)-1]
	if !ok || len(last) != 8 || strings.Trim(last, "0123456789abcdef") != "" {
		return errf(CodeBadValue, "%s is not the origin of a firn log, which looks like log.example.org/3f9a01bc", quoteShort(s))
	}
	return nil
}

// url requires "" or an http(s) address of at most 256 bytes of ASCII.
func (c *checker) url(field, s string) {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "http://")
	}
	ok = ok && rest != "" && len(s) <= 256
	for i := range len(rest) {
		ok = ok && rest[i] > ' ' && rest[i] < 0x7f && strings.IndexByte("\"<>\\^`{|}", rest[i]) < 0
	}
	c.require(ok, "%s %s is not an http or https address of at most 256 characters", field, quoteShort(s))
}

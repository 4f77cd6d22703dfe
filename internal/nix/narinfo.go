package nix

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a narinfo.
const (
	MaxNarInfoLen = 4 << 20 // bytes; 3,691 references are 208 KB
	MaxReferences = 65536
)

// ErrNarInfo is what errors of ParseNarInfo wrap.
var ErrNarInfo = errors.New("bad narinfo")

// PathInfo is what a store knows about one of its valid paths.
type PathInfo struct {
	Path       StorePath
	NarHash    Hash
	NarSize    uint64      // bytes
	References []StorePath // sorted, no duplicates; may contain Path itself
	Deriver    StorePath   // zero if unknown; nobody signs it
	Ultimate   bool        // built here; never set from a narinfo
	Sigs       []string    // "key-name:base64"
	CA         string      // content address as Nix writes it, or ""
}

// Fingerprint returns the text that a Nix signature covers:
// "1;<path>;sha256:<nixbase32>;<size>;<reference>,<reference>…" with full
// paths in order (spec/nix.md#fingerprint). Deriver, CA and everything about
// the transfer are not covered.
func (i *PathInfo) Fingerprint() string {
	refs := i.References
	if !slices.IsSortedFunc(refs, StorePath.Compare) {
		refs = sortedPaths(refs)
	}
	var b strings.Builder
	b.WriteString("1;")
	b.WriteString(i.Path.String())
	b.WriteByte(';')
	b.WriteString(i.NarHash.String())
	b.WriteByte(';')
	b.WriteString(strconv.FormatUint(i.NarSize, 10))
	b.WriteByte(';')
	for n, r := range refs {
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString(r.String())
	}
	return b.String()
}

// sortedPaths returns a sorted copy of paths without duplicates.
func sortedPaths(paths []StorePath) []StorePath {
	out := slices.Clone(paths)
	slices.SortFunc(out, StorePath.Compare)
	return slices.Compact(out)
}

// Field is one line of a narinfo.
type Field struct{ Name, Value string }

// NarInfo is what a binary cache says about a path and where its NAR is.
// Only the fields in Fingerprint are signed.
type NarInfo struct {
	PathInfo
	URL         string
	Compression string // "bzip2" where the narinfo has none, as in Nix
	FileHash    string // as written, checked to be a hash; "" if missing
	FileSize    uint64 // bytes; 0 if missing
	System      string
	Unknown     []Field // in the order of the file
}

// ParseNarInfo reads a narinfo of the store directory dir (spec/nix.md#narinfo).
// Like Nix it keeps unknown keys, sorts References, and takes a missing
// Compression for bzip2. It is stricter where a lenient reading could let two
// programs disagree: every known key but Sig occurs at most once, a line is
// "Key: value", numbers are plain decimals, and CA must be a content address.
func ParseNarInfo(dir StoreDir, b []byte) (*NarInfo, error) {
	if len(b) > MaxNarInfoLen {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrNarInfo, MaxNarInfoLen)
	}
	if len(b) == 0 || b[len(b)-1] != '\n' {
		return nil, fmt.Errorf("%w: the last line does not end", ErrNarInfo)
	}
	if bytes.IndexByte(b, 0) >= 0 || bytes.IndexByte(b, '\r') >= 0 {
		return nil, fmt.Errorf("%w: NUL or carriage return", ErrNarInfo)
	}
	n := &NarInfo{}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(line[:len(line)-1], ": ")
		if !ok || key == "" || strings.ContainsAny(key, ": \t") {
			return nil, fmt.Errorf("%w: line %q is not \"Key: value\"", ErrNarInfo, clip(line))
		}
		known, err := n.set(dir, key, value)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrNarInfo, key, err)
		}
		switch {
		case !known:
			n.Unknown = append(n.Unknown, Field{key, value})
		case key != "Sig" && seen[key]:
			return nil, fmt.Errorf("%w: more than one %s", ErrNarInfo, key)
		}
		seen[key] = true
	}
	for _, key := range []string{"StorePath", "URL", "NarHash", "NarSize"} {
		if !seen[key] {
			return nil, fmt.Errorf("%w: no %s", ErrNarInfo, key)
		}
	}
	if n.Compression == "" {
		n.Compression = "bzip2"
	}
	return n, nil
}

// set stores one field and reports whether its key is known.
func (n *NarInfo) set(dir StoreDir, key, value string) (known bool, err error) {
	switch key {
	case "StorePath":
		n.Path, err = dir.Parse(value)
	case "URL":
		if n.URL = value; value == "" {
			err = errors.New("empty")
		}
	case "Compression":
		n.Compression = value
	case "FileHash":
		if n.FileHash = value; value != "" {
			_, _, err = parseTypedHash(value)
		}
	case "FileSize":
		n.FileSize, err = parseDecimal(value)
	case "NarHash":
		n.NarHash, err = ParseHash(value)
	case "NarSize":
		if n.NarSize, err = parseDecimal(value); err == nil && n.NarSize == 0 {
			err = errors.New("no NAR has 0 bytes")
		}
	case "References":
		n.References, err = parseReferences(dir, value)
	case "Deriver":
		if value != "unknown-deriver" && value != "" {
			n.Deriver, err = dir.FromBase(value)
		}
	case "System":
		n.System = value
	case "Sig":
		n.Sigs = append(n.Sigs, value)
	case "CA":
		if n.CA = value; value != "" {
			_, err = ParseContentAddress(value)
		}
	default:
		return false, nil
	}
	return true, err
}

// parseReferences reads base names separated by spaces, in any order.
func parseReferences(dir StoreDir, value string) ([]StorePath, error) {
	bases := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' })
	if len(bases) > MaxReferences {
		return nil, fmt.Errorf("more than %d", MaxReferences)
	}
	var refs []StorePath
	for _, base := range bases {
		p, err := dir.FromBase(base)
		if err != nil {
			return nil, err
		}
		refs = append(refs, p)
	}
	return sortedPaths(refs), nil
}

// parseDecimal reads an unsigned number without sign or leading zero.
func parseDecimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%q is not a plain decimal number", clip(s))
	}
	return n, nil
}

// Marshal returns the narinfo as a file, in Nix's order of fields with the
// unknown ones last. Fields that are empty are left out, except References
// and NarSize. ParseNarInfo of the result gives n again.
func (n *NarInfo) Marshal() []byte {
	var b bytes.Buffer
	line := func(key, value string) {
		if value != "" {
			b.WriteString(key + ": " + value + "\n")
		}
	}
	line("StorePath", n.Path.String())
	line("URL", n.URL)
	line("Compression", n.Compression)
	line("FileHash", n.FileHash)
	if n.FileSize != 0 {
		line("FileSize", strconv.FormatUint(n.FileSize, 10))
	}
	line("NarHash", n.NarHash.String())
	line("NarSize", strconv.FormatUint(n.NarSize, 10))
	bases := make([]string, len(n.References))
	for i, r := range n.References {
		bases[i] = r.Base()
	}
	b.WriteString("References: " + strings.Join(bases, " ") + "\n")
	line("Deriver", n.Deriver.Base())
	line("System", n.System)
	for _, s := range n.Sigs {
		b.WriteString("Sig: " + s + "\n")
	}
	line("CA", n.CA)
	for _, f := range n.Unknown {
		b.WriteString(f.Name + ": " + f.Value + "\n")
	}
	return b.Bytes()
}

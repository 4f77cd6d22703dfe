package statement

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// A Diff says in which files two contents of one path differ. For a verdict it
// claims nothing (spec/statement.md#diff).
type Diff struct {
	StoreDir nix.StoreDir
	// Drv and Output say whose output the path is: both or, for a path that
	// comes from no derivation, neither.
	Drv    *nix.StorePath
	Output string
	Path   nix.StorePath
	A, B   nix.Hash   // NAR hashes, not equal
	Files  []DiffFile // the first differences; sorted by name, then what; at most 256
	Total  uint64     // differences in all, at least 1 and len(Files)
	Report *nix.Hash  // SHA-256 of a text about the difference
	Tool   string     // what compared them; 1..64 bytes of [A-Za-z0-9._+-]
}

// A DiffFile is one difference.
type DiffFile struct {
	Name []byte // path in the NAR without a leading slash, 1..1024 bytes; empty for the root itself
	What DiffWhat
}

// DiffWhat says in what a file differs.
type DiffWhat string

// What a file can differ in.
const (
	DiffContent    DiffWhat = "content"    // the bytes of a file
	DiffType       DiffWhat = "type"       // file, folder or link
	DiffExecutable DiffWhat = "executable" // the executable bit
	DiffTarget     DiffWhat = "target"     // where a link leads
	DiffOnlyA      DiffWhat = "only-a"     // there in A alone
	DiffOnlyB      DiffWhat = "only-b"     // there in B alone
)

// The wire structs below are bodies of payload version 1 and fixed
// (spec/statement.md#evolution).

type wireDiff struct {
	StoreDir string         `cbor:"1,keyasint"`
	Drv      *string        `cbor:"2,keyasint,omitempty"`
	Output   *string        `cbor:"3,keyasint,omitempty"`
	Path     string         `cbor:"4,keyasint"`
	A        []byte         `cbor:"5,keyasint"`
	B        []byte         `cbor:"6,keyasint"`
	Files    []wireDiffFile `cbor:"7,keyasint"`
	Total    uint64         `cbor:"8,keyasint"`
	Report   *[]byte        `cbor:"9,keyasint,omitempty"`
	Tool     string         `cbor:"10,keyasint"`
}

type wireDiffFile struct {
	Name []byte   `cbor:"1,keyasint"`
	What DiffWhat `cbor:"2,keyasint"`
}

// Kind returns KindDiff.
func (*Diff) Kind() Kind { return KindDiff }

// Compare orders by name, then by what: the order of [Diff.Files].
func (f DiffFile) Compare(g DiffFile) int {
	return cmp.Or(bytes.Compare(f.Name, g.Name), cmp.Compare(f.What, g.What))
}

// Check implements [Body].
func (b *Diff) Check() error {
	c := &checker{kind: KindDiff}
	c.wrap("store dir", b.StoreDir.Validate())
	c.inDir("path", b.StoreDir, b.Path)
	if (b.Drv == nil) != (b.Output == "") {
		c.failf(CodeBadShape, "a derivation and an output, or neither")
	}
	if b.Drv != nil {
		c.drvPath("drv path", b.StoreDir, *b.Drv)
		c.wrap("output name", nix.CheckName(b.Output))
	}
	c.require(b.A != b.B, "two equal NAR hashes do not differ")
	c.require(len(b.Files) <= 256, "%d files, more than 256: leave out the last ones", len(b.Files))
	for i, f := range b.Files {
		c.fileName(f.Name)
		oneOf(c, "difference", f.What, DiffContent, DiffType, DiffExecutable, DiffTarget, DiffOnlyA, DiffOnlyB)
		c.require(i == 0 || b.Files[i-1].Compare(f) < 0, "files are not sorted, or one repeats: %s", quoteShort(string(f.Name)))
	}
	c.require(b.Total >= 1 && b.Total >= uint64(len(b.Files)) && b.Total <= maxSize, "%d differences in all, and %d listed", b.Total, len(b.Files))
	c.token("tool", b.Tool)
	return c.result()
}

// fileName requires a path in a NAR: parts joined by "/", none of them empty,
// "." or "..", and no NUL.
func (c *checker) fileName(name []byte) {
	if len(name) == 0 {
		return // the root
	}
	c.require(len(name) <= 1024, "a file name of %d bytes, more than 1024", len(name))
	c.require(bytes.IndexByte(name, 0) < 0, "a file name with a zero byte")
	for part := range strings.SplitSeq(string(name), "/") {
		c.require(part != "" && part != "." && part != "..", "%s is not the path of a file in a NAR", quoteShort(string(name)))
	}
}

func (b *Diff) encode() ([]byte, error) {
	w := wireDiff{
		StoreDir: string(b.StoreDir), Drv: fullPath(b.Drv), Path: b.Path.Base(), A: b.A[:], B: b.B[:],
		Total: b.Total, Report: optBytes(b.Report), Tool: b.Tool,
	}
	if b.Output != "" {
		w.Output = &b.Output
	}
	for _, f := range b.Files {
		w.Files = append(w.Files, wireDiffFile(f))
	}
	return encodeWire(&w)
}

func (b *Diff) decode(raw []byte) error {
	var w wireDiff
	if err := decodeWire("diff", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindDiff}
	dir := c.storeDir(w.StoreDir)
	*b = Diff{
		StoreDir: dir, Drv: c.optDrv("drv path", dir, w.Drv), Path: c.base("path", dir, w.Path), A: c.hash("NAR hash", w.A), B: c.hash("NAR hash", w.B),
		Total: w.Total, Report: c.optHash("report", w.Report), Tool: w.Tool,
	}
	if w.Output != nil {
		b.Output = *w.Output
		c.require(b.Output != "", "an empty output is left out instead")
	}
	for _, f := range w.Files {
		b.Files = append(b.Files, DiffFile(f))
	}
	return c.result()
}

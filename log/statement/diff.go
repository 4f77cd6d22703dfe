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
	What nix.DiffKind
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
		oneOf(c, "difference", f.What, nix.DiffContent, nix.DiffType, nix.DiffExecutable, nix.DiffTarget, nix.DiffOnlyA, nix.DiffOnlyB)
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
	var w writer
	w.open()
	w.text(1, string(b.StoreDir))
	w.optPath(2, b.Drv)
	w.optText(3, b.Output)
	w.text(4, b.Path.Base())
	w.bytes(5, b.A[:])
	w.bytes(6, b.B[:])
	w.list(7, len(b.Files))
	for _, f := range b.Files {
		outer := w.open()
		w.bytes(1, f.Name)
		w.text(2, string(f.What))
		w.close(outer)
	}
	w.uint(8, b.Total)
	w.optHash(9, b.Report)
	w.text(10, b.Tool)
	return w.b, nil
}

func (b *Diff) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindDiff}
	f := r.fields("diff")
	*b = Diff{StoreDir: c.storeDir(f.text(1))}
	b.Drv = f.optDrv(2, c, "drv path", b.StoreDir)
	b.Output = f.optWords(3, c, "output")
	b.Path = c.base("path", b.StoreDir, f.text(4))
	b.A, b.B = c.hash("NAR hash", f.bytes(5)), c.hash("NAR hash", f.bytes(6))
	for range f.list(7) {
		if r.err != nil {
			break
		}
		g := f.sub("diff: file")
		b.Files = append(b.Files, DiffFile{g.bytes(1), nix.DiffKind(g.text(2))})
		g.end()
	}
	b.Total = f.uint(8)
	b.Report = c.optHash("report", f.optBytes(9))
	b.Tool = f.text(10)
	f.end()
	return r.result(c)
}

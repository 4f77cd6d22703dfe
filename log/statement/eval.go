package statement

import (
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// An Eval says which derivations an evaluation asked for, and of what it was an
// evaluation (spec/statement.md#eval). It claims nothing about content.
type Eval struct {
	Name      string // a name, for instance of a jobset
	StoreDir  nix.StoreDir
	Digest    nix.Hash // [PathsDigest] of the derivations
	Count     uint64
	Drvs      []nix.StorePath // sorted, or nil if only the digest is given
	Inputs    []EvalInput     // sorted by name, at most 32
	Evaluated uint64          // Unix seconds, by the signer's clock
	Instance  string          // http(s) address of the Hydra, without user, query and fragment; or ""
	Number    uint64          // of the evaluation there, from 1; 0 if it has none
}

// An EvalInput is one input of an evaluation.
type EvalInput struct {
	Name     string // 1..64 bytes of [A-Za-z0-9._+-]
	Type     string // same, for instance "git"
	URI      string // text of at most 256 bytes, without secrets; or ""
	Revision string // text of at most 128 bytes, or ""
}

// Kind returns KindEval.
func (*Eval) Kind() Kind { return KindEval }

// Check implements [Body]: if the derivations are given, digest and count must be theirs.
func (b *Eval) Check() error {
	c := &checker{kind: KindEval}
	c.wrap("name", nix.CheckName(b.Name))
	c.wrap("store dir", b.StoreDir.Validate())
	c.require(b.Count >= 1 && b.Count <= maxSize, "count %d", b.Count)
	if b.Drvs != nil && c.err == nil {
		c.sortedPaths("derivations", b.StoreDir, b.Drvs)
		for _, drv := range b.Drvs {
			c.drvPath("derivation", b.StoreDir, drv)
		}
		if uint64(len(b.Drvs)) != b.Count || PathsDigest(b.Drvs) != b.Digest {
			c.failf(CodeDigest, "digest or count is not that of the derivations")
		}
	}
	c.require(len(b.Inputs) <= 32, "%d inputs, more than 32", len(b.Inputs))
	for i := range b.Inputs {
		b.Inputs[i].check(c)
		c.require(i == 0 || b.Inputs[i-1].Name < b.Inputs[i].Name, "inputs are not sorted by name, or one repeats: %s", quoteShort(b.Inputs[i].Name))
	}
	c.require(b.Evaluated <= maxUnix, "evaluated after the year 9999")
	if b.Instance != "" {
		c.bareURL("instance", b.Instance)
	}
	c.require(b.Number == 0 || b.Instance != "" && b.Number <= maxSize, "the number %d, and no instance that gave it", b.Number)
	return c.result()
}

func (in *EvalInput) check(c *checker) {
	c.token("input", in.Name)
	c.token("type of input", in.Type)
	if in.URI != "" {
		c.text("uri", in.URI, 256)
		_, rest, _ := strings.Cut(in.URI, "://")
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			rest = rest[:i]
		}
		user, _, has := strings.Cut(rest, "@")
		c.require(!has || user == "git", "the uri of the input %s has a user, which may be a secret: leave it out", quoteShort(in.Name))
	}
	if in.Revision != "" {
		c.text("revision", in.Revision, 128)
	}
}

func (b *Eval) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, b.Name)
	w.text(2, string(b.StoreDir))
	w.bytes(3, b.Digest[:])
	w.uint(4, b.Count)
	if b.Drvs != nil {
		w.bases(5, b.Drvs)
	}
	w.list(6, len(b.Inputs))
	for _, in := range b.Inputs {
		outer := w.open()
		w.text(1, in.Name)
		w.text(2, in.Type)
		w.optText(3, in.URI)
		w.optText(4, in.Revision)
		w.close(outer)
	}
	w.uint(7, b.Evaluated)
	w.optText(8, b.Instance)
	if b.Number != 0 {
		w.uint(9, b.Number)
	}
	return w.b, nil
}

// optWords reads text that is left out if it is empty.
func (f *fields) optWords(n uint64, c *checker, field string) string {
	s, ok := f.optText(n)
	c.require(!ok || s != "", "an empty %s is left out instead", field)
	return s
}

func (b *Eval) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindEval}
	f := r.fields("eval")
	*b = Eval{Name: f.text(1)}
	b.StoreDir = c.storeDir(f.text(2))
	b.Digest, b.Count = c.hash("digest", f.bytes(3)), f.uint(4)
	if f.has(5) {
		b.Drvs = f.bases(c, "derivations", b.StoreDir)
	}
	for range f.list(6) {
		if r.err != nil {
			break
		}
		g := f.sub("eval: input")
		b.Inputs = append(b.Inputs, EvalInput{g.text(1), g.text(2), g.optWords(3, c, "uri"), g.optWords(4, c, "revision")})
		g.end()
	}
	b.Evaluated = f.uint(7)
	b.Instance = f.optWords(8, c, "instance")
	if f.has(9) {
		b.Number = f.uintHere()
		c.require(b.Number != 0, "a number 0 is left out instead")
	}
	f.end()
	return r.result(c)
}

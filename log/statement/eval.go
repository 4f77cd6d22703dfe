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

// The wire structs below are bodies of payload version 1 and fixed
// (spec/statement.md#evolution).

type wireEval struct {
	Name      string          `cbor:"1,keyasint"`
	StoreDir  string          `cbor:"2,keyasint"`
	Digest    []byte          `cbor:"3,keyasint"`
	Count     uint64          `cbor:"4,keyasint"`
	Drvs      *[]string       `cbor:"5,keyasint,omitempty"`
	Inputs    []wireEvalInput `cbor:"6,keyasint"`
	Evaluated uint64          `cbor:"7,keyasint"`
	Instance  *string         `cbor:"8,keyasint,omitempty"`
	Number    *uint64         `cbor:"9,keyasint,omitempty"`
}

type wireEvalInput struct {
	Name     string  `cbor:"1,keyasint"`
	Type     string  `cbor:"2,keyasint"`
	URI      *string `cbor:"3,keyasint,omitempty"`
	Revision *string `cbor:"4,keyasint,omitempty"`
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
	w := wireEval{Name: b.Name, StoreDir: string(b.StoreDir), Digest: b.Digest[:], Count: b.Count, Evaluated: b.Evaluated, Instance: optText(b.Instance)}
	if b.Drvs != nil {
		list := baseNames(b.Drvs)
		w.Drvs = &list
	}
	for _, in := range b.Inputs {
		w.Inputs = append(w.Inputs, wireEvalInput{in.Name, in.Type, optText(in.URI), optText(in.Revision)})
	}
	if b.Number != 0 {
		w.Number = &b.Number
	}
	return encodeWire(&w)
}

// optText returns s, or nil if it is empty.
func optText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// text reads text that is left out if it is empty.
func (c *checker) optText(field string, s *string) string {
	if s == nil {
		return ""
	}
	c.require(*s != "", "an empty %s is left out instead", field)
	return *s
}

func (b *Eval) decode(raw []byte) error {
	var w wireEval
	if err := decodeWire("eval", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindEval}
	dir := c.storeDir(w.StoreDir)
	*b = Eval{
		Name: w.Name, StoreDir: dir, Digest: c.hash("digest", w.Digest), Count: w.Count, Evaluated: w.Evaluated,
		Instance: c.optText("instance", w.Instance),
	}
	if w.Drvs != nil {
		b.Drvs = c.bases("derivations", dir, *w.Drvs)
	}
	for _, in := range w.Inputs {
		b.Inputs = append(b.Inputs, EvalInput{in.Name, in.Type, c.optText("uri", in.URI), c.optText("revision", in.Revision)})
	}
	if w.Number != nil {
		b.Number = *w.Number
		c.require(b.Number != 0, "a number 0 is left out instead")
	}
	return c.result()
}

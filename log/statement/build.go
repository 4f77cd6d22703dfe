package statement

import (
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// How says in which way a builder came by an output.
type How string

// The ways of coming by an output.
const (
	HowBuilt   How = "built"   // in the course of things, inputs as they were
	HowChecked How = "checked" // built again beside the existing output (nix-build --check)
	HowRebuilt How = "rebuilt" // by a rebuilder, from clean, so as to compare
)

// A Build claims that the signer executed one derivation and says what came
// out. There is one per execution (spec/statement.md#build).
type Build struct {
	DrvPath  nix.StorePath
	DrvHash  nix.Hash // SHA-256 of the .drv file
	Modulo   nix.Hash // hash modulo with output paths masked
	System   string   // 1..64 bytes of [A-Za-z0-9._+-]
	StoreDir nix.StoreDir
	Outputs  []BuildOutput // sorted by name, 1..64
	How      How
	Partial  bool // some outputs were already there and are not claimed
	Inputs   *BuildInputs
	Builder  Builder
	Started  uint64 // Unix seconds, by the builder's clock
	Finished uint64 // Unix seconds, by the builder's clock, not before Started
	BuildID  [16]byte
}

// A BuildOutput is one output of a [Build].
type BuildOutput struct {
	Name    string
	Path    nix.StorePath // in the build's store dir
	NarHash nix.Hash
	NarSize uint64
	// References of the output, sorted by base name, itself included if it
	// refers to itself. Nil if only RefsDigest is given.
	References []nix.StorePath
	// RefsDigest stands for a long list of references: exactly one of the two is given.
	RefsDigest *nix.Hash
	CA         string // content address, for instance "fixed:r:sha256:…"; "" if input-addressed
}

// BuildInputs sums up the direct inputs of a [Build]: its sources, and the outputs
// that it uses of its input derivations.
type BuildInputs struct {
	// Digest is the SHA-256 of a line for each, sorted, "<base name> <hexadecimal
	// NAR hash>\n": two builders can tell whether they had the same bytes.
	Digest      nix.Hash
	Count       uint64 // direct inputs
	Built       uint64 // of these, built on this machine
	Substituted uint64 // of these, substituted
}

// A Builder is the program that executed a build.
type Builder struct {
	Implementation string // for instance "nix"; 1..64 bytes of [A-Za-z0-9._+-]
	Version        string // same
	Sandbox        bool
}

// Reason says why a build failed.
type Reason string

// The reasons of a failure.
const (
	ReasonExit         Reason = "exit"
	ReasonTimeout      Reason = "timeout"
	ReasonOOM          Reason = "oom"
	ReasonHashMismatch Reason = "hash-mismatch"
)

// A BuildFailed claims that the signer executed one derivation and that it
// failed (spec/statement.md#build-failed).
type BuildFailed struct {
	DrvPath    nix.StorePath
	DrvHash    nix.Hash // SHA-256 of the .drv file
	Modulo     nix.Hash
	System     string
	StoreDir   nix.StoreDir
	Outputs    []string // output names wanted, sorted, 1..64
	Reason     Reason
	ExitStatus *uint64 // 1..255; only with ReasonExit
	Builder    Builder
	Started    uint64
	Finished   uint64
	BuildID    [16]byte
	LogHash    *nix.Hash // SHA-256 of the build log
}

// Kind returns KindBuild.
func (*Build) Kind() Kind { return KindBuild }

// Kind returns KindBuildFailed.
func (*BuildFailed) Kind() Kind { return KindBuildFailed }

// Check implements [Body]: bounds, then each output path recomputed
// (spec/statement.md#build).
func (b *Build) Check() error {
	c := &checker{kind: KindBuild}
	c.derivation(b.StoreDir, b.DrvPath, b.System, b.Builder, b.Started, b.Finished)
	oneOf(c, "how", b.How, HowBuilt, HowChecked, HowRebuilt)
	if in := b.Inputs; in != nil {
		if in.Built > in.Count || in.Substituted > in.Count-in.Built {
			c.failf(CodeBadValue, "inputs: %d built and %d substituted of %d", in.Built, in.Substituted, in.Count)
		}
		c.require(in.Count <= maxSize, "inputs: count is too large")
	}
	c.outputNames(len(b.Outputs), func(i int) string { return b.Outputs[i].Name })
	for i := range b.Outputs {
		c.require((b.Outputs[i].CA == "") == (b.Outputs[0].CA == ""), "some outputs are content-addressed and some are not")
	}
	for i := range b.Outputs {
		if c.err != nil {
			break
		}
		b.checkOutput(c, &b.Outputs[i])
	}
	return c.result()
}

// Check implements [Body].
func (b *BuildFailed) Check() error {
	c := &checker{kind: KindBuildFailed}
	c.derivation(b.StoreDir, b.DrvPath, b.System, b.Builder, b.Started, b.Finished)
	c.outputNames(len(b.Outputs), func(i int) string { return b.Outputs[i] })
	oneOf(c, "reason", b.Reason, ReasonExit, ReasonTimeout, ReasonOOM, ReasonHashMismatch)
	if b.ExitStatus != nil {
		c.require(b.Reason == ReasonExit, "an exit status with the reason %s", b.Reason)
		c.require(*b.ExitStatus >= 1 && *b.ExitStatus <= 255, "exit status %d is not within 1 and 255", *b.ExitStatus)
	}
	return c.result()
}

// derivation checks what every claim about an execution has.
func (c *checker) derivation(dir nix.StoreDir, drv nix.StorePath, system string, builder Builder, started, finished uint64) {
	c.wrap("store dir", dir.Validate())
	c.drvPath("drv path", dir, drv)
	c.token("system", system)
	c.token("builder", builder.Implementation)
	c.token("builder version", builder.Version)
	c.require(started <= finished, "finished before it started")
	c.require(finished <= maxUnix, "finished after the year 9999")
}

// outputNames requires 1 to 64 names, strictly ascending.
func (c *checker) outputNames(n int, name func(i int) string) {
	if n < 1 || n > 64 {
		c.failf(CodeBadValue, "%d outputs instead of 1 to 64", n)
	}
	last := ""
	for i := range n {
		this := name(i)
		c.wrap("output name", nix.CheckName(this))
		if this <= last {
			c.failf(CodeBadValue, "outputs are not sorted by name, or one repeats: %s", quoteShort(this))
		}
		last = this
	}
}

// references checks a list or its digest, of which there must be exactly one.
func (c *checker) references(dir nix.StoreDir, refs []nix.StorePath, digest *nix.Hash) {
	if refs != nil && digest != nil {
		c.failf(CodeBadShape, "both references and their digest")
	}
	c.sortedPaths("references", dir, refs)
}

// checkOutput recomputes the path of o, and for a recursive SHA-256 content
// address without a self reference also its NAR hash.
func (b *Build) checkOutput(c *checker, o *BuildOutput) {
	c.inDir("output path", b.StoreDir, o.Path)
	if o.NarSize < 1 || o.NarSize > maxSize {
		c.failf(CodeBadValue, "output %s: NAR size %d", quoteShort(o.Name), o.NarSize)
	}
	c.references(b.StoreDir, o.References, o.RefsDigest)
	if c.err != nil {
		return
	}
	drvName := strings.TrimSuffix(b.DrvPath.Name(), ".drv")
	if o.CA == "" {
		if nix.IsOutputPath(o.Path, b.Modulo, drvName, o.Name) {
			return
		}
		want, err := nix.OutputPath(b.StoreDir, b.Modulo, drvName, o.Name)
		switch {
		case err != nil:
			c.wrap("output "+o.Name, err)
		case want != o.Path:
			c.failf(CodePath, "output %s: %s does not follow from the hash modulo, which gives %s", o.Name, o.Path, want.Base())
		}
		return
	}
	if o.RefsDigest != nil {
		c.failf(CodeBadShape, "output %s: a content-addressed output needs its references, not their digest", o.Name)
		return
	}
	c.addressed(addressed{
		what: "output " + o.Name, name: nix.OutputName(drvName, o.Name), path: o.Path, refs: o.References, ca: o.CA, narHash: o.NarHash,
	})
}

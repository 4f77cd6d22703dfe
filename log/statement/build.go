package statement

import "github.com/firn-log/firn/internal/nix"

// How says in which way a builder came by an output.
type How string

// The ways of coming by an output.
const (
	HowBuilt   How = "built"   // in the course of things, inputs as they were
	HowChecked How = "checked" // built again beside the existing output (nix-build --check)
	HowRebuilt How = "rebuilt" // rebuilt clean: every input was itself built, none substituted
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

// BuildInputs sums up the input closure of a [Build].
type BuildInputs struct {
	Digest      nix.Hash // [PathsDigest] of the closure of the inputs
	Count       uint64   // paths in it
	Built       uint64   // of these, built on this machine
	Substituted uint64   // of these, substituted
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

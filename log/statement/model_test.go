package statement

import (
	"github.com/fxamacker/cbor/v2"

	"github.com/firn-log/firn/internal/nix"
)

// The structs below are the bodies of payload version 1 as another decoder of CBOR
// knows them. They are what the reader and the writer are compared with, and fixed as
// these are (spec/statement.md#evolution).

// wirePayload is the payload.
type wirePayload struct {
	Version uint64          `cbor:"1,keyasint"`
	Kind    string          `cbor:"2,keyasint"`
	Body    cbor.RawMessage `cbor:"3,keyasint"`
	For     *string         `cbor:"4,keyasint,omitempty"`
	Prev    *[]byte         `cbor:"5,keyasint,omitempty"`
}

type wireBuild struct {
	DrvPath  string       `cbor:"1,keyasint"`
	DrvHash  []byte       `cbor:"2,keyasint"`
	Modulo   []byte       `cbor:"3,keyasint"`
	System   string       `cbor:"4,keyasint"`
	StoreDir string       `cbor:"5,keyasint"`
	Outputs  []wireOutput `cbor:"6,keyasint"`
	How      How          `cbor:"7,keyasint"`
	Partial  bool         `cbor:"8,keyasint"`
	Inputs   *wireInputs  `cbor:"9,keyasint,omitempty"`
	Builder  wireBuilder  `cbor:"10,keyasint"`
	Started  uint64       `cbor:"11,keyasint"`
	Finished uint64       `cbor:"12,keyasint"`
	BuildID  []byte       `cbor:"13,keyasint"`
}

type wireOutput struct {
	Name       string    `cbor:"1,keyasint"`
	Path       string    `cbor:"2,keyasint"`
	NarHash    []byte    `cbor:"3,keyasint"`
	NarSize    uint64    `cbor:"4,keyasint"`
	References *[]string `cbor:"5,keyasint,omitempty"`
	RefsDigest *[]byte   `cbor:"6,keyasint,omitempty"`
	CA         *string   `cbor:"7,keyasint,omitempty"`
}

type wireInputs struct {
	Digest      []byte `cbor:"1,keyasint"`
	Count       uint64 `cbor:"2,keyasint"`
	Built       uint64 `cbor:"3,keyasint"`
	Substituted uint64 `cbor:"4,keyasint"`
}

type wireBuildFailed struct {
	DrvPath    string      `cbor:"1,keyasint"`
	DrvHash    []byte      `cbor:"2,keyasint"`
	Modulo     []byte      `cbor:"3,keyasint"`
	System     string      `cbor:"4,keyasint"`
	StoreDir   string      `cbor:"5,keyasint"`
	Outputs    []string    `cbor:"6,keyasint"`
	Reason     Reason      `cbor:"7,keyasint"`
	ExitStatus *uint64     `cbor:"8,keyasint,omitempty"`
	Builder    wireBuilder `cbor:"9,keyasint"`
	Started    uint64      `cbor:"10,keyasint"`
	Finished   uint64      `cbor:"11,keyasint"`
	BuildID    []byte      `cbor:"12,keyasint"`
	LogHash    *[]byte     `cbor:"13,keyasint,omitempty"`
}

type wireCacheSig struct {
	StoreDir   string    `cbor:"1,keyasint"`
	Path       string    `cbor:"2,keyasint"`
	NarHash    []byte    `cbor:"3,keyasint"`
	NarSize    uint64    `cbor:"4,keyasint"`
	References *[]string `cbor:"5,keyasint,omitempty"`
	RefsDigest *[]byte   `cbor:"6,keyasint,omitempty"`
	KeyName    string    `cbor:"7,keyasint"`
	Key        []byte    `cbor:"8,keyasint"`
}

type wireClosure struct {
	Name     string    `cbor:"1,keyasint"`
	StoreDir string    `cbor:"2,keyasint"`
	Digest   []byte    `cbor:"3,keyasint"`
	Count    uint64    `cbor:"4,keyasint"`
	Paths    *[]string `cbor:"5,keyasint,omitempty"`
}

type wireOperator struct {
	Name       string  `cbor:"1,keyasint"`
	Contact    string  `cbor:"2,keyasint"`
	URL        *string `cbor:"3,keyasint,omitempty"`
	HomeLog    string  `cbor:"4,keyasint"`
	Identity   []byte  `cbor:"5,keyasint"`
	OperatorID *[]byte `cbor:"6,keyasint,omitempty"`
}

type wireKeyAdd struct {
	OperatorID []byte    `cbor:"1,keyasint"`
	Key        []byte    `cbor:"2,keyasint"`
	Role       Role      `cbor:"3,keyasint"`
	Form       ProofForm `cbor:"4,keyasint"`
	Proof      []byte    `cbor:"5,keyasint"`
	CacheName  *string   `cbor:"6,keyasint,omitempty"`
}

type wireKeyRevoke struct {
	OperatorID []byte            `cbor:"1,keyasint"`
	KeyID      []byte            `cbor:"2,keyasint"`
	Reason     RevokeReason      `cbor:"3,keyasint"`
	Cuts       map[string]uint64 `cbor:"4,keyasint"`
	Elsewhere  Elsewhere         `cbor:"5,keyasint"`
}

type wireVouch struct {
	OperatorID []byte `cbor:"1,keyasint"`
	For        []byte `cbor:"2,keyasint"`
}

type wireRetract struct {
	OperatorID []byte `cbor:"1,keyasint"`
	Statement  []byte `cbor:"2,keyasint"`
	Reason     string `cbor:"3,keyasint"`
}

type wirePeer struct {
	OperatorID []byte   `cbor:"1,keyasint"`
	PeerID     string   `cbor:"2,keyasint"`
	Addrs      []string `cbor:"3,keyasint"`
}

type wireGenesis struct {
	Origin string `cbor:"1,keyasint"`
	LogKey []byte `cbor:"2,keyasint"`
	wireRules
}

type wireLogConfig struct {
	Origin string `cbor:"1,keyasint"`
	wireRules
}

type wireRules struct {
	Mode           Mode           `cbor:"3,keyasint"`
	Budgets        wireBudgets    `cbor:"4,keyasint"`
	VouchThreshold uint64         `cbor:"5,keyasint"`
	OperatorKeys   [][]byte       `cbor:"6,keyasint"`
	CacheKeys      []wireCacheKey `cbor:"7,keyasint"`
}

type wireBudgets struct {
	UnvouchedStatements uint64 `cbor:"1,keyasint"`
	UnvouchedBytes      uint64 `cbor:"2,keyasint"`
	KeyStatements       uint64 `cbor:"3,keyasint"`
	KeyBytes            uint64 `cbor:"4,keyasint"`
	ClaimsPerSubject    uint64 `cbor:"5,keyasint"`
}

type wireCacheKey struct {
	Name string `cbor:"1,keyasint"`
	Key  []byte `cbor:"2,keyasint"`
}

type wireFreeze struct {
	Origin    string  `cbor:"1,keyasint"`
	Successor *string `cbor:"2,keyasint,omitempty"`
	LogKey    *[]byte `cbor:"3,keyasint,omitempty"`
	Reason    *string `cbor:"4,keyasint,omitempty"`
}

type wireEvidence struct {
	Bytes []byte `cbor:"1,keyasint"`
}

type wireRevision struct {
	Origin     string `cbor:"1,keyasint"`
	Size       uint64 `cbor:"2,keyasint"`
	Root       []byte `cbor:"3,keyasint"`
	MapVersion uint64 `cbor:"4,keyasint"`
}

type wireIndexReset struct {
	Origin     string `cbor:"1,keyasint"`
	MapVersion uint64 `cbor:"2,keyasint"`
	Size       uint64 `cbor:"3,keyasint"`
}

type wireObserved struct {
	StoreDir string  `cbor:"1,keyasint"`
	Path     string  `cbor:"2,keyasint"`
	NarHash  []byte  `cbor:"3,keyasint"`
	NarSize  uint64  `cbor:"4,keyasint"`
	Cache    string  `cbor:"5,keyasint"`
	Deriver  *string `cbor:"6,keyasint,omitempty"`
	Seen     uint64  `cbor:"7,keyasint"`
}

type wireRealisation struct {
	StoreDir string               `cbor:"1,keyasint"`
	Modulo   *[]byte              `cbor:"2,keyasint,omitempty"`
	Drv      *string              `cbor:"3,keyasint,omitempty"`
	Output   string               `cbor:"4,keyasint"`
	Path     string               `cbor:"5,keyasint"`
	Builder  wireBuilder          `cbor:"6,keyasint"`
	Deps     []wireRealisationDep `cbor:"7,keyasint"`
	NixSigs  []wireNixSig         `cbor:"8,keyasint"`
}

type wireRealisationDep struct {
	Modulo *[]byte `cbor:"1,keyasint,omitempty"`
	Drv    *string `cbor:"2,keyasint,omitempty"`
	Output string  `cbor:"3,keyasint"`
	Path   string  `cbor:"4,keyasint"`
}

type wireNixSig struct {
	KeyName string `cbor:"1,keyasint"`
	Key     []byte `cbor:"2,keyasint"`
	Sig     []byte `cbor:"3,keyasint"`
	Form    uint64 `cbor:"4,keyasint"`
}

type wirePathClaim struct {
	StoreDir   string   `cbor:"1,keyasint"`
	Path       string   `cbor:"2,keyasint"`
	NarHash    []byte   `cbor:"3,keyasint"`
	NarSize    uint64   `cbor:"4,keyasint"`
	References []string `cbor:"5,keyasint"`
	CA         string   `cbor:"6,keyasint"`
}

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
	Name []byte       `cbor:"1,keyasint"`
	What nix.DiffKind `cbor:"2,keyasint"`
}

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

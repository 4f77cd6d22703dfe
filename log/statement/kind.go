package statement

import "strings"

// Version is the payload version of this package. Version 1 has no unknown
// fields: a new field is a new version.
const Version = 1

// Namespace is the SSHSIG namespace of a statement and the prefix of the
// preimage of a statement id.
const Namespace = "firn-statement-v1"

// ContentType is the COSE content type of every statement.
const ContentType = "application/vnd.firn.statement+cbor"

// Sizes of a leaf, in bytes (spec/statement.md#sizes).
const (
	MaxLeaf      = 16 << 10 // every kind but the next two
	MaxLargeLeaf = 60 << 10 // cache-sig and closure
)

// MaxEnvelope is how many bytes a leaf has beside its payload at most: those
// of an SSHSIG by an RSA key of 8192 bits, and of the pair.
const MaxEnvelope = 2152

// A Kind says what a statement states. It is part of what is signed.
type Kind string

// The kinds that this version of firn admits.
const (
	KindBuild       Kind = "build"
	KindBuildFailed Kind = "build-failed"
	KindCacheSig    Kind = "cache-sig"
	KindClosure     Kind = "closure"
	KindOperator    Kind = "operator"
	KindKeyAdd      Kind = "key-add"
	KindKeyRevoke   Kind = "key-revoke"
	KindVouch       Kind = "vouch"
	KindRetract     Kind = "retract"
	KindPeer        Kind = "peer"
	KindGenesis     Kind = "genesis"
	KindLogConfig   Kind = "log-config"
	KindFreeze      Kind = "freeze"
	KindEvidence    Kind = "evidence"
	KindRevision    Kind = "revision"
	KindIndexReset  Kind = "index-reset"
	KindObserved    Kind = "observed"
	KindRealisation Kind = "realisation"
	KindPath        Kind = "path"
	KindDiff        Kind = "diff"
	KindEval        Kind = "eval"
)

// A Class groups the kinds by who signs them.
type Class int

// The classes of kinds.
const (
	Claim   Class = iota + 1 // signed by a build key, or by a cache
	People                   // signed by an identity key, chained by prev
	Log                      // signed by the log's own key
	Anybody                  // signed by anybody: it proves itself
)

// kinds holds the class and a new body of every admitted kind.
var kinds = map[Kind]struct {
	class Class
	body  func() Body
	large bool // leaf may be MaxLargeLeaf
}{
	KindBuild:       {Claim, func() Body { return new(Build) }, false},
	KindBuildFailed: {Claim, func() Body { return new(BuildFailed) }, false},
	KindCacheSig:    {Claim, func() Body { return new(CacheSig) }, true},
	KindClosure:     {Claim, func() Body { return new(Closure) }, true},
	KindOperator:    {People, func() Body { return new(Operator) }, false},
	KindKeyAdd:      {People, func() Body { return new(KeyAdd) }, false},
	KindKeyRevoke:   {People, func() Body { return new(KeyRevoke) }, false},
	KindVouch:       {People, func() Body { return new(Vouch) }, false},
	KindRetract:     {People, func() Body { return new(Retract) }, false},
	KindPeer:        {People, func() Body { return new(Peer) }, false},
	KindGenesis:     {Log, func() Body { return new(Genesis) }, false},
	KindLogConfig:   {Log, func() Body { return new(LogConfig) }, false},
	KindFreeze:      {Log, func() Body { return new(Freeze) }, false},
	KindEvidence:    {Anybody, func() Body { return new(Evidence) }, false},
	KindRevision:    {Log, func() Body { return new(Revision) }, false},
	KindIndexReset:  {Log, func() Body { return new(IndexReset) }, false},
	KindObserved:    {Claim, func() Body { return new(Observed) }, false},
	KindRealisation: {Claim, func() Body { return new(Realisation) }, false},
	KindPath:        {Claim, func() Body { return new(PathClaim) }, false},
	KindDiff:        {Claim, func() Body { return new(Diff) }, false},
	KindEval:        {Claim, func() Body { return new(Eval) }, false},
}

// notYet holds the names that later versions of firn will admit; boot-*
// and bootstrap-* are reserved as a whole.
var notYet = map[Kind]bool{
	"fod-fetch": true, "fod-check": true, "triage": true, "dataset": true, "ci-result": true,
}

// Class returns the class of k, or 0 if k is not admitted.
func (k Kind) Class() Class { return kinds[k].class }

// MaxLeaf returns the largest leaf of kind k in bytes.
func (k Kind) MaxLeaf() int {
	if kinds[k].large {
		return MaxLargeLeaf
	}
	return MaxLeaf
}

// Reserved reports whether k is a name that a later version will admit.
func (k Kind) Reserved() bool {
	return notYet[k] || strings.HasPrefix(string(k), "boot-") || strings.HasPrefix(string(k), "bootstrap-")
}

// A Body is what a statement of one kind says: one of the pointer types
// *[Build], *[BuildFailed], *[CacheSig], *[Closure], *[Operator], *[KeyAdd],
// *[KeyRevoke], *[Vouch], *[Retract], *[Peer], *[Genesis],
// *[LogConfig], *[Freeze], *[Evidence], *[Revision], *[IndexReset],
// *[Observed], *[Realisation], *[PathClaim], *[Diff] and *[Eval].
type Body interface {
	// Kind returns the kind of a statement with this body.
	Kind() Kind
	// Check returns an *Error if a value is outside its bounds or does not
	// follow from the others. Parse and EncodePayload call it.
	Check() error

	encode() ([]byte, error)
	decode(b []byte) error
}

package statement

// An Operator statement introduces somebody who answers for keys. The first
// one has no OperatorID and no prev, and its statement id is the operator's id
// in every log; a later one replaces what is said (spec/statement.md#operator).
type Operator struct {
	Name       string    // 1..211 bytes of Nix's name set
	Contact    string    // 1..128 bytes of text
	URL        string    // http or https, ≤ 256 bytes; may be empty
	HomeLog    string    // origin of the one home log
	Identity   PublicKey // the key that signs this statement
	OperatorID *ID       // nil in the first statement
}

// Role says what a key may sign.
type Role string

// The roles of a key.
const (
	RoleBuild    Role = "build"    // claims
	RoleIdentity Role = "identity" // people statements
)

// ProofForm says how a key proved that it wants to belong to an operator.
type ProofForm string

// The forms of a key proof.
const (
	ProofRaw    ProofForm = "raw"    // 64-byte Ed25519 or P-256 signature over the message itself
	ProofSSHSIG ProofForm = "sshsig" // SSHSIG over the message, namespace firn-key-proof-v1
)

// A KeyAdd gives an operator another key. Proof is the new key's own
// signature (spec/statement.md#key-add).
type KeyAdd struct {
	OperatorID ID
	Key        PublicKey
	Role       Role
	Form       ProofForm
	Proof      []byte
}

// RevokeReason says why a key is revoked.
type RevokeReason string

// The reasons to revoke a key.
const (
	Rotated     RevokeReason = "rotated"
	Compromised RevokeReason = "compromised"
	Retired     RevokeReason = "retired"
)

// Elsewhere says what becomes of a revoked key's claims in logs without a cut.
type Elsewhere string

// The two answers.
const (
	Keep Elsewhere = "keep"
	Drop Elsewhere = "drop"
)

// A KeyRevoke ends a key: claims at or after a cut do not count
// (spec/statement.md#key-revoke).
type KeyRevoke struct {
	OperatorID ID
	KeyID      KeyID
	Reason     RevokeReason
	Cuts       map[string]uint64 // origin → first index that does not count; ≤ 64
	Elsewhere  Elsewhere
}

// A Vouch says that one operator vouches for another (spec/statement.md#vouch).
type Vouch struct {
	OperatorID ID // who vouches
	For        ID // operator vouched for
}

// A Retract takes back one statement of the same operator (spec/statement.md#retract).
type Retract struct {
	OperatorID ID
	Statement  ID
	Reason     string // 1..256 bytes of text
}

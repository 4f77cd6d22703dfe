package statement

// Mode says whose statements a log admits.
type Mode string

// The modes of a log.
const (
	ModeOpen    Mode = "open"
	ModeVouched Mode = "vouched"
	ModeListed  Mode = "listed"
)

// Budgets bound what a log admits. Days are UTC days by the log's clock.
type Budgets struct {
	UnvouchedStatements uint64 // per day, all unvouched keys together
	UnvouchedBytes      uint64 // per day, all unvouched keys together
	KeyStatements       uint64 // per day and vouched key
	KeyBytes            uint64 // per day and vouched key
	ClaimsPerSubject    uint64 // per (key, subject), for ever; 1..32
}

// A CacheKey is a binary cache's key whose signatures a log admits.
type CacheKey struct {
	Name string
	Key  [32]byte // raw Ed25519
}

// Rules are what a genesis and a log-config statement share.
type Rules struct {
	Mode           Mode
	Budgets        Budgets
	VouchThreshold uint64     // vouches needed from vouched operators; 1..1000
	OperatorKeys   []KeyID    // identity keys of the log's operator, which vouch alone; sorted, ≤ 64
	CacheKeys      []CacheKey // sorted by key, ≤ 64
}

// A Genesis is the first leaf of a log (spec/statement.md#genesis).
type Genesis struct {
	Origin string
	LogKey PublicKey // Ed25519; signs this statement
	Rules
}

// A LogConfig replaces the rules of a log from its index on (spec/statement.md#log-config).
type LogConfig struct {
	Origin string
	Rules
}

// CheckOrigin returns an error if s is not the origin of a firn log:
// "<name>/<8 hexadecimal digits>" (spec/statement.md#origins).
func CheckOrigin(s string) error { return nil }

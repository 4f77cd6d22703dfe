package statement

import (
	"bytes"

	"github.com/firn-log/firn/internal/ed25519x"
	"github.com/firn-log/firn/internal/nix"
)

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

// The wire structs below are bodies of payload version 1 and fixed
// (spec/statement.md#evolution).

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

// Kind returns KindGenesis.
func (*Genesis) Kind() Kind { return KindGenesis }

// Kind returns KindLogConfig.
func (*LogConfig) Kind() Kind { return KindLogConfig }

// Check implements [Body].
func (b *Genesis) Check() error {
	c := &checker{kind: KindGenesis}
	c.wrap("origin", CheckOrigin(b.Origin))
	if b.LogKey.Type() != Ed25519 {
		c.failf(CodeBadKey, "the log's key must be an Ed25519 key")
	}
	c.rules(&b.Rules)
	return c.result()
}

// Check implements [Body].
func (b *LogConfig) Check() error {
	c := &checker{kind: KindLogConfig}
	c.wrap("origin", CheckOrigin(b.Origin))
	c.rules(&b.Rules)
	return c.result()
}

func (c *checker) rules(r *Rules) {
	oneOf(c, "mode", r.Mode, ModeOpen, ModeVouched, ModeListed)
	b := r.Budgets
	c.require(b.ClaimsPerSubject >= 1 && b.ClaimsPerSubject <= 32, "%d claims per key and subject instead of 1 to 32", b.ClaimsPerSubject)
	c.require(max(b.UnvouchedStatements, b.UnvouchedBytes, b.KeyStatements, b.KeyBytes) <= maxSize, "a budget is too large")
	c.require(r.VouchThreshold >= 1 && r.VouchThreshold <= 1000, "vouch threshold %d instead of 1 to 1000", r.VouchThreshold)
	c.require(len(r.OperatorKeys) <= 64, "%d operator keys, more than 64", len(r.OperatorKeys))
	for i, k := range r.OperatorKeys {
		c.require(i == 0 || bytes.Compare(r.OperatorKeys[i-1][:], k[:]) < 0, "operator keys are not sorted, or one repeats")
	}
	c.require(len(r.CacheKeys) <= 64, "%d cache keys, more than 64", len(r.CacheKeys))
	for i, k := range r.CacheKeys {
		c.wrap("cache key name", nix.CheckName(k.Name))
		if err := ed25519x.CheckPublicKey(k.Key[:]); err != nil {
			c.failf(CodeBadKey, "cache key %s: %v", k.Name, err)
		}
		c.require(i == 0 || bytes.Compare(r.CacheKeys[i-1].Key[:], k.Key[:]) < 0, "cache keys are not sorted by key, or one repeats")
	}
}

func (r *Rules) wire() wireRules {
	w := wireRules{Mode: r.Mode, Budgets: wireBudgets(r.Budgets), VouchThreshold: r.VouchThreshold}
	for _, k := range r.OperatorKeys {
		w.OperatorKeys = append(w.OperatorKeys, k[:])
	}
	for _, k := range r.CacheKeys {
		w.CacheKeys = append(w.CacheKeys, wireCacheKey{k.Name, k.Key[:]})
	}
	return w
}

func (c *checker) rulesFrom(w *wireRules) Rules {
	r := Rules{Mode: w.Mode, Budgets: Budgets(w.Budgets), VouchThreshold: w.VouchThreshold}
	for _, k := range w.OperatorKeys {
		r.OperatorKeys = append(r.OperatorKeys, c.hash("operator key", k))
	}
	for _, k := range w.CacheKeys {
		r.CacheKeys = append(r.CacheKeys, CacheKey{k.Name, c.hash("cache key", k.Key)})
	}
	return r
}

func (b *Genesis) encode() ([]byte, error) {
	return encodeWire(&wireGenesis{b.Origin, b.LogKey.Preimage(), b.wire()})
}

func (b *Genesis) decode(raw []byte) error {
	var w wireGenesis
	if err := decodeWire("genesis", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindGenesis}
	*b = Genesis{w.Origin, c.key("log key", w.LogKey), c.rulesFrom(&w.wireRules)}
	return c.result()
}

func (b *LogConfig) encode() ([]byte, error) {
	return encodeWire(&wireLogConfig{b.Origin, b.wire()})
}

func (b *LogConfig) decode(raw []byte) error {
	var w wireLogConfig
	if err := decodeWire("log-config", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindLogConfig}
	*b = LogConfig{w.Origin, c.rulesFrom(&w.wireRules)}
	return c.result()
}

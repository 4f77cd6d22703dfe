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

// rules writes the fields 3 to 7, which two kinds share.
func (w *writer) rules(r *Rules) {
	w.text(3, string(r.Mode))
	w.key(4)
	outer := w.open()
	w.uint(1, r.Budgets.UnvouchedStatements)
	w.uint(2, r.Budgets.UnvouchedBytes)
	w.uint(3, r.Budgets.KeyStatements)
	w.uint(4, r.Budgets.KeyBytes)
	w.uint(5, r.Budgets.ClaimsPerSubject)
	w.close(outer)
	w.uint(5, r.VouchThreshold)
	w.list(6, len(r.OperatorKeys))
	for _, k := range r.OperatorKeys {
		w.b = appendBytes(w.b, k[:])
	}
	w.list(7, len(r.CacheKeys))
	for _, k := range r.CacheKeys {
		outer := w.open()
		w.text(1, k.Name)
		w.bytes(2, k.Key[:])
		w.close(outer)
	}
}

func (f *fields) rules(c *checker, what string) Rules {
	r := Rules{Mode: Mode(f.text(3))}
	if f.need(4) {
		g := f.sub(what + ": budgets")
		r.Budgets = Budgets{g.uint(1), g.uint(2), g.uint(3), g.uint(4), g.uint(5)}
		g.end()
	}
	r.VouchThreshold = f.uint(5)
	for range f.list(6) {
		if f.r.err != nil {
			break
		}
		r.OperatorKeys = append(r.OperatorKeys, c.hash("operator key", f.bytesHere()))
	}
	for range f.list(7) {
		if f.r.err != nil {
			break
		}
		g := f.sub(what + ": cache key")
		r.CacheKeys = append(r.CacheKeys, CacheKey{g.text(1), c.hash("cache key", g.bytes(2))})
		g.end()
	}
	return r
}

func (b *Genesis) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, b.Origin)
	w.bytes(2, b.LogKey.Preimage())
	w.rules(&b.Rules)
	return w.b, nil
}

func (b *Genesis) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindGenesis}
	f := r.fields("genesis")
	*b = Genesis{f.text(1), c.key("log key", f.bytes(2)), f.rules(c, "genesis")}
	f.end()
	return r.result(c)
}

func (b *LogConfig) encode() ([]byte, error) {
	var w writer
	w.open()
	w.text(1, b.Origin)
	w.rules(&b.Rules)
	return w.b, nil
}

func (b *LogConfig) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindLogConfig}
	f := r.fields("log-config")
	*b = LogConfig{f.text(1), f.rules(c, "log-config")}
	f.end()
	return r.result(c)
}

package server

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/tomlfile"
	"github.com/firn-log/firn/log/statement"
)

// ConfigName is the name of the configuration in a log's directory.
const ConfigName = "firn-log.toml"

// Config is firn-log.toml. Unknown settings are refused. Durations are written
// "250ms", "5s", "10m"; paths are relative to the log's directory.
type Config struct {
	// Origin names the log for ever: "<name>/<8 random hexadecimal digits>".
	// It is made by firn-log init together with the key and never changed.
	Origin string `toml:"origin" comment:"Names the log for ever. Made together with the key; never change either."`
	// Key is the file with the log's private key. No other user may be able to
	// read it. Default "log.key".
	Key string `toml:"key" comment:"File with the log's private key; nobody else may be able to read it."`
	// Listen is where the HTTP interface listens. Default "127.0.0.1:8470".
	Listen string `toml:"listen" comment:"Address and port of the HTTP interface."`
	// CheckpointInterval is the shortest time between two checkpoints, 100ms to
	// 1h. Default 200ms.
	CheckpointInterval Duration `toml:"checkpoint-interval" comment:"Shortest time between two checkpoints, at least 100ms."`
	// BatchAge is how long leaves of one batch are gathered, 1ms to 1s.
	// Default 5ms.
	BatchAge Duration `toml:"batch-age" comment:"How long the leaves of one batch are gathered."`

	Admission  AdmissionConfig  `toml:"admission" comment:"Who may add what. Public: a change is written into the log as a log-config entry."`
	Witnessing WitnessingConfig `toml:"witnessing" comment:"Who cosigns the checkpoints."`
	Blobs      BlobsConfig      `toml:"blobs" comment:"What is kept beside the statements that name it."`
	Limits     LimitsConfig     `toml:"limits" comment:"What one address may ask."`
	Rollback   RollbackConfig   `toml:"rollback" comment:"Who is asked at start for checkpoints this log has signed, to notice a restored older copy."`
}

// AdmissionConfig is who may add what (spec/log.md#admission).
type AdmissionConfig struct {
	// Mode is "open", "vouched" (default) or "listed".
	Mode statement.Mode `toml:"mode" comment:"open: every registered key has a budget of its own. vouched: keys that nobody vouched for share one.\nlisted: claims only from operators that the log's operator vouched for."`
	// VouchThreshold is how many vouched operators must vouch for another, 1 to
	// 1000. Default 2.
	VouchThreshold uint64 `toml:"vouch-threshold" comment:"How many vouched operators lift another one out of the shared budget."`
	// OperatorKeys are the key ids of the identity keys of whoever runs the log;
	// each vouches alone.
	OperatorKeys []string `toml:"operator-keys" comment:"Key ids of the identity keys of whoever runs the log; each of them vouches alone."`
	// CacheKeys are Nix public keys ("name:base64") of binary caches whose
	// signatures anybody may add.
	CacheKeys []string `toml:"cache-keys" comment:"Nix public keys (name:base64) of binary caches whose signatures anybody may add."`
	// Budgets, each a number per UTC day except the last, which is for ever.
	UnvouchedStatements uint64 `toml:"unvouched-statements-per-day" comment:"Shared by all keys that nobody has vouched for."`
	UnvouchedBytes      uint64 `toml:"unvouched-bytes-per-day"`
	KeyStatements       uint64 `toml:"key-statements-per-day" comment:"For each key of an operator that was vouched for, and each listed cache key."`
	KeyBytes            uint64 `toml:"key-bytes-per-day"`
	ClaimsPerSubject    uint64 `toml:"claims-per-subject" comment:"How many claims one key may make about one path, for ever; 1 to 32."`
}

// LimitsConfig is what one address may ask (spec/log.md#limits).
type LimitsConfig struct {
	// LeavesPerMinute is how many statements one address may send a minute, for
	// an IPv6 address its /64; 0 is no limit. Default 60000. Connections from
	// this machine that no trusted proxy forwards are not limited.
	LeavesPerMinute uint64 `toml:"leaves-per-minute-per-address" comment:"Statements one address may send a minute (an IPv6 /64 counts as one); 0 is no limit.\nThis machine itself is not limited."`
	// TrustedProxies are the prefixes whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `toml:"trusted-proxies" comment:"Proxies whose X-Forwarded-For is believed, for instance [\"127.0.0.0/8\", \"::1/128\"]."`
	// RequestsAtOnce is how many submissions are worked on at once, 1 to 65536;
	// more are asked to come back. Default 512.
	RequestsAtOnce int `toml:"requests-at-once" comment:"Submissions worked on at once; more are asked to come back."`
}

// RollbackConfig says who is asked at start (spec/log.md#start-up).
type RollbackConfig struct {
	// PublicURL is where readers find this log.
	PublicURL string `toml:"public-url" comment:"Where readers find this log."`
	// Mirrors are the URLs of copies of it.
	Mirrors []string `toml:"mirrors" comment:"URLs of copies of this log."`
}

// Duration is a time.Duration that is written as text.
type Duration struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(b))
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// DefaultConfig returns the configuration of a new log without an origin.
func DefaultConfig() *Config {
	return &Config{
		Key:                "log.key",
		Listen:             "127.0.0.1:8470",
		CheckpointInterval: Duration{200 * time.Millisecond},
		BatchAge:           Duration{5 * time.Millisecond},
		Admission: AdmissionConfig{
			Mode: statement.ModeVouched, VouchThreshold: 2, OperatorKeys: []string{}, CacheKeys: []string{},
			UnvouchedStatements: 2000, UnvouchedBytes: 8 << 20,
			KeyStatements: 1_000_000, KeyBytes: 1 << 30, ClaimsPerSubject: 32,
		},
		Witnessing: defaultWitnessing(),
		Blobs:      BlobsConfig{MaxBytes: 10 << 30, Keep: Days{365}},
		Limits:     LimitsConfig{LeavesPerMinute: 60_000, RequestsAtOnce: 512, TrustedProxies: []netip.Prefix{}},
		Rollback:   RollbackConfig{Mirrors: []string{}},
	}
}

// LoadConfig is ReadConfig of firn-log.toml in dir.
func LoadConfig(dir string) (*Config, error) { return ReadConfig(filepath.Join(dir, ConfigName)) }

// ReadConfig reads and checks a configuration. All problems are in one error.
func ReadConfig(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	c := DefaultConfig()
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(c); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			return nil, fmt.Errorf("%s: unknown settings:\n%s", path, strict.String())
		}
		return nil, tomlfile.Fault(path, err)
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%s:\n%w", path, err)
	}
	return c, nil
}

// Check returns every problem of the configuration, joined.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := statement.CheckOrigin(c.Origin); err != nil {
		bad("origin: %w", err)
	}
	if c.Key == "" {
		bad("key: want the name of a file")
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		bad("listen: %q is not an address and a port", c.Listen)
	}
	if d := c.CheckpointInterval.Duration; d < minInterval || d > time.Hour {
		bad("checkpoint-interval: %v is not between 100ms and 1h", d)
	}
	if d := c.BatchAge.Duration; d < time.Millisecond || d > time.Second {
		bad("batch-age: %v is not between 1ms and 1s", d)
	}
	c.Witnessing.check(bad)
	c.Blobs.check(bad)
	if c.Limits.RequestsAtOnce < 1 || c.Limits.RequestsAtOnce > 1<<16 {
		bad("limits.requests-at-once: %d is not between 1 and 65536", c.Limits.RequestsAtOnce)
	}
	for _, u := range c.checkpointURLs() {
		if p, err := url.Parse(u); err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "" {
			bad("rollback: %q is not an http or https URL", u)
		}
	}
	if _, err := c.Rules(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return &ConfigError{errors.Join(errs...)}
	}
	return nil
}

// ConfigError holds every problem of a configuration.
type ConfigError struct{ err error }

func (e *ConfigError) Error() string { return e.err.Error() }
func (e *ConfigError) Unwrap() error { return e.err }

func (c *Config) checkpointURLs() []string {
	if c.Rollback.PublicURL == "" {
		return c.Rollback.Mirrors
	}
	return append([]string{c.Rollback.PublicURL}, c.Rollback.Mirrors...)
}

// Rules returns the rules of the log as its genesis entry says them.
func (c *Config) Rules() (statement.Rules, error) {
	a := &c.Admission
	r := statement.Rules{Mode: a.Mode, VouchThreshold: a.VouchThreshold, Budgets: statement.Budgets{
		UnvouchedStatements: a.UnvouchedStatements, UnvouchedBytes: a.UnvouchedBytes,
		KeyStatements: a.KeyStatements, KeyBytes: a.KeyBytes, ClaimsPerSubject: a.ClaimsPerSubject,
	}}
	var errs []error
	for _, s := range a.OperatorKeys {
		id, err := statement.ParseKeyID(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("admission.operator-keys: %w", err))
		}
		r.OperatorKeys = append(r.OperatorKeys, id)
	}
	for _, s := range a.CacheKeys {
		k, err := nix.ParsePublicKey(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("admission.cache-keys: %w", err))
			continue
		}
		r.CacheKeys = append(r.CacheKeys, statement.CacheKey{Name: k.Name, Key: [32]byte(k.Key)})
	}
	slices.SortFunc(r.OperatorKeys, func(a, b statement.KeyID) int { return bytes.Compare(a[:], b[:]) })
	slices.SortFunc(r.CacheKeys, func(a, b statement.CacheKey) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	if len(errs) == 0 {
		// The rules are checked as the statement that will carry them.
		if err := (&statement.LogConfig{Origin: "log.example/00000000", Rules: r}).Check(); err != nil {
			errs = append(errs, fmt.Errorf("admission: %w", err))
		}
	}
	return r, errors.Join(errs...)
}

// marshal returns the configuration with a comment above each setting.
func (c *Config) marshal() ([]byte, error) {
	var b strings.Builder
	b.WriteString("# A firn log. See spec/log.md#configuration; try a change with: firn-log serve --check DIR\n\n")
	enc := toml.NewEncoder(&b)
	enc.SetIndentTables(false)
	enc.SetArraysMultiline(false)
	if err := enc.Encode(c); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

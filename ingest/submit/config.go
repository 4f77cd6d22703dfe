package submit

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/nix"
)

// DefaultConfig is the configuration file of the submitter.
const DefaultConfig = "/etc/firn/submit.toml"

// Config is the configuration of `firn submit`, a TOML file that is read
// strictly: an unknown name is an error. Relative paths are relative to the
// file's folder.
//
//	log         = "https://log.example"
//	log-policy  = "/etc/firn/log.policy"
//	key         = "file:/etc/firn/build.key"
//	public-from = ["/etc/firn/public"]
type Config struct {
	send.Config
	// PublicFrom says whose builds may leave this machine: files with the path
	// of one derivation in each line ("#" begins a comment), or
	// "closure:sha256:<64 hexadecimal digits>" for a closure statement in the
	// log. A build is sent if its derivation is in the closure of one of them.
	// Without it nothing is sent but what --also names.
	PublicFrom []string `toml:"public-from"`
	// Spool is the spool folder; FIRN_SPOOL, then /var/spool/firn.
	Spool string `toml:"spool"`
	// Store is the root of a private store as in `nix --store ROOT`; "" is
	// the machine's own.
	Store string `toml:"store"`
	// StoreDir is what store paths begin with; /nix/store.
	StoreDir string `toml:"store-dir"`
	// StateDir is Nix's state folder; NIX_STATE_DIR, then /nix/var/nix.
	StateDir string `toml:"state-dir"`
	// Builder is the implementation and version of Nix that statements name,
	// "nix 2.8.0"; "" finds out.
	Builder string `toml:"builder"`
	// TrustedKeys are Nix keys, "name:base64": what they signed about a realisation, and
	// Nix recorded, goes along in its statement.
	TrustedKeys []string `toml:"trusted-keys"`
	// KeepSent is how many sent statements stay in the spool with their proofs;
	// 10000. Older ones are removed: they are in the log.
	KeepSent int `toml:"keep-sent"`
	// Interval is how often the spool is looked at; "5s".
	Interval send.Duration `toml:"interval"`
	// MaxPause bounds the pause between tries to reach the log; "5m".
	MaxPause send.Duration `toml:"max-pause"`
}

// LoadConfig reads the file at path and fills in what it leaves open from the
// environment. It does not check it: see Check. A file that does not exist is an
// error matching fs.ErrNotExist, one that is not a configuration a *send.ConfigError.
func LoadConfig(path string, getenv func(string) string) (*Config, error) {
	var c Config
	if err := send.Decode(path, &c); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	c.Config.Below(dir)
	c.Spool, c.Store = send.Under(dir, c.Spool), send.Under(dir, c.Store)
	for i, p := range c.PublicFrom {
		if !strings.HasPrefix(p, closurePrefix) {
			c.PublicFrom[i] = send.Under(dir, p)
		}
	}
	c.fill(getenv)
	return &c, nil
}

// DefaultsOnly returns the configuration of somebody who has none: enough to look
// at the spool.
func DefaultsOnly(getenv func(string) string) *Config {
	var c Config
	c.fill(getenv)
	return &c
}

func (c *Config) fill(getenv func(string) string) {
	set := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	set(&c.Spool, string(hook.SpoolDir(getenv)))
	set(&c.StoreDir, string(nix.DefaultStoreDir))
	set(&c.StateDir, hook.StateDir(getenv))
	if c.KeepSent == 0 {
		c.KeepSent = defaultKeepSent
	}
	if c.Interval.Duration == 0 {
		c.Interval = send.Duration{Duration: 5 * time.Second}
	}
	if c.MaxPause.Duration == 0 {
		c.MaxPause = send.Duration{Duration: 5 * time.Minute}
	}
}

func (c *Config) nixKeys() ([]nix.PublicKey, error) {
	var keys []nix.PublicKey
	for _, text := range c.TrustedKeys {
		k, err := nix.ParsePublicKey(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// Check returns a *send.ConfigError with everything that is wrong, or nil. It reads
// the files that c names, but not the key and nothing over the network.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := c.Config.Check(); err != nil {
		errs = append(errs, err)
	}
	if err := nix.StoreDir(c.StoreDir).Validate(); err != nil {
		bad("store-dir: %w", err)
	}
	if _, _, err := parseBuilder(c.Builder); c.Builder != "" && err != nil {
		bad("builder: %w", err)
	}
	if _, err := c.nixKeys(); err != nil {
		bad("trusted-keys: %w", err)
	}
	if c.KeepSent < 1 {
		bad("keep-sent: %d is not a number of statements to keep, 1 or more", c.KeepSent)
	}
	for _, from := range c.PublicFrom {
		if _, err := readSource(from, nix.StoreDir(c.StoreDir)); err != nil {
			bad("public-from: %w", err)
		}
	}
	if len(errs) > 0 {
		return &send.ConfigError{Err: errors.Join(errs...)}
	}
	return nil
}

package submit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
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
	// Log is the URL of the log, http:// or https://.
	Log string `toml:"log"`
	// LogPolicy is a C2SP tlog-policy file: whose checkpoints are believed.
	LogPolicy string `toml:"log-policy"`
	// Origin names the log if the policy has several.
	Origin string `toml:"origin"`
	// Key is the key that signs, as `firn key show` takes it: file:PATH,
	// agent:WHICH or ssh-keygen:PATH.
	Key string `toml:"key"`
	// UseLoginKey allows a key that also logs in.
	UseLoginKey bool `toml:"use-login-key"`
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
	// State is the folder with remembered checkpoints and evidence; firn in
	// the state folder of the user.
	State string `toml:"state"`
	// Evidence says what is run when the log is caught with two histories.
	Evidence evidence.HookConfig `toml:"evidence"`
	// KeepSent is how many sent statements stay in the spool with their proofs;
	// 10000. Older ones are removed: they are in the log.
	KeepSent int `toml:"keep-sent"`
	// Interval is how often the spool is looked at; "5s".
	Interval Duration `toml:"interval"`
	// MaxPause bounds the pause between tries to reach the log; "5m".
	MaxPause Duration `toml:"max-pause"`
}

// Duration is a time.Duration written as "10s" or "5m". It is a struct so that a
// bare number, which would be nanoseconds, is refused.
type Duration struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler; negative ones are refused.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err == nil && v <= 0 {
		err = fmt.Errorf("%q is not longer than nothing", b)
	}
	d.Duration = v
	return err
}

// ConfigError is an error of the configuration, which may have several.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// LoadConfig reads the file at path and fills in what it leaves open from the
// environment. It does not check it: see Check. A file that does not exist is an
// error matching fs.ErrNotExist, one that is not a configuration a *ConfigError.
func LoadConfig(path string, getenv func(string) string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c Config
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&c); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			var keys []string
			for _, e := range strict.Errors {
				keys = append(keys, strings.Join(e.Key(), "."))
			}
			return nil, &ConfigError{fmt.Errorf("%s: unknown names: %s", path, strings.Join(keys, ", "))}
		}
		return nil, &ConfigError{fmt.Errorf("%s: %w", path, err)}
	}
	dir := filepath.Dir(path)
	for _, p := range []*string{&c.LogPolicy, &c.Spool, &c.Store, &c.State} {
		*p = under(dir, *p)
	}
	for i, p := range c.PublicFrom {
		if !strings.HasPrefix(p, closurePrefix) {
			c.PublicFrom[i] = under(dir, p)
		}
	}
	c.Key = keyUnder(dir, c.Key)
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

func under(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// keyUnder is under for the path in a key; a key of an agent is none.
func keyUnder(dir, key string) string {
	for _, prefix := range []string{"file:", "ssh-keygen:"} {
		if path, ok := strings.CutPrefix(key, prefix); ok {
			return prefix + under(dir, path)
		}
	}
	if strings.HasPrefix(key, "agent:") {
		return key
	}
	return under(dir, key)
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
		c.Interval = Duration{5 * time.Second}
	}
	if c.MaxPause.Duration == 0 {
		c.MaxPause = Duration{5 * time.Minute}
	}
}

// Check returns a *ConfigError with everything that is wrong, or nil. It reads
// the files that c names, but not the key and nothing over the network.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.Log == "":
		bad("log: the URL of the log is missing")
	case !strings.HasPrefix(c.Log, "http://") && !strings.HasPrefix(c.Log, "https://"):
		bad("log: %q is not an http or https URL", c.Log)
	}
	if c.Key == "" {
		bad("key: the key that signs is missing")
	}
	if c.LogPolicy == "" {
		bad("log-policy: the file that says whose checkpoints are believed is missing")
	} else if _, err := c.policy(); err != nil {
		bad("log-policy: %w", err)
	}
	if err := nix.StoreDir(c.StoreDir).Validate(); err != nil {
		bad("store-dir: %w", err)
	}
	if _, _, err := parseBuilder(c.Builder); c.Builder != "" && err != nil {
		bad("builder: %w", err)
	}
	if c.KeepSent < 1 {
		bad("keep-sent: %d is not a number of statements to keep, 1 or more", c.KeepSent)
	}
	for _, from := range c.PublicFrom {
		if _, err := readSource(from, nix.StoreDir(c.StoreDir)); err != nil {
			bad("public-from: %w", err)
		}
	}
	if _, err := evidence.NewHooks(c.Evidence, nil); err != nil {
		bad("%w", err)
	}
	if len(errs) > 0 {
		return &ConfigError{errors.Join(errs...)}
	}
	return nil
}

func (c *Config) policy() (*policy.Policy, error) {
	b, err := os.ReadFile(c.LogPolicy)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.LogPolicy, err)
	}
	return p, nil
}

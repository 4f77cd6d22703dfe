package send

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/firn-log/firn/internal/tomlfile"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

// Config says to which log is sent and who signs. A program that sends embeds it
// in its own configuration, a TOML file that is read with [Decode].
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
	// State is the folder with remembered checkpoints and evidence; firn in
	// the state folder of the user.
	State string `toml:"state"`
	// Evidence says what is run when the log is caught with two histories.
	Evidence evidence.HookConfig `toml:"evidence"`
}

// ConfigError is an error of the configuration, which may have several.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// Decode reads the TOML file at path strictly into v: an unknown name is an
// error. A file that does not exist is an error matching fs.ErrNotExist, one that
// is not a configuration a *ConfigError.
func Decode(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	err = toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(v)
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var keys []string
		for _, e := range strict.Errors {
			keys = append(keys, strings.Join(e.Key(), "."))
		}
		return &ConfigError{fmt.Errorf("%s: unknown names: %s", path, strings.Join(keys, ", "))}
	}
	if err != nil {
		return &ConfigError{tomlfile.Fault(path, err)}
	}
	return nil
}

// Under returns path as it is meant in a configuration in the folder dir: a
// relative one is relative to it. "" stays "".
func Under(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// Below makes the relative paths of c those of a configuration in the folder dir.
func (c *Config) Below(dir string) {
	c.LogPolicy, c.State = Under(dir, c.LogPolicy), Under(dir, c.State)
	c.Key = keyUnder(dir, c.Key)
}

// keyUnder is Under for the path in a key; a key of an agent is none.
func keyUnder(dir, key string) string {
	for _, prefix := range []string{"file:", "ssh-keygen:"} {
		if path, ok := strings.CutPrefix(key, prefix); ok {
			return prefix + Under(dir, path)
		}
	}
	if strings.HasPrefix(key, "agent:") {
		return key
	}
	return Under(dir, key)
}

// Check returns all that is wrong with c, joined, or nil. It reads the files that
// c names, but not the key and nothing over the network.
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
	if _, err := evidence.NewHooks(c.Evidence, nil); err != nil {
		bad("%w", err)
	}
	return errors.Join(errs...)
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

// Duration is a time.Duration written as "10s" or "5m". It is a struct so that a
// bare number, which would be nanoseconds, is refused.
type Duration struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler; negative ones are refused.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	switch {
	case err != nil:
		err = fmt.Errorf("%q is not a duration such as \"10s\" or \"1h\"", b)
	case v <= 0:
		err = fmt.Errorf("%q is not longer than nothing", b)
	}
	d.Duration = v
	return err
}

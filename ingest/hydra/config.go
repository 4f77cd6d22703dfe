package hydra

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
)

// Config is the configuration of `firn import hydra --config`, a TOML file that is
// read strictly: an unknown name is an error. Relative paths are relative to the
// file's folder (spec/import.md#configuration-for-a-hydra).
//
//	log          = "https://log.example"
//	log-policy   = "log.policy"
//	key          = "file:import.key"
//	cache        = "https://cache.example"
//	trusted-keys = ["cache.example-1:..."]
//	every        = "10m"
//
//	[[jobset]]
//	url    = "https://hydra.example"
//	jobset = "nixpkgs/trunk"
type Config struct {
	// Config says which log, and whose key signs eval and closure statements.
	send.Config
	// Every is the pause between two rounds; without it there is one round.
	Every send.Duration `toml:"every"`
	// Cache is the address of the binary cache that has what the jobsets build.
	Cache string `toml:"cache"`
	// TrustedKeys are the Nix keys, "name:base64", whose signatures are sent.
	TrustedKeys []string `toml:"trusted-keys"`
	// Jobs is how many narinfos are asked for at once; 16.
	Jobs int `toml:"jobs"`
	// CacheRate is how many requests a second the cache gets at most; see
	// bincache.ClientOptions.
	CacheRate float64 `toml:"cache-rate"`
	// Spool is the folder with events that `firn import hydra --event` leaves.
	Spool string `toml:"spool"`
	// Jobsets are imported one after the other.
	Jobsets []JobsetConfig `toml:"jobset"`
}

// JobsetConfig is one jobset in a Config.
type JobsetConfig struct {
	// URL is the address of the Hydra.
	URL string `toml:"url"`
	// Jobset is PROJECT/JOBSET.
	Jobset string `toml:"jobset"`
	// Since is the least number of an evaluation that is wanted.
	Since uint64 `toml:"since"`
	// MaxEvals is how many evaluations are imported in a round; 0 is no bound.
	MaxEvals int `toml:"max-evals"`
	// Rate is how many requests a second the Hydra gets at most; 0 is 2.
	Rate float64 `toml:"rate"`
}

// LoadConfig reads the file at path. It does not check it: see Check. Errors are
// those of [send.Decode].
func LoadConfig(path string) (*Config, error) {
	c := &Config{}
	if err := send.Decode(path, c); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	c.Below(dir)
	c.Spool = send.Under(dir, c.Spool)
	return c, nil
}

// Check returns a *send.ConfigError with everything that is wrong, or nil. It reads
// the files that c names, but not the key and nothing over the network.
func (c *Config) Check() error {
	common := c.Config
	if len(c.Jobsets) == 0 && common.Key == "" {
		common.Key = "not needed"
	}
	if err := errors.Join(common.Check(), c.CheckSources()); err != nil {
		return &send.ConfigError{Err: err}
	}
	return nil
}

// CheckSources is Check of all but the log and the key.
func (c *Config) CheckSources() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Cache == "" {
		bad("cache: the address of the binary cache is missing")
	} else if err := bincache.CheckURL(c.Cache); err != nil {
		bad("cache: %w", err)
	}
	if keys, err := cache.ParseKeys(c.TrustedKeys); err != nil {
		bad("trusted-keys: %w", err)
	} else if len(keys) == 0 {
		bad("trusted-keys: no key is listed, so no signature counts")
	}
	if c.Jobs < 0 || c.Jobs > cache.MaxJobs {
		bad("jobs: %d is not between 1 and %d", c.Jobs, cache.MaxJobs)
	}
	if len(c.Jobsets) == 0 && c.Spool == "" {
		bad("there is neither a jobset nor a spool")
	}
	seen := make(map[string]bool)
	for _, j := range c.Jobsets {
		h, err := Open(j.URL, bincache.ClientOptions{})
		name, err2 := ParseJobsetName(j.Jobset)
		switch err = errors.Join(err, err2); {
		case err != nil:
			bad("jobset %s: %w", j.Jobset, err)
		case seen[h.URL()+" "+name.String()]:
			bad("jobset %s: it is listed twice", j.Jobset)
		case j.MaxEvals < 0:
			bad("jobset %s: max-evals: %d is negative", j.Jobset, j.MaxEvals)
		default:
			seen[h.URL()+" "+name.String()] = true
		}
	}
	return errors.Join(errs...)
}

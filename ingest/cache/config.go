package cache

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
)

// Config is the configuration of `firn import cache --config`, a TOML file that is
// read strictly: an unknown name is an error. Relative paths are relative to the
// file's folder (spec/import.md#configuration).
//
//	log        = "https://log.example"
//	log-policy = "log.policy"
//
//	[[cache]]
//	url          = "https://cache.example"
//	trusted-keys = ["cache.example-1:..."]
//	roots        = ["roots"]
type Config struct {
	// Config says which log. Its key is only for observed statements.
	send.Config
	// Every is the pause between two rounds; without it there is one round.
	Every send.Duration `toml:"every"`
	// Observed makes observed statements too, signed by key.
	Observed bool `toml:"observed"`
	// Jobs is how many narinfos are asked for at once; 16.
	Jobs int `toml:"jobs"`
	// Caches are imported one after the other.
	Caches []CacheConfig `toml:"cache"`
}

// CacheConfig is one cache in a Config.
type CacheConfig struct {
	// URL is the address of the cache.
	URL string `toml:"url"`
	// TrustedKeys are the Nix keys, "name:base64", whose signatures are sent.
	TrustedKeys []string `toml:"trusted-keys"`
	// Paths are store paths whose closures are imported.
	Paths []string `toml:"paths"`
	// Roots are files with a store path in each line; they are read in each round.
	Roots []string `toml:"roots"`
	// All imports everything in a cache that is a folder.
	All bool `toml:"all"`
	// Rate is how many requests a second the cache gets at most; see bincache.ClientOptions.
	Rate float64 `toml:"rate"`
	// CheckNars reads and hashes the NAR of each path that is new.
	CheckNars bool `toml:"check-nars"`
}

// LoadConfig reads the file at path. It does not check it: see Check. A file that
// does not exist is an error matching fs.ErrNotExist, one that is not a
// configuration a *send.ConfigError.
func LoadConfig(path string) (*Config, error) {
	c := &Config{}
	if err := send.Decode(path, c); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	c.Below(dir)
	for i := range c.Caches {
		for j, file := range c.Caches[i].Roots {
			c.Caches[i].Roots[j] = send.Under(dir, file)
		}
	}
	return c, nil
}

// Check returns a *send.ConfigError with everything that is wrong, or nil. It reads the
// files that c names, but not the key and nothing over the network.
func (c *Config) Check() error {
	common := c.Config
	if !c.Observed && common.Key == "" {
		common.Key = "not needed"
	}
	errs := []error{common.Check()}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Jobs < 0 || c.Jobs > MaxJobs {
		bad("jobs: %d is not between 1 and %d", c.Jobs, MaxJobs)
	}
	if len(c.Caches) == 0 {
		bad("cache: there is none")
	}
	for i := range c.Caches {
		cc := &c.Caches[i]
		if err := cc.check(c.Observed); err != nil {
			bad("cache %s: %w", cc.URL, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return &send.ConfigError{Err: err}
	}
	return nil
}

// MaxJobs bounds Options.Jobs.
const MaxJobs = 256

func (c *CacheConfig) check(observed bool) error {
	errs := []error{bincache.CheckURL(c.URL)}
	if observed && strings.HasPrefix(c.URL, "file:") {
		errs = append(errs, errFolderObserved)
	}
	if keys, err := ParseKeys(c.TrustedKeys); err != nil {
		errs = append(errs, fmt.Errorf("trusted-keys: %w", err))
	} else if len(keys) == 0 {
		errs = append(errs, errors.New("trusted-keys: no key is listed, so no signature counts"))
	}
	if c.All && !strings.HasPrefix(c.URL, "file:") {
		errs = append(errs, errors.New("all: only a cache in a folder, file:///FOLDER, can be listed"))
	}
	roots, err := c.ReadRoots()
	if err == nil && !roots.All && len(c.Roots) == 0 && len(roots.Paths) == 0 {
		err = errors.New("neither paths nor roots nor all say what is imported")
	}
	return errors.Join(append(errs, err)...)
}

var errFolderObserved = errors.New("observed: a cache in a folder has no address that others could look at")

// ReadRoots returns what is imported now.
func (c *CacheConfig) ReadRoots() (Roots, error) {
	roots := Roots{All: c.All}
	for _, text := range c.Paths {
		p, err := nix.ParseStorePath(text)
		if err != nil {
			return roots, fmt.Errorf("paths: %w", err)
		}
		roots.Paths = append(roots.Paths, p)
	}
	for _, file := range c.Roots {
		paths, err := readRootFile(file)
		if err != nil {
			return roots, fmt.Errorf("roots: %w", err)
		}
		roots.Paths = append(roots.Paths, paths...)
	}
	return roots, nil
}

func readRootFile(name string) ([]nix.StorePath, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadPaths(f, name)
}

// ReadPaths reads a store path from each line; what begins with "#" is a comment.
// name is for errors.
func ReadPaths(r io.Reader, name string) ([]nix.StorePath, error) {
	var paths []nix.StorePath
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		p, err := nix.ParseStorePath(text)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, n, err)
		}
		paths = append(paths, p)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return paths, nil
}

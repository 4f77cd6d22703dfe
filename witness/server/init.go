package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/witness"
)

// InitOptions is what Init makes a witness from.
type InitOptions struct {
	Name string // of the key, for instance "witness.example/w1"
	// Change edits the configuration before it is checked and written; nil
	// changes nothing.
	Change func(*Config)
}

// Init makes a new witness in dir, which must be missing or empty, and returns
// its verifier key.
func Init(dir string, o InitOptions) (vkey string, err error) {
	if err := mustBeEmpty(dir); err != nil {
		return "", err
	}
	c := DefaultConfig()
	c.Name = o.Name
	if o.Change != nil {
		o.Change(c)
	}
	if err := c.Check(); err != nil {
		return "", err
	}
	key, text, err := witness.GenerateKey(c.Name)
	if err != nil {
		return "", &ConfigError{fmt.Errorf("name: %w", err)}
	}
	config, err := c.marshal()
	if err != nil {
		return "", err
	}
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := durable.CreateFile(filepath.Join(dir, c.Key), []byte(text+"\n"), 0o600); err != nil {
		return "", err
	}
	if err := witness.CreateStore(dir); err != nil {
		return "", err
	}
	// The configuration comes last: without it nothing here is a witness.
	return key.Verifier().String(), durable.CreateFile(filepath.Join(dir, ConfigName), config, 0o644)
}

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() == ConfigName {
			return fmt.Errorf("there is a witness in %s already", dir)
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	return nil
}

// ReadKey reads the key file and refuses one that others may read.
func ReadKey(dir string, c *Config) (*witness.Key, error) {
	path := inDir(dir, c.Key)
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the witness: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the key of the witness, %s, can be read or changed by others (mode %04o): chmod 600 it", path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the witness: %w", err)
	}
	k, err := witness.ParseKey(strings.TrimSuffix(string(b), "\n"))
	if err != nil {
		return nil, fmt.Errorf("the key of the witness, %s: %w", path, err)
	}
	if name := k.Verifier().Name; name != c.Name {
		return nil, fmt.Errorf("the key of the witness, %s, has the name %q, and the configuration says %q", path, name, c.Name)
	}
	return k, nil
}

// VKey returns the verifier key of the witness in dir.
func VKey(dir string) (string, error) {
	c, err := ReadConfig(filepath.Join(dir, ConfigName))
	if err != nil {
		return "", err
	}
	k, err := ReadKey(dir, c)
	if err != nil {
		return "", err
	}
	return k.Verifier().String(), nil
}

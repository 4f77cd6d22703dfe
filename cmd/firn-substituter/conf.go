package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/verify"
)

// configName is the name of the configuration in a substituter's folder.
const configName = "firn-substituter.toml"

// config is firn-substituter.toml (spec/substituter.md#configuration). Unknown names are
// refused; paths are relative to the substituter's folder.
type config struct {
	// Policy is the firn.policy, which is read again when it changes.
	Policy string `toml:"policy" comment:"The firn.policy. It is read again when it changes; one that has mistakes changes nothing."`
	// Key is the file with the key that signs narinfos for this machine.
	Key string `toml:"key" comment:"File with the key that signs for this machine's Nix; nobody else may be able to read it."`
	// Listen is an address of this machine, and a port. With socket activation it counts for nothing.
	Listen string `toml:"listen" comment:"Address and port, of this machine only. A socket of systemd goes before it."`
	// Hosts are names, without port, by which requests may call this machine beside localhost.
	Hosts []string `toml:"hosts" comment:"Names by which requests may call it, beside localhost, 127.0.0.1 and ::1."`
	// Submit posts signatures of upstreams that the policy calls public to the log.
	Submit bool `toml:"submit" comment:"Post signatures of upstreams that the policy calls public, where no log has them."`
	// Decisions is how many decisions are kept.
	Decisions int `toml:"decisions" comment:"How many decisions are kept."`
	// Evidence is what is run when a log is caught.
	Evidence evidence.HookConfig `toml:"evidence" comment:"What is run with new evidence against a log: a command that reads it, or a URL that it is posted to."`
}

func defaultConfig() *config {
	return &config{
		Key: "substituter.key", Listen: "127.0.0.1:8474", Hosts: []string{}, Submit: true, Decisions: 200_000,
		Evidence: evidence.HookConfig{Command: []string{}},
	}
}

// readConfig reads and checks the configuration of the folder dir, which may be elsewhere. All
// problems are in one error.
func readConfig(path, dir string) (*config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := defaultConfig()
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(c); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			return nil, fmt.Errorf("%s: unknown settings:\n%s", path, strict.String())
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, file := range []*string{&c.Policy, &c.Key} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(dir, *file)
		}
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s:\n%w", path, err)
	}
	return c, nil
}

func (c *config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Policy == "" {
		bad("policy: the name of the firn.policy is missing")
	}
	if c.Key == "" {
		bad("key: want the name of a file")
	}
	host, port, err := net.SplitHostPort(c.Listen)
	ip := net.ParseIP(host)
	switch {
	case err != nil || port == "":
		bad("listen: %q is not an address and a port", c.Listen)
	case host != "localhost" && (ip == nil || !ip.IsLoopback()):
		bad("listen: %q is not an address of this machine alone, such as 127.0.0.1; each machine has its own substituter, with its own policy", c.Listen)
	}
	for i, h := range c.Hosts {
		c.Hosts[i] = strings.ToLower(h)
		if h == "" || strings.ContainsAny(h, ":/ *") {
			bad("hosts: %q is not a name without port", h)
		}
	}
	if c.Decisions < 1000 || c.Decisions > 10_000_000 {
		bad("decisions: %d is not between 1,000 and 10,000,000", c.Decisions)
	}
	if _, err := evidence.NewHooks(c.Evidence, nil); err != nil {
		bad("evidence: %w", err)
	}
	return errors.Join(errs...)
}

// marshal returns the configuration with a comment above each setting.
func (c *config) marshal() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# A firn substituter. See spec/substituter.md#configuration; try a change with:\n# firn-substituter serve --check DIR\n\n")
	enc := toml.NewEncoder(&b)
	enc.SetIndentTables(false)
	enc.SetArraysMultiline(false)
	err := enc.Encode(c)
	return b.Bytes(), err
}

// readKey reads the key that signs.
func readKey(path string) (nix.SecretKey, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nix.SecretKey{}, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nix.SecretKey{}, fmt.Errorf("others can read %s: chmod 600 %s", path, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nix.SecretKey{}, err
	}
	key, err := nix.ParseSecretKey(string(b))
	if err != nil {
		return nix.SecretKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// readPolicy reads a policy, and returns with it the bytes of all files that it consists of.
func readPolicy(path string) (pol *verify.Policy, text []byte, err error) {
	text, err = os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	all := bytes.Clone(text)
	pol, err = verify.ParsePolicy(path, text, func(file string) ([]byte, error) {
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		b, err := os.ReadFile(file)
		all = append(append(all, 0), b...)
		return b, err
	})
	return pol, all, err
}

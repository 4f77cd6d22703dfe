package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
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
	_, numberErr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || numberErr != nil:
		bad("listen: %q is not an address and a port, such as 127.0.0.1:8474", c.Listen)
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

// open reads and checks the configuration of the substituter in dir, which is in the file path, or in
// its own if path is "". Failures say what to do.
func open(path, dir string) (*config, error) {
	if path == "" {
		path = filepath.Join(dir, configName)
	}
	c, err := readConfig(path, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail(exitUsage, "make one with: firn-substituter init --policy FILE "+dir, fmt.Errorf("there is no substituter in %s: %w", dir, err))
	case errors.Is(err, fs.ErrPermission):
		return nil, fail(exitFailed, "run this as the user that it belongs to, as with sudo -u firn-substituter", err)
	case err != nil:
		return nil, fail(exitUsage, "", err)
	}
	return c, nil
}

// readKey reads the key that signs. Failures say what to do.
func readKey(path string) (nix.SecretKey, error) {
	const again = "move the folder away and make another one with firn-substituter init; then its new key goes into nix.conf"
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nix.SecretKey{}, fail(exitUsage, again, fmt.Errorf("the key is missing: %w", err))
	}
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		return nix.SecretKey{}, fail(exitUsage, "chmod 600 "+path, fmt.Errorf("others can read %s, and sign with it what this machine takes", path))
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nix.SecretKey{}, fail(exitFailed, "run this as the user that it belongs to, as with sudo -u firn-substituter", fmt.Errorf("reading the key: %w", err))
	}
	key, err := nix.ParseSecretKey(string(b))
	if err != nil {
		return nix.SecretKey{}, fail(exitUsage, again, fmt.Errorf("%s: %w", path, err))
	}
	return key, nil
}

// usePolicy is readPolicy for a substituter that begins. Failures say what to do.
func usePolicy(path string) (pol *verify.Policy, text []byte, err error) {
	pol, text, err = readPolicy(path)
	var wrong verify.PolicyErrors
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fail(exitUsage, "firn policy init makes one", fmt.Errorf("there is no policy: %w", err))
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, fail(exitUsage, "put it where firn-substituter can read it, such as /etc/firn", fmt.Errorf("reading the policy: %w", err))
	case errors.As(err, &wrong):
		return nil, nil, fail(exitUsage, "correct the policy; firn policy check "+path+" says when it is good", fmt.Errorf("the policy is wrong:\n%w", err))
	case err != nil:
		return nil, nil, fail(exitUsage, "", fmt.Errorf("reading the policy: %w", err))
	case len(pol.Upstreams) == 0:
		return nil, nil, fail(exitUsage, "say where paths come from, in a line: upstream URL key NAME:BASE64",
			fmt.Errorf("%s has no upstream line, so there is nothing to serve from", path))
	}
	return pol, text, nil
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

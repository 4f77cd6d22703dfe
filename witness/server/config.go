// Package server is the HTTP interface of a witness, and its directory: what
// firn-witness serves (spec/witness.md).
package server

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/firn-log/firn/internal/tomlfile"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness"
)

// ConfigName is the name of the configuration in a witness's directory.
const ConfigName = "firn-witness.toml"

// Config is firn-witness.toml. Unknown settings are refused. Durations are
// written "5s", "10m"; paths are relative to the witness's directory.
type Config struct {
	// Name is the name of the witness's key. It is given to firn-witness init and
	// never changed.
	Name string `toml:"name" comment:"Names the witness. Belongs to the key; never change either."`
	// Key is the file with the private key. No other user may be able to read it.
	// Default "witness.key".
	Key string `toml:"key" comment:"File with the private key; nobody else may be able to read it."`
	// Listen is where the HTTP interface listens. Default "127.0.0.1:8480".
	Listen string `toml:"listen" comment:"Address and port of the HTTP interface."`
	// SubmissionPrefix and MonitoringPrefix are the paths below which logs submit
	// and everybody reads: "" or "/some/path".
	SubmissionPrefix string `toml:"submission-prefix" comment:"Path before /add-checkpoint, for instance \"/w\"."`
	MonitoringPrefix string `toml:"monitoring-prefix" comment:"Path before /<origin hash>/checkpoint."`
	// LogLists are files, or http and https URLs, with lists of logs in the form
	// logs/v0. A list adds logs; it never changes one.
	LogLists []string `toml:"log-lists" comment:"Files or URLs with lists of logs (logs/v0). A list adds logs; it never changes or removes one."`
	// ListInterval is how often the lists are read. Default 1h.
	ListInterval Duration `toml:"list-interval" comment:"How often the lists are read."`

	Budgets  BudgetConfig        `toml:"budgets" comment:"What is answered."`
	Evidence evidence.HookConfig `toml:"evidence" comment:"What is run with new evidence against a log: a command that reads it, or a URL that it is posted to."`
	// Logs are the logs that are witnessed whatever lists say.
	Logs []LogConfig `toml:"log,omitempty" comment:"Logs that are witnessed whatever lists say."`
	// Peers keep checkpoints that this witness has cosigned.
	Peers []PeerConfig `toml:"peer,omitempty" comment:"Who keeps checkpoints that this witness has cosigned. They are asked at start, and after a\nrestore nothing is cosigned before one has answered."`
}

// LogConfig is one log.
type LogConfig struct {
	VKey    string   `toml:"vkey" comment:"Verifier key of the log."`
	More    []string `toml:"more-vkeys,omitempty" comment:"Further keys that it may sign with."`
	Origin  string   `toml:"origin,omitempty" comment:"First line of its checkpoints, if that is not the name of the key."`
	QPD     uint64   `toml:"qpd,omitempty" comment:"Requests a day, instead of what [budgets] says."`
	Contact string   `toml:"contact,omitempty"`
}

// PeerConfig is one peer.
type PeerConfig struct {
	// URL is a monitoring prefix: URL/<origin hash>/checkpoint is asked.
	URL string `toml:"url"`
}

// BudgetConfig bounds what is answered (spec/witness.md#budgets).
type BudgetConfig struct {
	// QPD is the requests a day of a log that has no number of its own; 0 is no
	// limit.
	QPD uint64 `toml:"qpd" comment:"Requests a day of a log that has no number of its own; 0 is no limit."`
	// BodyMemory is how many bytes of requests are held at once, at least 1 MiB. Default
	// 16 MiB.
	BodyMemory int64 `toml:"body-memory" comment:"Bytes of requests held at once; more are asked to come back."`
}

// minBodyMemory has room for the longest request there is.
const minBodyMemory = 1 << 20

// Duration is a time.Duration that is written as text.
type Duration struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(b))
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// DefaultConfig returns the configuration of a new witness without a name.
func DefaultConfig() *Config {
	return &Config{
		Key: "witness.key", Listen: "127.0.0.1:8480", LogLists: []string{}, ListInterval: Duration{time.Hour},
		Budgets: BudgetConfig{BodyMemory: 16 << 20}, Evidence: evidence.HookConfig{Command: []string{}},
		Logs: []LogConfig{}, Peers: []PeerConfig{},
	}
}

// ReadConfig reads and checks a configuration. All problems are in one error.
func ReadConfig(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	return parseConfig(path, b)
}

func parseConfig(path string, b []byte) (*Config, error) {
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

// ConfigError holds every problem of a configuration.
type ConfigError struct{ err error }

func (e *ConfigError) Error() string { return e.err.Error() }
func (e *ConfigError) Unwrap() error { return e.err }

// Check returns every problem of the configuration, joined in a *ConfigError.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Name == "" {
		bad("name: it is missing")
	}
	if c.Key == "" {
		bad("key: want the name of a file")
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		bad("listen: %q is not an address and a port", c.Listen)
	}
	for setting, p := range map[string]string{"submission-prefix": c.SubmissionPrefix, "monitoring-prefix": c.MonitoringPrefix} {
		if p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || strings.ContainsAny(p, "{}?# ") || strings.Contains(p, "//")) {
			bad("%s: %q is not empty and not a path like \"/w\"", setting, p)
		}
	}
	if c.ListInterval.Duration < time.Minute {
		bad("list-interval: %v is less than a minute", c.ListInterval.Duration)
	}
	if c.Budgets.BodyMemory < minBodyMemory {
		bad("budgets.body-memory: %d is less than %d", c.Budgets.BodyMemory, minBodyMemory)
	}
	for _, p := range c.Peers {
		if !isURL(p.URL) {
			bad("peer: %q is not an http or https URL", p.URL)
		}
	}
	if _, err := evidence.NewHooks(c.Evidence, nil); err != nil {
		bad("evidence: %w", err)
	}
	if _, err := c.logs(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return &ConfigError{errors.Join(errs...)}
	}
	return nil
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// logs returns the configured logs.
func (c *Config) logs() ([]witness.Log, error) {
	var logs []witness.Log
	var errs []error
	origins := make(map[string]bool)
	for i, lc := range c.Logs {
		l := witness.Log{Origin: lc.Origin, QPD: lc.QPD, Contact: lc.Contact}
		for _, vkey := range append([]string{lc.VKey}, lc.More...) {
			k, err := policy.ParseKey(vkey)
			if err == nil && k.Type == policy.TypeCosignature {
				err = fmt.Errorf("%s is the key of a witness (type 0x04), not of a log", k.Name)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("log %d: %w", i+1, err))
				continue
			}
			l.Keys = append(l.Keys, k)
			if l.Origin == "" {
				l.Origin = k.Name
			}
		}
		if l.QPD == 0 {
			l.QPD = c.Budgets.QPD
		}
		if origins[l.Origin] {
			errs = append(errs, fmt.Errorf("log %d: %q is there already", i+1, l.Origin))
		}
		origins[l.Origin] = true
		logs = append(logs, l)
	}
	return logs, errors.Join(errs...)
}

// marshal returns the configuration with a comment above each setting.
func (c *Config) marshal() ([]byte, error) {
	var b strings.Builder
	b.WriteString("# A firn witness. See spec/witness.md#configuration; try a change with: firn-witness serve --check DIR\n\n")
	enc := toml.NewEncoder(&b)
	enc.SetIndentTables(false)
	enc.SetArraysMultiline(false)
	if err := enc.Encode(c); err != nil {
		return nil, err
	}
	b.WriteString(configExamples)
	return []byte(b.String()), nil
}

// configExamples stands at the end of a new configuration.
const configExamples = `
# A log that is witnessed whatever lists say:
#
#   [[log]]
#   vkey = 'log.example/0123abcd+…'
#   more-vkeys = []      # further keys that it may sign with
#   origin = ''          # first line of its checkpoints, if that is not the name of the key
#   qpd = 86400          # requests a day
#   contact = ''
#
# Who keeps checkpoints that this witness has cosigned. Peers are asked at start,
# and after a restore nothing is cosigned before one has answered:
#
#   [[peer]]
#   url = 'https://peer.example/witness'
`

// inDir returns path as seen from dir.
func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

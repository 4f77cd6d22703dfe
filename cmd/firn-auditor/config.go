package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/firn-log/firn/federation/audit"
	"github.com/firn-log/firn/internal/tomlfile"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/server"
)

// configName is the name of the configuration in an auditor's directory.
const configName = "firn-auditor.toml"

// config is firn-auditor.toml (spec/auditor.md#configuration). Unknown settings are
// refused; paths are relative to the auditor's directory.
type config struct {
	Name             string `toml:"name" comment:"Names the auditor. Belongs to the key; never change either."`
	Key              string `toml:"key" comment:"File with the private key; nobody else may be able to read it."`
	Listen           string `toml:"listen" comment:"Address and port of the HTTP interface."`
	PublicURL        string `toml:"public-url" comment:"Where logs and readers find this auditor, before submission-prefix."`
	SubmissionPrefix string `toml:"submission-prefix" comment:"Path before /add-checkpoint, for instance \"/a\"."`
	MonitoringPrefix string `toml:"monitoring-prefix" comment:"Path before /<origin hash>/checkpoint."`
	// Poll is how often a log is asked for its checkpoint while it sends none. Default 2s.
	Poll server.Duration `toml:"poll" comment:"How often a log is asked for its checkpoint while it sends none."`

	Evidence evidence.HookConfig `toml:"evidence" comment:"What is run with new evidence against a log or its index: a command that reads it, or a URL that it is posted to."`
	Logs     []logConfig         `toml:"log" comment:"Logs whose index is computed. Each has a map of its own below audit/."`
	Peers    []server.PeerConfig `toml:"peer,omitempty" comment:"Who keeps checkpoints that this auditor has cosigned, as of a witness."`
}

// logConfig is one log.
type logConfig struct {
	VKey    string   `toml:"vkey" comment:"Verifier key of the log, named as its origin."`
	URL     string   `toml:"url" comment:"Where it is read."`
	Mirrors []string `toml:"mirrors" comment:"Where its entries are read if it does not show them."`
}

func defaultConfig() *config {
	return &config{
		Key: "auditor.key", Listen: "127.0.0.1:8490", Poll: server.Duration{Duration: audit.DefaultPoll},
		Evidence: evidence.HookConfig{Command: []string{}}, Logs: []logConfig{}, Peers: []server.PeerConfig{},
	}
}

func readConfig(path string) (*config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	c := defaultConfig()
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(c); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			return nil, fmt.Errorf("%s: unknown settings:\n%s", path, strict.String())
		}
		return nil, tomlfile.Fault(path, err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s:\n%w", path, err)
	}
	return c, nil
}

// check returns every problem of the configuration, joined.
func (c *config) check() error {
	var errs []error
	if err := c.witness().Check(); err != nil {
		errs = append(errs, err)
	}
	if len(c.Logs) == 0 {
		errs = append(errs, errors.New("log: there is none to audit"))
	}
	if c.Poll.Duration < audit.MinPoll {
		errs = append(errs, fmt.Errorf("poll: %v is less than %v", c.Poll, audit.MinPoll))
	}
	if c.PublicURL != "" && !isURL(c.PublicURL) {
		errs = append(errs, fmt.Errorf("public-url: %q is not an http or https URL", c.PublicURL))
	}
	for i, l := range c.Logs {
		k, err := policy.ParseKey(l.VKey)
		if err == nil && k.Type != policy.TypeEd25519 {
			errs = append(errs, fmt.Errorf("log %d: an index is signed with an Ed25519 key (type 0x01), and %s is of another type", i+1, k.Name))
		}
		for _, u := range append([]string{l.URL}, l.Mirrors...) {
			if !isURL(u) {
				errs = append(errs, fmt.Errorf("log %d: %q is not an http or https URL", i+1, u))
			}
		}
	}
	return errors.Join(errs...)
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && !strings.ContainsAny(s, " \t\n")
}

// witness returns the configuration of the witness that an auditor is.
func (c *config) witness() *server.Config {
	w := server.DefaultConfig()
	w.Name, w.Key, w.Listen, w.SubmissionPrefix, w.MonitoringPrefix = c.Name, c.Key, c.Listen, c.SubmissionPrefix, c.MonitoringPrefix
	w.Evidence, w.Peers = c.Evidence, c.Peers
	for _, l := range c.Logs {
		w.Logs = append(w.Logs, server.LogConfig{VKey: l.VKey})
	}
	return w
}

// url returns where logs submit.
func (c *config) url() string {
	base := c.PublicURL
	if base == "" {
		base = "http://" + c.Listen
	}
	return strings.TrimSuffix(base, "/") + c.SubmissionPrefix
}

func (c *config) marshal() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# A firn auditor. See spec/auditor.md#configuration; try a change with: firn-auditor serve --check DIR\n\n")
	enc := toml.NewEncoder(&b)
	enc.SetIndentTables(false)
	enc.SetArraysMultiline(false)
	err := enc.Encode(c)
	return b.Bytes(), err
}

// configIn reads the configuration of the auditor in dir.
func configIn(dir string) (*config, error) { return readConfig(filepath.Join(dir, configName)) }

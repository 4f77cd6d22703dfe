package main

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

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/internal/tomlfile"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

// configName is the name of the configuration in a peer's directory.
const configName = "firn-peer.toml"

// config is firn-peer.toml (spec/federation.md#configuration). Unknown settings
// are refused. Durations are written "10s", "5m"; paths are relative to the
// peer's directory.
type config struct {
	// Name is shown to people. Default: the host name.
	Name string `toml:"name" comment:"Shown to people on the status page."`
	// Listen is where the HTTP interface listens. Default "127.0.0.1:8490".
	Listen string `toml:"listen" comment:"Address and port of the HTTP interface. Everything that it serves is public."`
	// Interval is between two questions to one log, witness or peer, 100ms to 1h.
	// Default 10s.
	Interval duration `toml:"interval" comment:"How often each log, witness and peer is asked, give or take a quarter."`
	// Policies are the files that name logs and their witnesses; at least one.
	Policies []string `toml:"policies" comment:"Files in C2SP tlog-policy form. Every log in them is followed, and read at the URL that is there."`

	Feed      feedConfig          `toml:"feed" comment:"Showing new checkpoints to the witnesses that the policies give a URL for."`
	Submit    submitConfig        `toml:"submit" comment:"Putting evidence into every log of the policies but the one that it convicts."`
	Logs      []logConfig         `toml:"log" comment:"What is special about one log: more places where its tiles are, and whether it is mirrored."`
	Witnesses []witnessConfig     `toml:"witness" comment:"Witnesses that show what they cosigned (monitoring prefix of C2SP tlog-witness)."`
	Peers     []peerConfig        `toml:"peer" comment:"Other peers: their checkpoints, evidence and mirrors are used."`
	P2P       gossipConfig        `toml:"p2p" comment:"Gossip: checkpoints and evidence reach all peers in a second (spec/gossip.md). Without it, peers ask each other over HTTP."`
	Evidence  evidence.HookConfig `toml:"evidence" comment:"What is run when new evidence is kept."`
}

// feedConfig says whether witnesses are fed.
type feedConfig struct {
	Enabled bool `toml:"enabled"`
	// QueriesPerDay is how often one witness is asked a day at most; 0 is no limit.
	QueriesPerDay uint64 `toml:"queries-per-day" comment:"How often one witness is asked a day at most; 0 is no limit."`
}

// submitConfig says whether evidence is submitted to logs.
type submitConfig struct {
	Enabled bool `toml:"enabled"`
	// Key is the file of the key that signs what is submitted.
	Key string `toml:"key" comment:"Ed25519 key that signs the statements. It conveys no authority: evidence convicts by itself."`
}

// logConfig is what is special about one log of the policies.
type logConfig struct {
	Origin string   `toml:"origin"`
	URLs   []string `toml:"urls"` // of the log and of mirrors, in order; before that of the policy
	Mirror bool     `toml:"mirror"`
}

// witnessConfig is a witness that shows what it cosigned.
type witnessConfig struct {
	Name       string `toml:"name"`
	Monitoring string `toml:"monitoring"` // prefix
}

// peerConfig is another peer.
type peerConfig struct {
	Name string `toml:"name"`
	URL  string `toml:"url"`
}

// duration is a time.Duration that is written as text.
type duration struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(b []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(b))
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (d duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func defaultConfig() *config {
	name, err := os.Hostname()
	if err != nil {
		name = "firn-peer"
	}
	return &config{
		Name: name, Listen: "127.0.0.1:8490", Interval: duration{federation.DefaultInterval},
		Policies: []string{}, Feed: feedConfig{Enabled: true}, Submit: submitConfig{Enabled: true, Key: submitKey}, Logs: []logConfig{}, Witnesses: []witnessConfig{}, Peers: []peerConfig{}, P2P: defaultGossip(),
	}
}

// readConfig reads a configuration and the policies that it names. All problems
// are in one error.
func readConfig(path, dir string) (*config, []federation.Log, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading configuration: %w", err)
	}
	c := defaultConfig()
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(c); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			return nil, nil, fmt.Errorf("%s: unknown settings:\n%s", path, strict.String())
		}
		return nil, nil, tomlfile.Fault(path, err)
	}
	logs, err := c.check(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%s:\n%w", path, err)
	}
	return c, logs, nil
}

// check returns the logs that are followed, or every problem, joined.
func (c *config) check(dir string) ([]federation.Log, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		bad("listen: %q is not an address and a port", c.Listen)
	}
	if d := c.Interval.Duration; d < 100*time.Millisecond || d > time.Hour {
		bad("interval: %v is not between 100ms and 1h", d)
	}
	if len(c.Policies) == 0 {
		bad("policies: at least one is needed; without a policy nothing is believed")
	}
	if _, err := evidence.NewHooks(c.Evidence, nil); err != nil {
		bad("evidence: %w", err)
	}
	names := map[string]bool{}
	name := func(table, name, u string) {
		if name == "" || names[name] {
			bad("%s: the name %q is empty or taken", table, name)
		}
		names[name] = true
		c.checkURL(bad, table+" "+name, u)
	}
	for _, w := range c.Witnesses {
		name("witness", w.Name, w.Monitoring)
	}
	for _, p := range c.Peers {
		name("peer", p.Name, p.URL)
	}
	c.P2P.check(bad)
	if c.Submit.Enabled && c.Submit.Key == "" {
		bad("submit: key: the file is not named")
	}
	logs := c.readPolicies(dir, bad)
	known := map[string]bool{}
	for _, l := range logs {
		known[l.Origin] = true
		if names[l.Origin] {
			bad("the name %q is that of a log", l.Origin)
		}
	}
	for _, l := range c.Logs {
		if !known[l.Origin] {
			bad("log: no policy names %q, or it is here twice", l.Origin)
		}
		known[l.Origin] = false
		for _, u := range l.URLs {
			c.checkURL(bad, "log "+l.Origin, u)
		}
	}
	return logs, errors.Join(errs...)
}

func (c *config) checkURL(bad func(string, ...any), what, s string) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		bad("%s: %q is not an http or https URL", what, s)
	}
}

func (c *config) readPolicies(dir string, bad func(string, ...any)) []federation.Log {
	var logs []federation.Log
	from := map[string]string{}
	for _, file := range c.Policies {
		path := file
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			bad("policies: %w", err)
			continue
		}
		pol, err := policy.Parse(b)
		if err != nil {
			bad("policies: %s: %w", file, err)
			continue
		}
		if len(pol.Origins()) == 0 {
			bad("policies: %s names no log", file)
		}
		for _, origin := range pol.Origins() {
			if other, twice := from[origin]; twice {
				bad("policies: %s and %s both name the log %s", other, file, origin)
				continue
			}
			from[origin] = file
			l := federation.Log{Policy: pol, Origin: origin}
			if u := pol.LogURL(origin); u != "" {
				l.URLs = []string{u}
			}
			logs = append(logs, l)
		}
	}
	return logs
}

// special returns what the configuration says of one log.
func (c *config) special(origin string) logConfig {
	for _, l := range c.Logs {
		if l.Origin == origin {
			return l
		}
	}
	return logConfig{Origin: origin}
}

// marshal returns the configuration with a comment above each setting.
func (c *config) marshal() ([]byte, error) {
	var b strings.Builder
	b.WriteString("# A firn peer. See spec/federation.md#configuration; try a change with: firn-peer serve --check DIR\n\n")
	enc := toml.NewEncoder(&b)
	enc.SetIndentTables(false)
	enc.SetArraysMultiline(false)
	if err := enc.Encode(c); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

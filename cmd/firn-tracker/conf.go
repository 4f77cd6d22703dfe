package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/tracker/follow"
)

// configName is the name of the configuration in a tracker's folder, which need not be there.
const configName = "firn-tracker.toml"

// config is firn-tracker.toml (docs/tracker.md#configuration). Unknown names are refused;
// paths are relative to the tracker's folder.
type config struct {
	// Listen is an address and a port. With socket activation it counts for nothing.
	Listen string `toml:"listen"`
	// BaseURL is where others find the tracker, for feeds and badges; "" is the host that was asked.
	BaseURL string `toml:"base-url"`
	// Title is its name on every page.
	Title string `toml:"title"`
	// Database is the address of a PostgreSQL, postgres://…; "" is a file in the folder.
	Database string `toml:"database"`
	// Policy is the firn.policy whose logs are followed and by which states are judged; PolicyName
	// is what pages call it, by default its file name.
	Policy     string `toml:"policy"`
	PolicyName string `toml:"policy-name"`
	// Logs are followed in place of a policy: then every registered operator counts.
	Logs []logConfig `toml:"log"`
	// Random are globs of attributes whose outputs are random by construction.
	Random []string `toml:"random"`
	// Poll is how often logs, and the folder with evaluations, are looked at.
	Poll send.Duration `toml:"poll"`
	// Publish says who asks rebuilders for what should be rebuilt next.
	Publish publishConfig `toml:"publish"`
	// Evidence is what is run when a log is caught.
	Evidence evidence.HookConfig `toml:"evidence"`
}

// logConfig is a log that no firn.policy names.
type logConfig struct {
	URL     string   `toml:"url"`
	Policy  string   `toml:"policy"` // C2SP tlog-policy file
	Origin  string   `toml:"origin"` // if that has several
	Mirrors []string `toml:"mirrors"`
}

// publishConfig is how the queue is published.
type publishConfig struct {
	// Key signs, a build key of the operator whom rebuilders name in work-from; "" publishes nothing.
	Key         string `toml:"key"`
	UseLoginKey bool   `toml:"use-login-key"`
	// Log is the name or address of the log that it is published in; "" is the only one.
	Log string `toml:"log"`
	// Count is how many derivations are asked for at a time.
	Count int `toml:"count"`
	// Every is how often the tracker does it by itself; nothing if it is left out.
	Every send.Duration `toml:"every"`
	// Channels are those whose queues are published; empty is all.
	Channels []string `toml:"channels"`
}

// Bounds of a published queue.
const (
	defaultCount = 200
	maxCount     = 10_000
)

func defaultConfig() *config {
	return &config{Listen: "127.0.0.1:8476", Poll: send.Duration{Duration: follow.DefaultPoll}, Publish: publishConfig{Count: defaultCount}}
}

// readConfig reads the configuration of the folder dir; without a file it is the default. A
// file that was named must be there.
func readConfig(path, dir string) (*config, error) {
	named := path != ""
	if !named {
		path = filepath.Join(dir, configName)
	}
	c := defaultConfig()
	if err := send.Decode(path, c); err != nil {
		if !named && errors.Is(err, os.ErrNotExist) {
			return c, nil
		}
		return nil, err
	}
	c.Policy = send.Under(dir, c.Policy)
	for i := range c.Logs {
		c.Logs[i].Policy = send.Under(dir, c.Logs[i].Policy)
	}
	return c, nil
}

// check returns all that is wrong.
func (c *config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" || !isPort(port) {
		bad("listen: %q is not an address and a port", c.Listen)
	}
	if u, err := url.Parse(c.BaseURL); c.BaseURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "") {
		bad("base-url: %q is not an http or https URL", c.BaseURL)
	}
	if c.Database != "" && !isPostgres(c.Database) {
		bad("database: %q is not the address of a PostgreSQL, such as postgres://USER@HOST/NAME; without it the tracker has a database of its own", c.Database)
	}
	if c.Policy != "" && len(c.Logs) > 0 {
		bad("log: the policy says which logs are followed; give one or the other")
	}
	for _, l := range c.Logs {
		if l.Policy == "" {
			bad("log %s: policy: the C2SP tlog-policy file that says whose checkpoints are believed is missing", l.URL)
		}
	}
	for _, r := range c.Random {
		if r == "" || strings.ContainsAny(r, " \n") {
			bad("random: %q is no glob of attributes", r)
		}
	}
	if c.Poll.Duration < follow.MinPoll || c.Poll.Duration > time.Hour {
		bad("poll: %v is not between %v and 1h", c.Poll.Duration, follow.MinPoll)
	}
	if c.Publish.Count < 1 || c.Publish.Count > maxCount {
		bad("publish.count: %d is not between 1 and %d", c.Publish.Count, maxCount)
	}
	if c.Publish.Every.Duration != 0 && c.Publish.Key == "" {
		bad("publish.key: the key that signs what is published is missing")
	}
	if c.Publish.Every.Duration != 0 && c.Publish.Every.Duration < time.Minute {
		bad("publish.every: %v is less than a minute", c.Publish.Every.Duration)
	}
	if _, err := evidence.NewHooks(c.Evidence, nil); err != nil {
		bad("evidence: %w", err)
	}
	return errors.Join(errs...)
}

func isPort(s string) bool {
	_, err := net.LookupPort("tcp", s)
	return err == nil
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

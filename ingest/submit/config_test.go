package submit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/durable"
)

func none(string) string { return "" }

func TestLoadConfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "submit.toml")
	load := func(text string) (*Config, error) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadConfig(path, none)
	}
	c, err := load("log = \"https://x\"\nlog-policy = \"p\"\nkey = \"file:k\"\npublic-from = [\"a\", \"/b\", \"closure:sha256:00\"]\ninterval = \"1m\"\nstate = \"s\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.LogPolicy != dir+"/p" || c.Key != "file:"+dir+"/k" || c.State != dir+"/s" || c.Interval.Duration != time.Minute ||
		strings.Join(c.PublicFrom, " ") != dir+"/a /b closure:sha256:00" {
		t.Errorf("got %+v", c)
	}
	if c.Spool != "/var/spool/firn" || c.StoreDir != "/nix/store" || c.StateDir != "/nix/var/nix" || c.Store != "" || c.MaxPause.Duration != 5*time.Minute {
		t.Errorf("defaults: %+v", c)
	}
	for key, want := range map[string]string{"k": dir + "/k", "/k": "/k", "ssh-keygen:k": "ssh-keygen:" + dir + "/k", "agent:me@host": "agent:me@host", "": ""} {
		if c, err := load("key = \"" + key + "\"\n"); err != nil || c.Key != want {
			t.Errorf("key %q became %q (%v), want %q", key, c.Key, err, want)
		}
	}
	var wrong *send.ConfigError
	for name, text := range map[string]string{
		"an unknown name":   "logs = \"x\"\n",
		"not TOML":          "log = x\n",
		"a wrong type":      "log = 1\n",
		"no duration":       "interval = \"soon\"\n",
		"a negative pause":  "max-pause = \"-1s\"\n",
		"a pause without s": "max-pause = 5\n",
	} {
		if _, err := load(text); !errors.As(err, &wrong) {
			t.Errorf("%s: %v, want a ConfigError", name, err)
		}
	}
	if _, err := LoadConfig(dir+"/none", none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if c := DefaultsOnly(func(k string) string { return map[string]string{"FIRN_SPOOL": "/s", "NIX_STATE_DIR": "/n"}[k] }); c.Spool != "/s" || c.StateDir != "/n" {
		t.Errorf("environment: %+v", c)
	}
}

func TestCheckNamesEverythingThatIsWrong(t *testing.T) {
	w := newWorld(t)
	if err := w.conf.Check(); err != nil {
		t.Errorf("a good one: %v", err)
	}
	bad := Config{Config: send.Config{Log: "file:///x"}, StoreDir: "relative", Builder: "nix", PublicFrom: []string{"/none"}}
	err := bad.Check()
	var wrong *send.ConfigError
	if !errors.As(err, &wrong) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"log: ", "key: ", "log-policy: ", "store-dir: ", "builder: ", "public-from: "} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// A crash between two states leaves both; the later one counts.
func TestRecoverKeepsTheLaterState(t *testing.T) {
	w := newWorld(t)
	name := "1732540000-01020300000000000000000000000000"
	s := w.open(w.options())
	for _, c := range []struct{ both, kept []string }{
		{[]string{"pending", "unsigned"}, []string{"unsigned"}},
		{[]string{"pending", "held"}, []string{"held"}},
		{[]string{"pending", "failed"}, []string{"failed"}},
		{[]string{"unsigned", "signed", "sent"}, []string{"sent"}},
		{[]string{"unsigned", "signed"}, []string{"unsigned", "signed"}},
		{[]string{"signed"}, nil},
	} {
		for _, dir := range c.both {
			if err := s.spool.write(dir, name, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.spool.recover(); err != nil {
			t.Fatal(err)
		}
		var kept []string
		for _, dir := range Folders() {
			if s.spool.exists(dir, name) {
				kept = append(kept, dir)
			}
			s.spool.remove(dir, name)
		}
		if strings.Join(kept, " ") != strings.Join(c.kept, " ") {
			t.Errorf("%v: kept %v, want %v", c.both, kept, c.kept)
		}
	}
	s.Close()
}

func TestStatusBlamesTheLastRun(t *testing.T) {
	w := newWorld(t)
	if st, err := ReadStatus(w.conf); err != nil || st.Exists {
		t.Errorf("no spool: %+v, %v", st, err)
	}
	drv, _ := w.drv("a", "out")
	name := w.spooled(drv)
	if state, why := w.where(name); state != Pending || why != "not looked at yet: no `firn submit` has run here" {
		t.Errorf("%s: %s", state, why)
	}
	s := w.open(w.options())
	defer s.Close()
	if err := s.spool.writeLastRun(time.Unix(7, 0), errors.Join(errors.New("one"), errors.New("two\nlines"))); err != nil {
		t.Fatal(err)
	}
	if _, why := w.where(name); why != "not looked at yet: one two lines" {
		t.Errorf("why: %q", why)
	}
	if err := durable.WriteFile(s.spool.path(submitDir, lastRunFile), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadStatus(w.conf); err == nil {
		t.Error("a last-run that is not in its form was read")
	}
}

func TestReasonFiles(t *testing.T) {
	for _, r := range []Reason{{"code", "a sentence"}, {"code", ""}} {
		if got, err := parseReason(r.marshal()); err != nil || *got != r {
			t.Errorf("%+v: got %+v, %v", r, got, err)
		}
	}
	odd := Reason{"c", "two\nlines\x00 \xff"}
	if got, err := parseReason(odd.marshal()); err != nil || strings.Contains(got.Message, "\n") {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "\n", "code\n", "code x", " x\n", "a b\nc\n"} {
		if r, err := parseReason([]byte(bad)); err == nil {
			t.Errorf("%q: accepted as %+v", bad, r)
		}
	}
}

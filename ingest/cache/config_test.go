package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/bincache/cachetest"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/log/logtest"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string]string{"import.toml": text, "log.policy": logtest.New(t).PolicyText(), "roots": "# mine\n\n" + cachetest.Path(t, "app").String() + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "import.toml")
}

const goodConfig = `
log = "https://log.example"
log-policy = "log.policy"
every = "1h"
[[cache]]
url = "https://cache.example"
trusted-keys = ["KEY"]
roots = ["roots"]
[[cache]]
url = "file:///srv/cache"
trusted-keys = ["KEY"]
all = true
`

func TestConfig(t *testing.T) {
	key := cachetest.Mine.Public().String()
	file := writeConfig(t, strings.ReplaceAll(goodConfig, "KEY", key))
	c, err := LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if roots, err := c.Caches[0].ReadRoots(); err != nil || len(roots.Paths) != 1 {
		t.Errorf("%+v, %v", roots, err)
	}
	// The files are read again each time.
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "roots"), []byte(cachetest.Path(t, "a").String()+"\n"+cachetest.Path(t, "b").String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if roots, err := c.Caches[0].ReadRoots(); err != nil || len(roots.Paths) != 2 {
		t.Errorf("%+v, %v", roots, err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"every", "evry", "unknown names: evry"},
		{`"1h"`, `"-1h"`, "is not longer than nothing"},
		{"[[cache]]", "[[caches]]", "unknown names"},
		{"https://log.example", "ftp://x", "is not an http or https URL"},
		{`"log.policy"`, `"none"`, "no such file"},
		{"https://cache.example", "cache.example", "is not the address of a binary cache"},
		{`["KEY"]`, `[]`, "no key is listed"},
		{`"KEY"`, `"x"`, "trusted-keys: "},
		{`roots = ["roots"]`, "", "neither paths nor roots nor all"},
		{`roots = ["roots"]`, `roots = ["none"]`, "no such file"},
		{`roots = ["roots"]`, `roots = ["import.toml"]`, "line 2"},
		{`roots = ["roots"]`, `paths = ["x"]`, "paths: "},
		{`roots = ["roots"]`, `all = true`, "can be listed"},
		{"every", "observed = true\nevery", "key: the key that signs is missing"},
		{"every", "observed = true\nkey=\"k\"\nevery", "has no address"},
		{"every", "jobs = 1000\nevery", "jobs: 1000"},
	} {
		text := strings.Replace(goodConfig, tt.old, tt.new, 1)
		if text == goodConfig {
			t.Fatalf("no %q", tt.old)
		}
		c, err := LoadConfig(writeConfig(t, strings.ReplaceAll(text, "KEY", key)))
		if err == nil {
			err = c.Check()
		}
		var wrong *send.ConfigError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.new, err, tt.want)
		}
	}
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const substituterKey = "this-machine-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

// setupOf runs firn substituter setup with files below dir.
func setupOf(t *testing.T, dir, url string, more ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, words bytes.Buffer
	env := map[string]string{"NIX_CONF_DIR": dir, "HOME": dir}
	a := &app{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &words, Getenv: func(name string) string { return env[name] }}
	status = run(t.Context(), a, append([]string{"substituter", "setup", "--url", url}, more...))
	return status, out.String(), words.String()
}

func TestSubstituterSetup(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status.json" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(`{"schema":1,"key":"` + substituterKey + `"}`))
	}))
	defer srv.Close()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Without any nix.conf: Nix's defaults.
	status, lines, words := setupOf(t, dir, srv.URL)
	if status != exitUntrusted || !strings.Contains(words, `trusted-public-keys is "cache.nixos.org-1:`) || !strings.Contains(lines, "substituters = "+srv.URL+"\n") {
		t.Errorf("%d\n%s%s", status, lines, words)
	}
	// What it prints is what it wants.
	write("nix.conf", lines)
	if status, _, words = setupOf(t, dir, srv.URL+"/"); status != exitOK || strings.Contains(words, "wrong") {
		t.Errorf("%d\n%s", status, words)
	}
	for text, want := range map[string]string{
		"extra-substituters = https://evil.example":                 `substituters is "` + srv.URL + ` https://evil.example"`,
		"extra-trusted-public-keys = evil-1:x":                      "trusted-public-keys is",
		"binary-cache-public-keys = evil-1:x":                       `trusted-public-keys is "evil-1:x"`,
		"require-sigs = false":                                      "require-sigs is",
		"include more.conf":                                         "fallback is",
		"!include nowhere.conf\nnarinfo-cache-negative-ttl = 7 # s": `narinfo-cache-negative-ttl is "7"`,
	} {
		write("more.conf", "fallback = true\n")
		write("nix.conf", lines+text+"\n")
		if status, _, words = setupOf(t, dir, srv.URL); status != exitUntrusted || !strings.Contains(words, want) {
			t.Errorf("%s: %d\n%s", text, status, words)
		}
	}
	// Ways around are named, and change no status.
	write("nix.conf", lines+"trusted-users = root @wheel\nbuilders = ssh://far\naccept-flake-config = true\nexperimental-features = ca-derivations\ntrusted-substituters = https://x\n")
	status, out, _ := setupOf(t, dir, srv.URL, "--json")
	var rep substituterReport
	if err := json.Unmarshal([]byte(out), &rep); err != nil || status != exitOK || rep.Exit != exitOK || len(rep.Beyond) != 9 || rep.Key != substituterKey {
		t.Errorf("%d %v %s", status, err, out)
	}
	// Errors.
	write("nix.conf", "include nix.conf\n")
	if status, _, words = setupOf(t, dir, srv.URL); status != exitFailed || !strings.Contains(words, "include each other") {
		t.Errorf("%d\n%s", status, words)
	}
	srv.Close()
	if status, _, words = setupOf(t, dir, srv.URL); status != exitFailed || !strings.Contains(words, "no substituter answers") || !strings.Contains(words, "hint: start it") {
		t.Errorf("%d\n%s", status, words)
	}
}

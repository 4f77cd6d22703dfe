package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

const substituterKey = "this-machine-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

// setupOf runs firn substituter setup with files below dir.
func setupOf(t *testing.T, dir, url string, more ...string) (status int, stdout, stderr string) {
	t.Helper()
	return setupIn(t, map[string]string{"NIX_CONF_DIR": dir, "HOME": dir, "NIX_REMOTE": "local"}, url, more...)
}

// setupIn runs firn substituter setup in an environment.
func setupIn(t *testing.T, env map[string]string, url string, more ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, words bytes.Buffer
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
	write("nix.conf", lines+"trusted-users = root @wheel\nbuilders = ssh://far\naccept-flake-config = true\ntrusted-substituters = https://x\n")
	status, out, _ := setupOf(t, dir, srv.URL, "--json")
	var rep substituterReport
	if err := json.Unmarshal([]byte(out), &rep); err != nil || status != exitOK || rep.Exit != exitOK || len(rep.Beyond) != 8 || rep.Key != substituterKey {
		t.Errorf("%d %v %s", status, err, out)
	}
	if len(rep.Files) != 1 || rep.Files[0] != filepath.Join(dir, "nix.conf") || rep.Todo != "" {
		t.Errorf("%q %q", rep.Files, rep.Todo)
	}
	// Errors.
	for _, wrong := range []string{"127.0.0.1:8474", "ftp://x", "http://"} {
		if status, _, words = setupOf(t, dir, wrong); status != exitUsage || !strings.Contains(words, "--url takes the address of a substituter") {
			t.Errorf("%s: %d\n%s", wrong, status, words)
		}
	}
	if status, _, words = setupOf(t, dir, srv.URL+"/more"); status != exitFailed || !strings.Contains(words, "is no firn-substituter: it answers 404") {
		t.Errorf("%d\n%s", status, words)
	}
	write("nix.conf", "include nix.conf\n")
	if status, _, words = setupOf(t, dir, srv.URL); status != exitFailed || !strings.Contains(words, "include each other") {
		t.Errorf("%d\n%s", status, words)
	}
	srv.Close()
	if status, _, words = setupOf(t, dir, srv.URL); status != exitFailed || !strings.Contains(words, "no substituter answers") || !strings.Contains(words, "hint: start it") {
		t.Errorf("%d\n%s", status, words)
	}
}

// A daemon heeds what a user says of these settings only if it trusts that user.
func TestSubstituterSetupKnowsWhomADaemonHeeds(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"schema":1,"key":"` + substituterKey + `"}`))
	}))
	defer srv.Close()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	etc, own := filepath.Join(dir, "nix.conf"), filepath.Join(dir, ".config/nix/nix.conf")
	_, lines, _ := setupOf(t, dir, srv.URL)
	if err := errors.Join(os.MkdirAll(filepath.Dir(own), 0o755), os.WriteFile(own, []byte(lines), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		remote, trusted string
		status          int
		words           string
	}{
		{"daemon", "nobody-at-all", exitUntrusted, "You are no trusted user of Nix, so its daemon ignores what " + own + " says of these.\n"},
		{"daemon", "nobody-at-all " + me.Username, exitOK, "Looked at: " + etc + ", " + own + ".\n"},
		{"daemon", "*", exitOK, "substitutes nothing else.\n"},
		{"daemon", "@no-such-group", exitUntrusted, "To do: ask whoever is root here to put them at the end of " + etc},
		{"local", "nobody-at-all", exitOK, "Looked at: " + etc + ", " + own + ".\n"},
	} {
		if err := os.WriteFile(etc, []byte("trusted-users = "+tt.trusted+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		status, _, words := setupIn(t, map[string]string{"NIX_CONF_DIR": dir, "HOME": dir, "NIX_REMOTE": tt.remote}, srv.URL)
		if status != tt.status || !strings.Contains(words, tt.words) {
			t.Errorf("%s, trusted %s: %d\n%s", tt.remote, tt.trusted, status, words)
		}
	}
	// Without NIX_REMOTE: by its socket, where the store is not one's own.
	a := &app{Getenv: func(name string) string {
		return map[string]string{"NIX_STATE_DIR": filepath.Join(dir, "nowhere"), "NIX_DAEMON_SOCKET_PATH": etc}[name]
	}}
	if !a.usesDaemon() {
		t.Error("a daemon is not seen")
	}
	a = &app{Getenv: func(name string) string {
		return map[string]string{"NIX_STATE_DIR": dir, "NIX_DAEMON_SOCKET_PATH": etc}[name]
	}}
	if a.usesDaemon() {
		t.Error("whoever may write to the store asks no daemon")
	}
}

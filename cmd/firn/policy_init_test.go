package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/logtest"
)

// A policy set that comes over the network is that of the pin, or nothing is written; what the server does
// on the way changes nothing.
func TestPolicySetOverHTTP(t *testing.T) {
	l := logtest.New(t)
	set := fmt.Sprintf("-- firn.policy --\nlog main file log.policy url %s\noperator a id %s\ngroup g 1 a\nrule default need g else warn\n-- log.policy --\n%s",
		l.URL(), strings.Repeat("a", 64), l.PolicyText())
	page := "<!doctype html>\n<title>Sign in</title>\n"
	huge := set + strings.Repeat("#\n", maxSet/2)
	mux := http.NewServeMux()
	serve := func(path, text string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	serve("/set", set)
	serve("/page", page)
	serve("/huge", huge)
	serve("/changed", strings.Replace(set, "operator a id a", "operator a id b", 1))
	serve("/cut", set[:len(set)-1])
	serve("/noset", "rule default need g\n")
	mux.Handle("/moved", http.RedirectHandler("/set", http.StatusFound))
	mux.Handle("/led", http.RedirectHandler("/changed", http.StatusMovedPermanently))
	mux.Handle("/file", http.RedirectHandler("file:///etc/passwd", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write([]byte(set))
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	pin := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	const changed = "is not what was pinned: its SHA-256 is "
	for _, tt := range []struct {
		path, pin string
		status    int
		words     string
	}{
		{"/set", pin(set), exitOK, ""},
		{"/set", strings.ToUpper(pin(set)), exitOK, ""},
		{"/moved", pin(set), exitOK, ""},
		{"/set", "", exitUsage, "without --pin nothing says whose keys are in it"},
		{"/set", pin(set)[:62], exitUsage, "--pin is a SHA-256, 64 hexadecimal digits"},
		{"/set", pin(page), exitUntrusted, changed + pin(set)},
		{"/changed", pin(set), exitUntrusted, changed},
		{"/led", pin(set), exitUntrusted, changed},
		{"/cut", pin(set), exitUntrusted, changed},
		{"/page", pin(set), exitUntrusted, "that is a web page; name the address of the file itself"},
		{"/page", pin(page), exitUsage, "`firn policy pack` makes one"},
		{"/noset", pin("rule default need g\n"), exitUsage, "`firn policy pack` makes one"},
		{"/huge", pin(huge), exitFailed, "has more than 4194304 bytes, and is no policy set"},
		{"/gone", pin(set), exitFailed, "answered 404 Not Found"},
		{"/loop", pin(set), exitFailed, "stopped after 10 redirects"},
		{"/file", pin(set), exitFailed, "reading the policy set: "},
		{"/broken", pin(set), exitFailed, "unexpected EOF"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			var out, words bytes.Buffer
			env := map[string]string{"HOME": t.TempDir()}
			a := &app{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &words, Getenv: func(name string) string { return env[name] }}
			args := []string{"policy", "init", "--from", srv.URL + tt.path, "--dir", dir}
			if tt.pin != "" {
				args = append(args, "--pin", tt.pin)
			}
			if status := run(t.Context(), a, args); status != tt.status || !strings.Contains(words.String(), tt.words) {
				t.Errorf("status %d, want %d: %s", status, tt.status, words.String())
			}
			got, err := os.ReadFile(filepath.Join(dir, "firn.policy"))
			if (err == nil) != (tt.status == exitOK) || err == nil && !strings.Contains(set, string(got)) {
				t.Errorf("written: %q, %v", got, err)
			}
			if tt.status == exitOK && (!strings.Contains(out.String(), "operator a\tid\t"+strings.Repeat("a", 64)) || !strings.Contains(out.String(), "checkpoint of log main\t"+l.Origin())) {
				t.Errorf("printed: %s", out.String())
			}
		})
	}
}

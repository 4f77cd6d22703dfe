package evidence_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/evidence"
)

func hooks(t *testing.T, cfg evidence.HookConfig) (*evidence.Hooks, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	h, err := evidence.NewHooks(cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return h, &log
}

func held(t *testing.T) evidence.Held {
	t.Helper()
	w := newWorld(t)
	h, _, err := evidence.NewStore(t.TempDir()).Add(w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20), w.one.Policy())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCommandGetsTheEvidenceAndNoShell(t *testing.T) {
	testreq.Command(t, "coreutils", "tee")
	out := filepath.Join(t.TempDir(), "out $(touch bad); x")
	h, log := hooks(t, evidence.HookConfig{Command: []string{"tee", out}})
	held := held(t)
	h.Run(held)
	h.Wait(t.Context())
	if b, err := os.ReadFile(out); err != nil || !bytes.Equal(b, held.Bytes) {
		t.Errorf("%q, %v, %s", b, err, log)
	}
}

func TestCommandGetsTheEnvironment(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	script := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$FIRN_EVIDENCE $FIRN_EVIDENCE_KIND $FIRN_EVIDENCE_ORIGIN $FIRN_EVIDENCE_KEY\" > \"$1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	h, log := hooks(t, evidence.HookConfig{Command: []string{script, out}})
	held := held(t)
	h.Run(held)
	h.Wait(t.Context())
	want := held.Path + " log " + held.Verdict.Origin + " " + held.Verdict.Key.String() + "\n"
	if b, err := os.ReadFile(out); err != nil || string(b) != want {
		t.Errorf("%q, %v, want %q, %s", b, err, want, log)
	}
}

func TestWebhookIsPostedAndItsRedirectNotFollowed(t *testing.T) {
	var got []byte
	var followed bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hook":
			got, _ = io.ReadAll(r.Body)
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != evidence.ContentType {
				t.Errorf("%s %v", r.Method, r.Header)
			}
		case "/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		default:
			followed = true
		}
	}))
	defer srv.Close()
	held := held(t)
	h, log := hooks(t, evidence.HookConfig{Webhook: srv.URL + "/hook"})
	h.Run(held)
	h.Wait(t.Context())
	if !bytes.Equal(got, held.Bytes) {
		t.Errorf("%q, %s", got, log)
	}
	h, log = hooks(t, evidence.HookConfig{Webhook: srv.URL + "/moved"})
	h.Run(held)
	h.Wait(t.Context())
	if followed || !strings.Contains(log.String(), "answered 307") {
		t.Errorf("followed %v, %s", followed, log)
	}
}

// A hook that hangs holds up nobody, and not more than a few hang.
func TestHooksNeverBlock(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	h, log := hooks(t, evidence.HookConfig{Webhook: srv.URL})
	held := held(t)
	for range 20 {
		h.Run(held) // returns, or this test hangs
	}
	if !strings.Contains(log.String(), "too many are running") {
		t.Errorf("%s", log)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.Wait(ctx) // returns too
	close(release)
	h.Wait(t.Context())
}

func TestBadHooksAreRefused(t *testing.T) {
	for _, cfg := range []evidence.HookConfig{
		{Command: []string{""}},
		{Command: []string{"/no/such/program"}},
		{Webhook: "ftp://x"},
		{Webhook: "/path"},
		{Webhook: "https://"},
		{Webhook: "https://%zz"},
	} {
		if _, err := evidence.NewHooks(cfg, nil); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	var none *evidence.Hooks
	none.Run(evidence.Held{})
	none.Wait(t.Context())
	h, log := hooks(t, evidence.HookConfig{Command: []string{"false"}, Webhook: "http://127.0.0.1:1/"})
	h.Run(held(t))
	h.Wait(t.Context())
	if strings.Count(log.String(), "evidence hook failed") != 2 {
		t.Errorf("%s", log)
	}
}

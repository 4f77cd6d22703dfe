package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Bounds of one hook.
const (
	commandTimeout = time.Minute
	webhookTimeout = 10 * time.Second
	// maxRunning is how many hooks run at once; more are not started.
	maxRunning = 8
)

// ContentType is the media type of evidence.
const ContentType = "application/vnd.firn.evidence"

// HookConfig says what is run when new evidence is kept
// (spec/evidence.md#hooks). Programs embed it in their configuration as
// [evidence].
type HookConfig struct {
	// Command is a program and its arguments; no shell is involved. The evidence
	// is its standard input, and FIRN_EVIDENCE the path of the file; _KIND,
	// _ORIGIN and _KEY after that name say whom it convicts. It may run for a
	// minute.
	Command []string `toml:"command"`
	// Webhook is an http or https URL to which the evidence is posted, without
	// following redirects. The answer may take 10 seconds.
	Webhook string `toml:"webhook"`
}

// Hooks runs what a HookConfig says, without ever making its caller wait. It may
// be used from several goroutines.
type Hooks struct {
	cfg  HookConfig
	log  *slog.Logger
	http *http.Client

	wg   sync.WaitGroup
	slot chan struct{}
}

// NewHooks checks a configuration. What goes wrong later is logged; a nil logger
// is slog's default.
func NewHooks(cfg HookConfig, log *slog.Logger) (*Hooks, error) {
	if len(cfg.Command) > 0 {
		if cfg.Command[0] == "" {
			return nil, errors.New("evidence hook: command names no program")
		}
		if _, err := exec.LookPath(cfg.Command[0]); err != nil {
			return nil, fmt.Errorf("evidence hook: %w", err)
		}
	}
	if cfg.Webhook != "" {
		u, err := url.Parse(cfg.Webhook)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("evidence hook: %q is not an http or https URL", cfg.Webhook)
		}
	}
	if log == nil {
		log = slog.Default()
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Hooks{cfg: cfg, log: log, http: c, slot: make(chan struct{}, maxRunning)}, nil
}

// Run starts the hooks for new evidence and returns at once. A nil Hooks does
// nothing.
func (h *Hooks) Run(held Held) {
	if h == nil {
		return
	}
	if len(h.cfg.Command) > 0 {
		h.start("command", held, h.command)
	}
	if h.cfg.Webhook != "" {
		h.start("webhook", held, h.post)
	}
}

func (h *Hooks) start(what string, held Held, run func(context.Context, Held) error) {
	log := h.log.With("hook", what, "evidence", held.Path, "kind", string(held.Verdict.Kind), "origin", held.Verdict.Origin)
	select {
	case h.slot <- struct{}{}:
	default:
		log.Warn("evidence hook not run: too many are running")
		return
	}
	h.wg.Go(func() {
		defer func() { <-h.slot }()
		if err := run(context.Background(), held); err != nil {
			log.Error("evidence hook failed", "error", err)
			return
		}
		log.Info("evidence hook ran")
	})
}

// Wait returns when everything that Run started has ended, or ctx has.
func (h *Hooks) Wait(ctx context.Context) {
	if h == nil {
		return
	}
	done := make(chan struct{})
	go func() { h.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (h *Hooks) command(ctx context.Context, held Held) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, h.cfg.Command[0], h.cfg.Command[1:]...)
	c.Stdin = bytes.NewReader(held.Bytes)
	c.WaitDelay = time.Second // for children that keep its output open
	c.Env = append(os.Environ(),
		"FIRN_EVIDENCE="+held.Path,
		"FIRN_EVIDENCE_KIND="+string(held.Verdict.Kind),
		"FIRN_EVIDENCE_ORIGIN="+held.Verdict.Origin,
		"FIRN_EVIDENCE_KEY="+held.Verdict.Key.String())
	return c.Run()
}

func (h *Hooks) post(ctx context.Context, held Held) error {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.cfg.Webhook, bytes.NewReader(held.Bytes))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", ContentType)
	resp, err := h.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %d", h.cfg.Webhook, resp.StatusCode)
	}
	return nil
}

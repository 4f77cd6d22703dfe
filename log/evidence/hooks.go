package evidence

import (
	"context"
	"log/slog"
)

// HookConfig says what is run when new evidence is kept. Programs embed it in
// their configuration as [evidence].
type HookConfig struct {
	// Command is a program and its arguments; no shell is involved. The evidence
	// is its standard input.
	Command []string `toml:"command"`
	// Webhook is an http or https URL to which the evidence is posted.
	Webhook string `toml:"webhook"`
}

// Hooks runs what a HookConfig says. It never blocks its caller.
type Hooks struct {
	cfg HookConfig
	log *slog.Logger
}

// NewHooks checks a configuration.
func NewHooks(cfg HookConfig, log *slog.Logger) (*Hooks, error) { return &Hooks{cfg, log}, nil }

// Run starts the hooks for new evidence and returns at once. A nil Hooks does
// nothing.
func (h *Hooks) Run(held Held) {}

// Wait returns when everything that Run started has ended, or ctx has.
func (h *Hooks) Wait(ctx context.Context) {}

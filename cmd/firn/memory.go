package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/verify"
)

// hookPatience is how long firn waits at its end for what new evidence started.
const hookPatience = 5 * time.Second

// memory returns what is remembered in the state folder. New evidence runs what
// evidence.toml says.
func (a *app) memory(state string) (*log.Memory, error) {
	if err := a.loadHooks(); err != nil {
		return nil, err
	}
	mem := log.NewMemory(a.stateDir(state))
	mem.OnEvidence(a.hooks.Run)
	return mem, nil
}

// loadHooks reads evidence.toml in the folder of firn.policy, if it is there
// (spec/evidence.md#hooks).
func (a *app) loadHooks() error {
	if a.hooks != nil {
		return nil
	}
	var cfg evidence.HookConfig
	path := a.configFile("evidence.toml")
	b, err := os.ReadFile(path)
	if err != nil && (path == "" || errors.Is(err, fs.ErrNotExist)) {
		b, err = nil, nil
	}
	if err == nil {
		err = toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&cfg)
	}
	if err == nil {
		a.hooks, err = evidence.NewHooks(cfg, slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	}
	if err != nil {
		return failf(exitUsage, `it holds the lines command = ["PROGRAM", "ARGUMENT"] or webhook = "URL", or neither`, "%s: %w", path, err)
	}
	return nil
}

// configFile returns the path of a file in this person's configuration folder,
// "" if there is none.
func (a *app) configFile(name string) string {
	if dir := a.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "firn", name)
	}
	if home := a.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "firn", name)
	}
	return ""
}

// waitForHooks gives hooks a moment to end.
func (a *app) waitForHooks() {
	ctx, cancel := context.WithTimeout(context.Background(), hookPatience)
	defer cancel()
	a.hooks.Wait(ctx)
}

// forgetIn makes the log of origin forgotten in a state folder. Answers go first:
// their checkpoint would be the first to be remembered again.
func (a *app) forgetIn(state, origin string, e *evidence.Evidence, pol named) ([]string, error) {
	if err := verify.ForgetAnswers(state, origin); err != nil {
		return nil, err
	}
	return log.NewMemory(state).Forget(pol.Policy, origin, e)
}

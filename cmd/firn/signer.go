package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/firn-log/firn/log/statement"
)

// keySpecHelp is the part of a command's help that says how a key is named.
const keySpecHelp = `A KEY is named by the path of an OpenSSH private key or Nix secret key, as
agent:WHICH (a key in the ssh-agent: its SHA256 fingerprint, its comment, or a
.pub file), or as ssh-keygen:PATH, which lets ssh-keygen sign.`

// signerOptions returns what opening a key needs of a's surroundings.
func (a *app) signerOptions(useLogin bool) statement.SignerOptions {
	o := statement.SignerOptions{
		UseLoginKey: useLogin,
		AgentSocket: a.Getenv("SSH_AUTH_SOCK"),
		Stderr:      a.Stderr,
	}
	if home := a.Getenv("HOME"); filepath.IsAbs(home) {
		o.SSHDir = filepath.Join(home, ".ssh")
	}
	if in, ok := a.Stdin.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		o.Passphrase = func(path string) ([]byte, error) { return a.askPassphrase(in, "Passphrase of "+path+": ") }
	}
	return o
}

func (a *app) askPassphrase(in *os.File, prompt string) ([]byte, error) {
	fmt.Fprint(a.Stderr, prompt)
	b, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(a.Stderr)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	return b, nil
}

// openSigner opens the key that spec names.
func (a *app) openSigner(ctx context.Context, spec string, useLogin bool) (statement.Signer, error) {
	s, err := statement.OpenSigner(ctx, spec, a.signerOptions(useLogin))
	if err == nil {
		return s, nil
	}
	hint := ""
	switch {
	case errors.Is(err, statement.ErrLoginKey):
		hint = "`firn key new FILE` makes a key of its own; --use-login-key uses this one nevertheless"
	case errors.Is(err, statement.ErrPassphrase):
		hint = "run this on a terminal, or load the key with ssh-add and name it as agent:WHICH"
	case errors.Is(err, statement.ErrNoAgent):
		hint = "start one with: eval $(ssh-agent) && ssh-add FILE"
	case errors.Is(err, statement.ErrAgentKey):
		hint = "`ssh-add -l` lists the agent's keys; name one by its SHA256:... fingerprint"
	case errors.Is(err, os.ErrNotExist):
		hint = "`firn key new FILE` makes a key"
	}
	return nil, failf(exitUsage, hint, "%w", err)
}

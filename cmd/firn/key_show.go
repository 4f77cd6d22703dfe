package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log/statement"
)

func newKeyShowCmd(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show KEY",
		Short: "Print the id of a key and its public half",
		Long: `Show prints the key id, by which logs and policies name the key, its type, and
the public key. KEY may also be a file with a public key only; no passphrase is
asked for, and nothing is signed.

` + keySpecHelp,
		Example: `  firn key show ~/.config/firn/build
  firn key show agent:firn:build
  firn key show cache.example.org-1.pub`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := a.publicKey(c.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.writeJSON(describeKey(key, ""))
			}
			_, err = fmt.Fprintf(a.Stdout, "id           %s\ntype         %s\npublic       %s\nfingerprint  %s\n", key.ID(), key.Type(), key.Text(), key.SSHFingerprint())
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write one JSON object")
	return c
}

// publicKey returns the public half of the key that spec names.
func (a *app) publicKey(ctx context.Context, spec string) (statement.PublicKey, error) {
	if strings.HasPrefix(spec, "agent:") {
		s, err := a.openSigner(ctx, spec, true)
		if err != nil {
			return statement.PublicKey{}, err
		}
		return s.PublicKey(), nil
	}
	path := strings.TrimPrefix(strings.TrimPrefix(spec, "ssh-keygen:"), "file:")
	key, err := statement.ReadPublicKey(path)
	if err != nil {
		hint := "a key is an OpenSSH or Nix key file, a .pub file, or agent:WHICH"
		if errors.Is(err, os.ErrNotExist) {
			hint = "`firn key new FILE` makes a key"
		}
		return key, failf(exitUsage, hint, "reading the key %s: %w", spec, err)
	}
	return key, nil
}

// writeJSON writes v, indented, to stdout.
func (a *app) writeJSON(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

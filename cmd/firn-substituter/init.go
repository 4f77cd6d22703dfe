package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
)

func newInitCmd(a *app) *cobra.Command {
	var policy, name, listen string
	cmd := &cobra.Command{
		Use:   "init --policy FILE DIR",
		Short: "Make a new substituter",
		Long: `Make a new substituter in DIR, which must be missing or empty.

It gets a key of its own, which signs for the Nix of this machine and nothing
else. DIR/firn-substituter.toml holds every setting with a comment. The public
key, which goes into nix.conf, is printed; firn substituter setup says how.`,
		Example: `  firn-substituter init --policy /etc/firn/firn.policy /var/lib/firn-substituter`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if policy == "" {
				return fail(exitUsage, "firn policy init makes one", errors.New("--policy is missing"))
			}
			c := defaultConfig()
			var err error
			if c.Policy, err = filepath.Abs(policy); err != nil {
				return fail(exitFailed, "", err)
			}
			if listen != "" {
				c.Listen = listen
			}
			if err := c.check(); err != nil {
				return fail(exitUsage, "", fmt.Errorf("--%w", err))
			}
			if _, _, err := usePolicy(c.Policy); err != nil {
				return err
			}
			key, text, err := newKey(name)
			if err != nil {
				return fail(exitUsage, "", fmt.Errorf("--name %q cannot be the name of a key: %w", name, err))
			}
			if files, err := os.ReadDir(args[0]); err == nil && len(files) > 0 {
				return fail(exitFailed, "if it is a substituter already, firn-substituter key prints its key", fmt.Errorf("%s is not empty", args[0]))
			}
			if err := makeFolder(args[0], text, c); err != nil {
				return fail(exitFailed, "", fmt.Errorf("making a substituter in %s: %w", args[0], err))
			}
			fmt.Fprintln(a.Stdout, key.Public())
			fmt.Fprintf(a.Stderr, "made a substituter in %s; start it with: firn-substituter serve %s\nthen see what nix.conf needs: firn substituter setup --url http://%s\n", args[0], args[0], c.Listen)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&policy, "policy", "", "firn.policy that it obeys")
	f.StringVar(&name, "name", "", "name of its key (default firn-HOSTNAME-1)")
	f.StringVar(&listen, "listen", "", "address and port to listen on (default 127.0.0.1:8474)")
	return cmd
}

// newKey makes a key and the text that Nix would write of it.
func newKey(name string) (key nix.SecretKey, text string, err error) {
	if name == "" {
		host, err := os.Hostname()
		if err != nil || nix.CheckName(host) != nil {
			host = "machine"
		}
		name = "firn-" + host + "-1"
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return key, "", err
	}
	text = name + ":" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed))
	key, err = nix.ParseSecretKey(text)
	return key, text, err
}

func makeFolder(dir, key string, c *config) error {
	conf, err := c.marshal()
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return errors.Join(
		durable.CreateFile(filepath.Join(dir, "substituter.key"), []byte(key+"\n"), 0o600),
		durable.CreateFile(filepath.Join(dir, configName), conf, 0o640))
}

func newKeyCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "key DIR",
		Short: "Print the public key of a substituter, for trusted-public-keys",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := open("", args[0])
			if err != nil {
				return err
			}
			key, err := readKey(c.Key)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Stdout, key.Public())
			return nil
		},
	}
}

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
				return fail(exitUsage, "", err)
			}
			key, err := makeFolder(args[0], name, c)
			if err != nil {
				return fail(exitFailed, "", fmt.Errorf("making a substituter in %s: %w", args[0], err))
			}
			fmt.Fprintln(a.Stdout, key.Public())
			fmt.Fprintf(a.Stderr, "made a substituter in %s; start it with: firn-substituter serve %s\n", args[0], args[0])
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&policy, "policy", "", "firn.policy that it obeys")
	f.StringVar(&name, "name", "", "name of its key (default firn-HOSTNAME-1)")
	f.StringVar(&listen, "listen", "", "address and port to listen on (default 127.0.0.1:8474)")
	return cmd
}

func makeFolder(dir, name string, c *config) (key nix.SecretKey, err error) {
	if files, err := os.ReadDir(dir); err == nil && len(files) > 0 {
		return key, fmt.Errorf("%s is not empty", dir)
	}
	if name == "" {
		host, err := os.Hostname()
		if err != nil || nix.CheckName(host) != nil {
			host = "machine"
		}
		name = "firn-" + host + "-1"
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return key, err
	}
	text := name + ":" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed))
	if key, err = nix.ParseSecretKey(text); err != nil {
		return key, err
	}
	conf, err := c.marshal()
	if err != nil {
		return key, err
	}
	return key, errors.Join(
		durable.MkdirAll(dir, 0o750),
		durable.CreateFile(filepath.Join(dir, "substituter.key"), []byte(text+"\n"), 0o600),
		durable.CreateFile(filepath.Join(dir, configName), conf, 0o640))
}

func newKeyCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "key DIR",
		Short: "Print the public key of a substituter, for trusted-public-keys",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := readConfig(filepath.Join(args[0], configName), args[0])
			if err != nil {
				return fail(exitUsage, "", err)
			}
			key, err := readKey(c.Key)
			if err != nil {
				return fail(exitFailed, "", err)
			}
			fmt.Fprintln(a.Stdout, key.Public())
			return nil
		},
	}
}

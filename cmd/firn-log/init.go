package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log/server"
	"github.com/firn-log/firn/log/statement"
)

func newInitCmd(a *app) *cobra.Command {
	var o server.InitOptions
	var mode, listen string
	var operatorKeys []string
	cmd := &cobra.Command{
		Use:   "init --name NAME DIR",
		Short: "Make a new log",
		Long: `Make a new log in DIR, which must be missing or empty.

Its key and its origin are made together and belong together for ever: the
origin is NAME with a random suffix, so that no other log is ever mistaken for
this one. DIR/firn-log.toml holds every setting with a comment. The verifier
key, which readers put into their policy, is printed.`,
		Example: `  firn-log init --name demo.firn.example --operator-key ~/.ssh/firn.pub /var/lib/firn-log`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if o.Name == "" {
				return fail(exitUsage, "a host name of yours is a good name", errors.New("--name is missing"))
			}
			for _, s := range operatorKeys {
				id, err := keyID(s)
				if err != nil {
					return fail(exitUsage, "", fmt.Errorf("--operator-key %s: %w", s, err))
				}
				o.OperatorKeys = append(o.OperatorKeys, id.String())
			}
			o.Mode = statement.Mode(mode)
			if listen != "" {
				o.Change = func(c *server.Config) { c.Listen = listen }
			}
			vkey, err := server.Init(args[0], o)
			var wrong *server.ConfigError
			switch {
			case errors.As(err, &wrong):
				return fail(exitUsage, "see `firn-log init --help`; a name is a host name, such as log.example", wrong)
			case err != nil:
				return fail(exitFailed, "", fmt.Errorf("making a log in %s: %w", args[0], err))
			}
			fmt.Fprintln(a.Stdout, vkey)
			fmt.Fprintf(a.Stderr, "made a log in %s; start it with: firn-log serve %s\n", args[0], args[0])
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", "", "name of the log, without its random suffix")
	f.StringVar(&mode, "mode", "", "who may add statements: open, vouched (default) or listed")
	f.StringVar(&listen, "listen", "", "address and port to listen on (default 127.0.0.1:8470)")
	f.StringArrayVar(&operatorKeys, "operator-key", nil, "key id, or file with a public key, of an identity key of whoever runs the log; it vouches alone (may be repeated)")
	f.StringArrayVar(&o.CacheKeys, "cache-key", nil, "Nix public key (name:base64) of a binary cache whose signatures anybody may add (may be repeated)")
	return cmd
}

// keyID reads a key id, or a public key from a file.
func keyID(s string) (statement.KeyID, error) {
	if id, err := statement.ParseKeyID(s); err == nil {
		return id, nil
	}
	b, err := os.ReadFile(s)
	if errors.Is(err, fs.ErrNotExist) {
		return statement.KeyID{}, errors.New("neither a key id (64 hexadecimal digits) nor a file")
	}
	if err != nil {
		return statement.KeyID{}, err
	}
	key, err := statement.PublicKeyFromText(string(b))
	return key.ID(), err
}

func newVKeyCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "vkey DIR",
		Short: "Print the verifier key of a log",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			vkey, err := server.VKey(args[0])
			if errors.Is(err, fs.ErrNotExist) {
				return noLog(args[0], err)
			}
			if err != nil {
				return fail(exitFailed, "", err)
			}
			fmt.Fprintln(a.Stdout, vkey)
			return nil
		},
	}
}

// noLog explains that dir holds no log.
func noLog(dir string, err error) error {
	return fail(exitUsage, "make one with: firn-log init --name NAME "+dir, fmt.Errorf("there is no log in %s: %w", dir, err))
}

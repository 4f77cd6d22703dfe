package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness"
	"github.com/firn-log/firn/witness/server"
)

type initFlags struct {
	name, listen, publicURL, policy, log, url string
	mirrors, peers                            []string
}

func newInitCmd(a *app) *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init --name NAME (--policy FILE | --log VKEY) [--url URL] DIR",
		Short: "Make a new auditor",
		Long: `Make a new auditor of one log in DIR, which must be missing or empty.

It has a key of its own with the name NAME, used for cosignatures and nothing
else. The log is the one in a tlog-policy file, or that of a verifier key; --url
says where it is read, if the policy does not. DIR/firn-auditor.toml holds every
setting with a comment.

The verifier key is printed, and on stderr the line that the log's operator adds to
the log's policy and what readers need in their index.policy.`,
		Example: `  firn-auditor init --name auditor.example/a1 --policy log.policy --url https://log.example /var/lib/firn-auditor
  firn-auditor init --name auditor.example/a1 --log "$(firn-log vkey /var/lib/firn-log)" --url http://127.0.0.1:8470 /var/lib/firn-auditor`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := f.config()
			if err != nil {
				return err
			}
			k, err := makeAuditor(args[0], c)
			if err != nil {
				return fail(exitFailed, "", fmt.Errorf("making an auditor in %s: %w", args[0], err))
			}
			fmt.Fprintln(a.Stdout, k)
			fmt.Fprintf(a.Stderr, "made an auditor in %s; start it with: firn-auditor serve %s\n", args[0], args[0])
			printPolicies(a.Stderr, c, k)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.name, "name", "", "name of the auditor's key, for instance auditor.example/a1")
	fl.StringVar(&f.policy, "policy", "", "tlog-policy file with the log")
	fl.StringVar(&f.log, "log", "", "verifier key of the log, instead of a policy")
	fl.StringVar(&f.url, "url", "", "URL of the log")
	fl.StringArrayVar(&f.mirrors, "mirror", nil, "URL of a mirror of the log (may be repeated)")
	fl.StringVar(&f.listen, "listen", "", "address and port to listen on (default 127.0.0.1:8490)")
	fl.StringVar(&f.publicURL, "public-url", "", "where the log finds this auditor, if not at the address that it listens on")
	fl.StringArrayVar(&f.peers, "peer", nil, "URL that keeps checkpoints this auditor has cosigned (may be repeated)")
	return cmd
}

// config returns the configuration that the flags ask for.
func (f *initFlags) config() (*config, error) {
	usage := func(hint string, err error) (*config, error) { return nil, fail(exitUsage, hint, err) }
	if f.name == "" {
		return usage("a name below a host name of yours is a good one: auditor.example/a1", errors.New("--name is missing"))
	}
	if (f.policy == "") == (f.log == "") {
		return usage("--policy FILE with the log's line, or --log with what `firn-log vkey` prints", errors.New("want either --policy or --log"))
	}
	c := defaultConfig()
	c.Name, c.PublicURL = f.name, f.publicURL
	if f.listen != "" {
		c.Listen = f.listen
	}
	l := logConfig{VKey: f.log, URL: f.url, Mirrors: append([]string{}, f.mirrors...)}
	if f.policy != "" {
		b, err := os.ReadFile(f.policy)
		if err != nil {
			return usage("", fmt.Errorf("reading the policy: %w", err))
		}
		pol, err := policy.Parse(b)
		if err != nil {
			return usage("", fmt.Errorf("%s: %w", f.policy, err))
		}
		if len(pol.Logs) != 1 {
			return usage("name one with --log", fmt.Errorf("%s has %d logs, and an auditor is made for one", f.policy, len(pol.Logs)))
		}
		l.VKey = pol.Logs[0].Key.String()
		if l.URL == "" {
			l.URL = pol.Logs[0].URL
		}
	}
	if l.URL == "" {
		return usage("say where the log is read with --url", errors.New("there is no URL of the log"))
	}
	c.Logs = append(c.Logs, l)
	for _, u := range f.peers {
		c.Peers = append(c.Peers, server.PeerConfig{URL: u})
	}
	if err := c.check(); err != nil {
		return usage("", err)
	}
	return c, nil
}

// makeAuditor makes an auditor in dir. The configuration comes last: without it
// nothing there is an auditor.
func makeAuditor(dir string, c *config) (policy.Key, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return policy.Key{}, err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == configName }) {
		return policy.Key{}, fmt.Errorf("there is an auditor in %s already", dir)
	}
	if len(entries) > 0 {
		return policy.Key{}, fmt.Errorf("%s is not empty", dir)
	}
	key, text, err := witness.GenerateKey(c.Name)
	if err != nil {
		return policy.Key{}, err
	}
	toml, err := c.marshal()
	if err != nil {
		return policy.Key{}, err
	}
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return policy.Key{}, err
	}
	if err := durable.CreateFile(filepath.Join(dir, c.Key), []byte(text+"\n"), 0o600); err != nil {
		return policy.Key{}, err
	}
	if err := witness.CreateStore(dir); err != nil {
		return policy.Key{}, err
	}
	return key.Verifier(), durable.CreateFile(filepath.Join(dir, configName), toml, 0o644)
}

// printPolicies says what others write into their policies.
func printPolicies(w io.Writer, c *config, k policy.Key) {
	fmt.Fprintf(w, "\nfor the log's operator, in the policy that the log asks its witnesses by, outside the quorum:\n%s", operatorLine(c, k))
	fmt.Fprintf(w, "\nfor readers, as index.policy, or with further auditors and a group as the quorum:\n%s", indexPolicy(c, k))
}

// short is how policies name an auditor: letters, digits and hyphens.
func short(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return '-'
	}, name)
}

func operatorLine(c *config, k policy.Key) string {
	return fmt.Sprintf("witness %s %s %s\n", short(c.Name), k, c.url())
}

func indexPolicy(c *config, k policy.Key) string {
	var b strings.Builder
	for _, l := range c.Logs {
		fmt.Fprintf(&b, "log %s\n", l.VKey)
	}
	fmt.Fprintf(&b, "witness %s %s\nquorum %s\n", short(c.Name), k, short(c.Name))
	return b.String()
}

func newVKeyCmd(a *app) *cobra.Command {
	var index, operator bool
	cmd := &cobra.Command{
		Use:   "vkey [--index-policy | --policy-line] DIR",
		Short: "Print the verifier key of an auditor, or what policies need of it",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := load(args[0])
			if err != nil {
				return err
			}
			key, err := server.ReadKey(args[0], c.witness())
			if err != nil {
				return fail(exitFailed, "", err)
			}
			switch k := key.Verifier(); {
			case index:
				fmt.Fprint(a.Stdout, indexPolicy(c, k))
			case operator:
				fmt.Fprint(a.Stdout, operatorLine(c, k))
			default:
				fmt.Fprintln(a.Stdout, k)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&index, "index-policy", false, "print an index policy with this auditor as the quorum")
	cmd.Flags().BoolVar(&operator, "policy-line", false, "print the witness line for the log's policy")
	cmd.MarkFlagsMutuallyExclusive("index-policy", "policy-line")
	return cmd
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/intoto"
	"github.com/firn-log/firn/log/statement"
)

func newStatementExportCmd(a *app) *cobra.Command {
	var f logReadFlags
	var out string
	var wait time.Duration
	c := &cobra.Command{
		Use:   "export ID|INDEX",
		Short: "Write a statement of the log as an in-toto Statement",
		Long: `Export writes a statement as an in-toto Statement (JSON): a build as SLSA provenance,
everything else with a predicate of firn's own. The entry is proven to be in the log, and
its signature is verified; entry and proof are part of what is written, which itself is not signed.`,
		Example: `  firn statement export 42 --log https://log.example --log-policy log.policy -o 42.intoto.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.exportStatement(c.Context(), &f, args[0], out, wait)
		},
	}
	f.add(c.Flags())
	c.Flags().StringVarP(&out, "output", "o", "-", "`FILE` to write, - for standard output")
	c.Flags().DurationVar(&wait, "wait", 0, "how long the log may wait for a checkpoint that covers the statement")
	return c
}

func (a *app) exportStatement(ctx context.Context, f *logReadFlags, what, out string, wait time.Duration) error {
	client, err := a.readClient(f, "")
	if err != nil {
		return err
	}
	p, leaf, err := prove(ctx, client, what, wait, true)
	if err != nil {
		return err
	}
	s, err := statement.Parse(leaf)
	if err != nil {
		return failf(exitUntrusted, "firn log entries --raw writes it as it is", "entry %d is no statement: %w", p.Index, err)
	}
	key, err := signerOf(ctx, client, s)
	if err != nil {
		return readFailure(err)
	}
	if err := s.Verify(*key); err != nil {
		return failf(exitUntrusted, "", "the signature of entry %d does not verify: %w", p.Index, err)
	}
	to := *a
	if out != "-" {
		file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return failf(exitFailed, "", "writing the statement: %w", err)
		}
		to.Stdout = file
		err = errors.Join(to.writeJSON(intoto.Of(s, leaf, p.Marshal())), file.Close())
		if err != nil {
			return failf(exitFailed, "", "writing the statement: %w", err)
		}
		return nil
	}
	return to.writeJSON(intoto.Of(s, leaf, p.Marshal()))
}

// signerOf returns the key that signed s: the statement's own, or the one that a
// statement under its id publishes. The id proves that it is the right one.
func signerOf(ctx context.Context, c *log.Client, s *statement.Statement) (*statement.PublicKey, error) {
	if s.SignerKey != nil {
		return s.SignerKey, nil
	}
	key := index.Key(s.Signer)
	answers, err := c.Lookup(ctx, log.Query{Keys: []string{key}, Signers: []statement.KeyID{}})
	if err != nil {
		return nil, err
	}
	others := []statement.KeyID{} // who names the key; what it signed may be much
	for _, found := range answers.Of(key) {
		if found.Signer != s.Signer && !slices.Contains(others, found.Signer) {
			others = append(others, found.Signer)
		}
	}
	if answers, err = c.Lookup(ctx, log.Query{Keys: []string{key}, Signers: others}); err != nil {
		return nil, err
	}
	for _, found := range answers.Of(key) {
		if found.Leaf == nil {
			continue
		}
		for _, k := range published(found.Leaf.Statement) {
			if k.ID() == s.Signer {
				return &k, nil
			}
		}
	}
	return nil, fmt.Errorf("the log publishes no key with the id %s: %w", s.Signer, log.ErrNotFound)
}

// published returns the keys that a statement carries.
func published(s *statement.Statement) []statement.PublicKey {
	var keys []statement.PublicKey
	if s.SignerKey != nil {
		keys = append(keys, *s.SignerKey)
	}
	switch b := s.Body.(type) {
	case *statement.KeyAdd:
		keys = append(keys, b.Key)
	case *statement.Genesis:
		keys = append(keys, b.LogKey)
	}
	return keys
}

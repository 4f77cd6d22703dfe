package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

func newLogProveCmd(a *app, f *logReadFlags) *cobra.Command {
	var out, leafOut string
	var wait time.Duration
	c := &cobra.Command{
		Use:   "prove ID|INDEX",
		Short: "Write a proof that a statement is in the log",
		Long: `Prove writes a C2SP .tlog-proof file for the statement of an id, or for the entry at
an index. Anybody who has the entry and a log policy can verify it without asking
the log (firn log verify-proof).

  firn log prove 42 --log main --output 42.tlog-proof --leaf-output 42.leaf`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.readClient(f, "")
			if err != nil {
				return err
			}
			p, leaf, err := prove(cmd.Context(), c, args[0], wait, leafOut != "")
			if err != nil {
				return err
			}
			if leafOut != "" {
				if err := os.WriteFile(leafOut, leaf, 0o644); err != nil {
					return failf(exitFailed, "", "writing the entry: %w", err)
				}
			}
			if out == "-" {
				_, err := a.Stdout.Write(p.Marshal())
				return err
			}
			if out == "" {
				out = strconv.FormatUint(p.Index, 10) + ".tlog-proof"
			}
			if err := os.WriteFile(out, p.Marshal(), 0o644); err != nil {
				return failf(exitFailed, "", "writing the proof: %w", err)
			}
			_, err = fmt.Fprintf(a.Stdout, "%s proves entry %d of %s\n", out, p.Index, c.Origin())
			return err
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "`FILE` for the proof, - for standard output (default: INDEX.tlog-proof)")
	c.Flags().StringVar(&leafOut, "leaf-output", "", "`FILE` for the entry itself")
	c.Flags().DurationVar(&wait, "wait", 0, "how long the log may wait for a checkpoint that covers the statement")
	return c
}

func prove(ctx context.Context, c *log.Client, what string, wait time.Duration, wantLeaf bool) (*log.Proof, []byte, error) {
	index, err := policy.ParseDecimal(what)
	var p *log.Proof
	var cp *log.Checkpoint
	if err == nil {
		if cp, err = c.Checkpoint(ctx); err == nil {
			p, err = c.ProveInclusion(ctx, cp, index)
		}
	} else {
		id, bad := statement.ParseID(what)
		if bad != nil {
			return nil, nil, failf(exitUsage, "an index is a number, an id has 64 hexadecimal digits", "%q is neither an index nor the id of a statement", what)
		}
		p, err = c.Proof(ctx, id, nil, wait)
	}
	if err != nil {
		return nil, nil, readFailure(err)
	}
	if !wantLeaf {
		return p, nil, nil
	}
	if cp == nil {
		pol, err := c.Believed()
		if err != nil {
			return nil, nil, readFailure(err)
		}
		if cp, err = log.VerifyCheckpoint(pol, p.Note, time.Now()); err != nil {
			return nil, nil, readFailure(err)
		}
	}
	e, err := c.Entry(ctx, cp, p.Index)
	if err != nil {
		return nil, nil, readFailure(err)
	}
	return p, e.Leaf, nil
}

func newLogVerifyProofCmd(a *app, f *logReadFlags) *cobra.Command {
	var leafFile string
	c := f.jsonFlag(&cobra.Command{
		Use:   "verify-proof FILE --leaf FILE",
		Short: "Verify a proof without asking the log",
		Long: `Verify-proof reads a .tlog-proof file and the entry that it is about, and says whether
a checkpoint that the log policy believes holds it. It uses no network and does
not look at remembered checkpoints, but at the evidence that is held. Exit status 3 means that it does not verify.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			pol, err := a.readPolicy(f)
			if err != nil {
				return err
			}
			store := log.NewMemory(a.stateDir(f.state)).Evidence()
			if pol, err = store.Apply(pol); err != nil {
				return failf(exitFailed, "", "%w", err)
			}
			if leafFile == "" {
				return failf(exitUsage, "firn log prove --leaf-output writes it", "the entry is needed: name its file with --leaf")
			}
			text, err := os.ReadFile(args[0])
			if err != nil {
				return failf(exitFailed, "", "reading the proof: %w", err)
			}
			leaf, err := os.ReadFile(leafFile)
			if err != nil {
				return failf(exitFailed, "", "reading the entry: %w", err)
			}
			p, err := log.ParseProof(text)
			if err != nil {
				return failf(exitUntrusted, "", "%s: %w", args[0], err)
			}
			cp, err := p.Verify(pol, leaf, time.Now())
			if err != nil {
				return readFailure(err)
			}
			held, err := store.AgainstLog(pol, cp.Origin)
			switch {
			case err != nil:
				return failf(exitFailed, "", "%w", err)
			case len(held) > 0:
				return failf(exitMisbehaviour, "the proof verifies, and the log has shown others another history", "evidence is held against %s: %s", cp.Origin, held[0].Path)
			}
			if f.json {
				out := checkpointJSON(cp)
				out["index"] = p.Index
				return writeJSON(a.Stdout, out)
			}
			fmt.Fprintf(a.Stdout, "%s is entry %d of this log:\n", leafFile, p.Index)
			return printCheckpoint(a.Stdout, cp)
		},
	})
	c.Flags().StringVar(&leafFile, "leaf", "", "`FILE` with the entry")
	return c
}

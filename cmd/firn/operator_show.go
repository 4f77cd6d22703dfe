package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

func newOperatorShowCmd(a *app) *cobra.Command {
	var f logFlags
	var asJSON bool
	var proofs string
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Print what a log tells about an operator",
		Long: `Show prints the operator's name, contact and keys, with how many statements each
key signed and where the newest is, and every statement that the log lists about
the operator, with its signatures verified: whether it counts, and after a fork on
which branch it is. ID is an operator id or the id of any of its keys. That nothing
is left out is proven against the log's index, for which only the log itself
vouches here.

With --proofs each statement is written to FOLDER as INDEX.leaf and
INDEX.tlog-proof, which firn log verify-proof checks without the log.`,
		Example: `  firn operator show --log https://log.example --log-policy log.policy 9a0b...
  firn operator show --log main --proofs proofs 9a0b...`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			client, err := a.openLog(&f)
			if err != nil {
				return err
			}
			h, err := findOperator(ctx, client, args[0])
			if err != nil {
				return err
			}
			if err := h.AddUse(ctx, client); err != nil {
				return logFailure("asking the log about the operator's keys", err)
			}
			if proofs != "" {
				if err := writeProofs(ctx, client, h, proofs); err != nil {
					return err
				}
			}
			if asJSON {
				return a.writeJSON(h.json(client.Origin()))
			}
			return a.showHistory(h, client.Origin())
		},
	}
	f.add(c.Flags())
	c.Flags().StringVar(&proofs, "proofs", "", "also write each statement and its proof into this `FOLDER`")
	c.Flags().BoolVar(&asJSON, "json", false, "write one JSON object")
	return c
}

// findOperator reads the history of an operator that is named by its id or by
// the id of a key.
func findOperator(ctx context.Context, client *log.Client, name string) (*history, error) {
	id, err := statement.ParseID(name)
	if err != nil {
		return nil, failf(exitUsage, "`firn operator register` and `firn key show` print such ids", "%w", err)
	}
	h, err := readHistory(ctx, client, id)
	if err != nil || h != nil {
		return h, err
	}
	op, err := operatorOfKey(ctx, client, statement.KeyID(id))
	if err != nil {
		return nil, err
	}
	if op.IsZero() {
		return nil, failf(exitFailed, "ask the operator's home log", "the log %s knows no operator and no operator's key %s", client.Origin(), id)
	}
	return readHistory(ctx, client, op)
}

// writeProofs writes every statement with its proof, all against one checkpoint.
func writeProofs(ctx context.Context, client *log.Client, h *history, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return failf(exitFailed, "", "writing the proofs: %w", err)
	}
	for _, s := range h.Steps {
		p, err := client.ProveInclusion(ctx, h.Checkpoint, s.Index)
		if err != nil {
			return readFailure(err)
		}
		name := filepath.Join(dir, strconv.FormatUint(s.Index, 10))
		err = os.WriteFile(name+".leaf", s.Leaf, 0o644)
		if err == nil {
			err = os.WriteFile(name+".tlog-proof", p.Marshal(), 0o644)
		}
		if err != nil {
			return failf(exitFailed, "", "writing the proofs: %w", err)
		}
	}
	return nil
}

func (a *app) showHistory(h *history, origin string) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "operator\t%s\nname\t%s\ncontact\t%s\n", h.ID, h.Profile.Name, h.Profile.Contact)
	if h.Profile.URL != "" {
		fmt.Fprintf(w, "url\t%s\n", h.Profile.URL)
	}
	fmt.Fprintf(w, "home log\t%s\n", h.Profile.HomeLog)
	for i := range h.Keys {
		k := &h.Keys[i]
		fmt.Fprintf(w, "%s key\t%s  %s, %s%s\n", k.Role, k.Key.ID(), k.Key.Type(), useOf(&k.Use), limits(k, h))
	}
	w.Flush()
	fmt.Fprintf(a.Stdout, "\n%s up to %d lists about it:\n", origin, h.Checkpoint.Size)
	w = tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, s := range h.Steps {
		note := ""
		if s.Branch > 0 {
			note = fmt.Sprintf("  [branch %d]", s.Branch)
		}
		if v, ok := s.Statement.Body.(*statement.Vouch); !s.Counts && (!ok || v.For != h.ID) {
			note += "  [does not count: " + s.Why + "]"
		}
		fmt.Fprintf(w, "%d\t%s\t%s%s\n", s.Index, s.Statement.Kind, describe(s.Statement.Body), note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	a.warnOfHistory(h)
	return nil
}

func (a *app) warnOfHistory(h *history) {
	if why := h.unsure(); why != "" {
		fmt.Fprintf(a.Stderr, "firn: warning: statements may be missing: %s\n", why)
	}
	if f := h.Fork; f != nil {
		fmt.Fprintf(a.Stderr, "firn: warning: %s: from there on nothing of this operator counts, but revocations act\n", f)
	}
	for _, k := range h.Keys {
		for _, other := range k.Use.Others {
			fmt.Fprintf(a.Stderr, "firn: warning: the key %s has also proven to be one of the operator %s, so it counts for neither\n", k.Key.ID(), other)
		}
	}
}

// unsure says why statements may be missing, "" if there is no reason.
func (h *history) unsure() string {
	if h.fault != "" {
		return h.fault
	}
	return h.Incomplete
}

func useOf(u *verify.KeyUse) string {
	switch u.Signed {
	case 0:
		return "signed nothing"
	case 1:
		return fmt.Sprintf("signed 1 statement, at %d", u.Last)
	}
	return fmt.Sprintf("signed %d statements, the newest at %d", u.Signed, u.Last)
}

// limits says what ends a key.
func limits(k *verify.HistoryKey, h *history) string {
	s := ""
	for _, r := range k.Revokes {
		s += "  revoked: " + describeCuts(r)
	}
	if h.Fork != nil && k.Role == statement.RoleBuild {
		s += fmt.Sprintf("  counts below %d, where the chain forks", k.Below)
	}
	if len(k.Use.Others) > 0 {
		s += "  claimed by two operators: counts for neither"
	}
	return s
}

// describeCuts says why a key was revoked and from where on.
func describeCuts(r *statement.KeyRevoke) string {
	s := fmt.Sprintf("%s, elsewhere %s", r.Reason, r.Elsewhere)
	for _, origin := range slices.Sorted(maps.Keys(r.Cuts)) {
		s += fmt.Sprintf(", from index %d of %s", r.Cuts[origin], origin)
	}
	return s
}

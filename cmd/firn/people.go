package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

func newOperatorVouchCmd(a *app) *cobra.Command {
	var f signFlags
	c := &cobra.Command{
		Use:   "vouch ID --identity KEY",
		Short: "Vouch for another operator",
		Long: `Vouch says, signed by your identity key, that you vouch for another operator. In
a log whose mode is vouched it lifts that operator out of the small budget that
all newcomers share. ID is an operator id, or the id of one of its keys.

` + keySpecHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			identity, client, err := f.open(ctx, a)
			if err != nil {
				return err
			}
			other, err := findOperator(ctx, client, args[0])
			if err != nil {
				return err
			}
			h, err := ownHistory(ctx, client, identity.PublicKey().ID())
			if err != nil {
				return err
			}
			if other.ID == h.ID {
				return failf(exitUsage, "name another operator", "%s is yourself", h.ID)
			}
			b := &batch{signer: identity, prev: &h.Head}
			for _, e := range h.Steps {
				if v, ok := e.Statement.Body.(*statement.Vouch); ok && e.Counts && v.OperatorID == h.ID && v.For == other.ID {
					return b.send(ctx, a, client, &f, h.ID) // said already
				}
			}
			if err := b.sign(ctx, &statement.Vouch{OperatorID: h.ID, For: other.ID}); err != nil {
				return err
			}
			return b.send(ctx, a, client, &f, h.ID)
		},
	}
	f.add(c)
	return c
}

type revokeFlags struct {
	signFlags
	reason, elsewhere string
	cuts              []string
}

func newKeyRevokeCmd(a *app) *cobra.Command {
	var f revokeFlags
	c := &cobra.Command{
		Use:   "revoke KEYID --identity KEY --reason rotated|compromised|retired",
		Short: "Say that a key of yours counts no more",
		Long: `Revoke ends a key: what it signed at or after an index of a log, the cut, does not
count. Without --cut the cut is where the log is now. In other logs a key that
was compromised counts for nothing, and one that was rotated or retired keeps
counting, unless --elsewhere says otherwise.

If you know since when a key was not yours alone, cut there: give one --cut for
each log in which you made statements, and --elsewhere says what becomes of all
others. A revocation cannot be taken back, but another one may end more.

` + keySpecHelp,
		Example: `  firn key revoke 5be0... --identity ~/.config/firn/identity --reason compromised --cut log.example/3f9a01bc=4711`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.revoke(c.Context(), &f, args[0]) },
	}
	f.add(c)
	flags := c.Flags()
	flags.StringVar(&f.reason, "reason", "", "rotated, compromised or retired")
	flags.StringVar(&f.elsewhere, "elsewhere", "", "keep or drop: what becomes of its claims in logs without a cut")
	flags.StringArrayVar(&f.cuts, "cut", nil, "`ORIGIN=INDEX`: the first index that does not count; may be repeated")
	return c
}

func (a *app) revoke(ctx context.Context, f *revokeFlags, name string) error {
	id, err := statement.ParseKeyID(name)
	if err != nil {
		return failf(exitUsage, "`firn key show` prints the id of a key", "%w", err)
	}
	body := &statement.KeyRevoke{KeyID: id, Reason: statement.RevokeReason(f.reason), Elsewhere: statement.Elsewhere(f.elsewhere), Cuts: make(map[string]uint64)}
	if f.reason == "" {
		return failf(exitUsage, "say rotated, compromised or retired", "--reason is missing")
	}
	if body.Elsewhere == "" {
		body.Elsewhere = statement.Keep
		if body.Reason == statement.Compromised {
			body.Elsewhere = statement.Drop
		}
	}
	for _, cut := range f.cuts {
		origin, index, ok := strings.Cut(cut, "=")
		n, err := strconv.ParseUint(index, 10, 63)
		if !ok || err != nil {
			return failf(exitUsage, "for instance --cut log.example/3f9a01bc=4711", "%q is not ORIGIN=INDEX", cut)
		}
		body.Cuts[origin] = n
	}
	identity, client, err := f.open(ctx, a)
	if err != nil {
		return err
	}
	h, err := ownHistory(ctx, client, identity.PublicKey().ID())
	if err != nil {
		return err
	}
	k := h.keyOf(id)
	switch {
	case k == nil:
		return failf(exitFailed, "`firn operator show "+h.ID.String()+"` lists your keys", "the key %s is not one of yours in this log", id)
	case len(body.Cuts) == 0:
		body.Cuts[client.Origin()] = h.Checkpoint.Size
	}
	if len(k.Revokes) > 0 && !endsMore(k, body) {
		return failf(exitFailed, "a later revocation can only end more of it: give an earlier --cut, or --elsewhere drop", "the key %s is revoked already (%s), and this would end nothing more", id, k.Revokes[0].Reason)
	}
	body.OperatorID = h.ID
	b := &batch{signer: identity, prev: &h.Head}
	if err := b.sign(ctx, body); err != nil {
		return err
	}
	return b.send(ctx, a, client, &f.signFlags, h.ID)
}

// endsMore reports whether r ends claims of a key that its revocations leave.
func endsMore(k *verify.HistoryKey, r *statement.KeyRevoke) bool {
	more := verify.HistoryKey{Revokes: []*statement.KeyRevoke{r}}
	origins := []string{""} // which nobody can name: all others
	for _, r := range append(k.Revokes[:len(k.Revokes):len(k.Revokes)], r) {
		origins = slices.AppendSeq(origins, maps.Keys(r.Cuts))
	}
	return slices.ContainsFunc(origins, func(origin string) bool { return more.RevokedFrom(origin) < k.RevokedFrom(origin) })
}

func newStatementCmd(a *app) *cobra.Command {
	c := &cobra.Command{Use: "statement", Short: "State what a system consists of, export statements, and take them back"}
	c.AddCommand(newStatementClosureCmd(a), newRetractCmd(a), newStatementExportCmd(a))
	return c
}

func newRetractCmd(a *app) *cobra.Command {
	var f signFlags
	var reason string
	c := &cobra.Command{
		Use:   "retract ID --identity KEY --reason TEXT",
		Short: "Say that a statement of yours does not count",
		Long: `Retract says, signed by your identity key, that one statement of yours does not
count any more. It stays in the log. ID is the statement id.

` + keySpecHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			id, err := statement.ParseID(args[0])
			if err != nil {
				return failf(exitUsage, "`firn submit` prints the ids of statements", "%w", err)
			}
			if reason == "" {
				return failf(exitUsage, "for instance --reason \"built with a broken sandbox\"", "--reason is missing")
			}
			identity, client, err := f.open(ctx, a)
			if err != nil {
				return err
			}
			h, err := ownHistory(ctx, client, identity.PublicKey().ID())
			if err != nil {
				return err
			}
			b := &batch{signer: identity, prev: &h.Head}
			if err := b.sign(ctx, &statement.Retract{OperatorID: h.ID, Statement: id, Reason: reason}); err != nil {
				return err
			}
			return b.send(ctx, a, client, &f, h.ID)
		},
	}
	f.add(c)
	c.Flags().StringVar(&reason, "reason", "", "why, at most 256 bytes")
	return c
}

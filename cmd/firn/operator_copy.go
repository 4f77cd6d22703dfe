package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

func newOperatorCopyCmd(a *app) *cobra.Command {
	var f signFlags
	var to logFlags
	c := &cobra.Command{
		Use:   "copy ID --to URL --to-policy FILE",
		Short: "Bring what an operator said to another log",
		Long: `Copy reads an operator's statements about itself, its keys and others from a log,
--log, and sends them as they are to another one, --to, which then knows the same
operator with the same keys and revocations. It needs no key, and anybody may do
it for anybody. What the other log has already stays as it is.

Statements are signed in one log, the home log, and copied from there. The same
thing signed once more in another log could be another statement: a fork.`,
		Example: `  firn operator copy 9a0b... --log main --to second`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			from, err := a.openLog(&f.log)
			if err != nil {
				return err
			}
			to.state = f.log.state
			client, err := a.openLog(&to)
			if err != nil {
				return err
			}
			if client.Origin() == from.Origin() {
				return failf(exitUsage, "name another log with --to", "%s is the log that is copied from", from.Origin())
			}
			return a.copyOperator(c.Context(), &f, from, client, args[0])
		},
	}
	flags := c.Flags()
	f.log.add(flags)
	flags.StringVar(&to.url, "to", "", "`URL` of the log that gets the statements, or its name in your firn.policy")
	flags.StringVar(&to.policy, "to-policy", "", "`FILE` that says which checkpoints of that log are believed (default what firn.policy names)")
	flags.DurationVar(&f.wait, "wait", 5*time.Second, "how long to wait for the proof that the log has it")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	return c
}

func (a *app) copyOperator(ctx context.Context, f *signFlags, from, to *log.Client, name string) error {
	h, err := findOperator(ctx, from, name)
	if err != nil {
		return err
	}
	if why := h.unsure(); why != "" {
		return failf(exitInconclusive, "try again later, or copy from another log", "what is copied may not be all: %s", why)
	}
	there, err := readHistory(ctx, to, h.ID)
	if err != nil {
		return err
	}
	has := make(map[statement.ID]bool)
	if there != nil {
		for _, s := range there.Steps {
			has[s.Statement.ID()] = true
		}
	}
	b := &batch{}
	for _, s := range h.Steps {
		// Also what follows a fork: whoever reads the other log is to see it.
		if (s.Counts || s.Branch > 0) && !has[s.Statement.ID()] {
			b.statements = append(b.statements, s.Statement)
		}
	}
	return b.send(ctx, a, to, f, h.ID)
}

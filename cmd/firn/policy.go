package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newPolicyCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Look at the policy that says whom you believe",
	}
	c.AddCommand(newPolicyCheckCmd(a), newPolicyLintCmd(a), newPolicyTestCmd(a), newPolicyExplainCmd(a), newPolicyInitCmd(a), newPolicyPackCmd(a))
	return c
}

func newPolicyCheckCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Read a policy as firn verify would and print what it means",
		Long: `Check reads a policy and the log policies that it names, reports everything that
is wrong with line and column (exit status 2), and otherwise prints the policy
in its canonical form. It asks no log.`,
		Example: `  firn policy check
  firn policy check ./firn.policy`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := ""
			if len(args) == 1 {
				path = args[0]
			}
			pol, err := a.loadPolicy(path)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.Stdout, pol.String())
			return err
		},
	}
}

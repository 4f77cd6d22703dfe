package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/verify"
)

func newPolicyTestCmd(a *app) *cobra.Command {
	var policy string
	c := &cobra.Command{
		Use:   "test FILE...",
		Short: "See whether a policy does what you expect of it",
		Long: `Test reads cases, each of which says what is known about a path, who claims what about
it, and what the policy must make of that, and says where it does something else. It asks no
log. A case is

  case one builder is not enough
  path /nix/store/00000000000000000000000000000000-hello-2.12.1
  claim alice built same
  expect untrusted warn

spec/policy.md has all lines. Exit status 3 means that some case went wrong.`,
		Example: "  firn policy test --policy firn.policy firn.policy.test",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.testPolicy(policy, args) },
	}
	c.Flags().StringVar(&policy, "policy", "", "policy `FILE` (default as for firn verify)")
	return c
}

func (a *app) testPolicy(policy string, files []string) error {
	pol, err := a.loadPolicy(policy)
	if err != nil {
		return err
	}
	var all []*verify.Scenario
	var names []string // the file of each
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return failf(exitUsage, "", "reading the cases: %w", err)
		}
		cases, err := verify.ParseScenarios(file, data, pol)
		if err != nil {
			return failf(exitUsage, "", "the cases are wrong:\n%w", err)
		}
		all = append(all, cases...)
		for range cases {
			names = append(names, file)
		}
	}
	bad := 0
	for i, s := range all {
		_, problem := s.Run(pol)
		if problem == "" {
			fmt.Fprintf(a.Stdout, "ok    %s\n", s.Name)
			continue
		}
		bad++
		fmt.Fprintf(a.Stdout, "WRONG %s\n      %s:%d: %s\n", s.Name, names[i], s.Line, problem)
	}
	if bad > 0 {
		return failf(exitUntrusted, "either the policy or what the case expects is not what you mean", "%d of %s went wrong", bad, plural(uint64(len(all)), "case", "cases"))
	}
	return nil
}

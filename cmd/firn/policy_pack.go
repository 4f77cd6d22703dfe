package main

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/verify"
)

func newPolicyPackCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "pack [FILE]",
		Short: "Write a policy and all files that it names as one file, for others to begin with",
		Long: `Pack writes a policy and the log and index policies that it names, which lie beside it, to
stdout as one file, and to stderr what others give to firn policy init --from: its SHA-256.`,
		Example: `  firn policy pack /etc/firn/firn.policy >ours.policyset
  firn policy init --from https://example.org/ours.policyset --pin <SHA-256>`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := ""
			if len(args) == 1 {
				path = args[0]
			} else if found, err := a.foundPolicy(); err != nil {
				return err
			} else {
				path = found
			}
			set, err := verify.PackPolicy(path)
			if err != nil {
				return packFailure(err)
			}
			b := set.Bytes()
			if _, err := a.Stdout.Write(b); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stderr, "pin %x\n", sha256.Sum256(b))
			return err
		},
	}
}

// foundPolicy is the first of the usual places that has a policy.
func (a *app) foundPolicy() (string, error) {
	for _, p := range a.policyPaths() {
		if _, err := verify.LoadPolicy(p); !errors.Is(err, verify.ErrNoPolicy) {
			return p, nil
		}
	}
	return "", failf(exitUsage, "name one: firn policy pack FILE", "there is no policy in the usual places")
}

func packFailure(err error) error {
	var wrong verify.PolicyErrors
	if errors.As(err, &wrong) || errors.Is(err, verify.ErrNoPolicy) {
		return failf(exitUsage, "", "%w", err)
	}
	return failf(exitFailed, "", "packing the policy: %w", err)
}

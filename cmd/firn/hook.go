package main

import "github.com/spf13/cobra"

func newHookCmd(a *app) *cobra.Command {
	return &cobra.Command{Use: "hook", Short: "Set up Nix's post-build hook"}
}

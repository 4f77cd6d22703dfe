package main

import "github.com/spf13/cobra"

func newSubmitCmd(a *app) *cobra.Command {
	return &cobra.Command{Use: "submit", Short: "Send the builds of this machine to a log"}
}

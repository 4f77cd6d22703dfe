package main

import "github.com/spf13/cobra"

func newImportCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Bring what others have signed already into a log",
		Long: `These commands read what others publish about builds and send it to a log as
statements. Nothing is sent that was not verified first.

  firn import cache https://cache.example /nix/store/...-hello-2.12.1 \
    --trusted-key cache.example-1:BASE64 --log URL --log-policy FILE
  firn import hydra https://hydra.example nixpkgs/trunk --cache https://cache.example \
    --trusted-key cache.example-1:BASE64 --key FILE --log URL --log-policy FILE`,
	}
	c.AddCommand(newImportCacheCmd(a), newImportHydraCmd(a))
	return c
}

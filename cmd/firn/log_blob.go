package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

func newLogBlobCmd(a *app, f *logReadFlags) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "blob SHA256",
		Short: "Fetch bytes that a statement names by their hash",
		Long: `Blob fetches a list of paths, a derivation text, a build log or a report of differences
that a statement in the log names, from the log or a mirror of it, and checks its hash.
Without -o it goes to standard output, but not to a terminal, which it could confuse:
it comes from whoever signed that statement.

  firn log blob 6b1f… --log main -o build.log`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			hash, err := nix.ParseHex(args[0])
			if err != nil {
				return failf(exitUsage, "a blob is named by its SHA-256, in 64 lower-case hexadecimal digits", "%w", err)
			}
			if out, ok := a.Stdout.(*os.File); output == "" && ok && term.IsTerminal(int(out.Fd())) {
				return failf(exitUsage, "name a file with -o, or pipe it into a pager", "a blob is not printed on a terminal")
			}
			client, err := a.readClient(f, "")
			if err != nil {
				return err
			}
			b, err := client.Blob(cmd.Context(), hash, statement.MaxBlob)
			switch {
			case errors.Is(err, log.ErrDeleted):
				return failf(exitFailed, "somebody else may have it; its hash says whether it is the same", "%w", err)
			case errors.Is(err, log.ErrNotFound):
				return failf(exitFailed, "a log does not take every blob, and drops those that are old; mirrors have lists of paths only", "%w", err)
			case err != nil:
				return readFailure(err)
			}
			if output == "" {
				_, err = a.Stdout.Write(b)
			} else if err = durable.WriteFile(output, b, 0o644); err != nil {
				err = failf(exitFailed, "", "writing the blob: %w", err)
			}
			return err
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "write it to `FILE`")
	return c
}

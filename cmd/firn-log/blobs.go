package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/server"
	"github.com/firn-log/firn/log/server/blobs"
)

func newBlobsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "blobs",
		Short: "List and delete what is kept beside statements",
		Long: `A log keeps lists of paths that statements name and, if [blobs] says so, build logs,
derivation texts and reports of differences. These commands may be used while it runs.`,
	}
	cmd.AddCommand(newBlobsListCmd(a), newBlobsDeleteCmd(a))
	return cmd
}

func newBlobsListCmd(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list DIR",
		Short: "List the blobs of a log, the oldest first",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := server.ListBlobs(args[0])
			if errors.Is(err, fs.ErrNotExist) {
				return noLog(args[0], err)
			}
			if err != nil {
				return fail(exitFailed, "", err)
			}
			if asJSON {
				return listJSON(a, all)
			}
			w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, b := range all {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", b.Hash.Hex(), class(b), b.Size, b.Taken.UTC().Format(time.RFC3339))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func class(b blobs.Info) string {
	if b.List {
		return "list"
	}
	return "other"
}

func listJSON(a *app, all []blobs.Info) error {
	out := []map[string]any{}
	for _, b := range all {
		out = append(out, map[string]any{"sha256": b.Hash.Hex(), "class": class(b), "size": b.Size, "taken": b.Taken.UTC().Truncate(time.Second)})
	}
	return json.NewEncoder(a.Stdout).Encode(map[string]any{"schema": 1, "blobs": out})
}

func newBlobsDeleteCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "delete DIR SHA256...",
		Short: "Delete blobs for good",
		Long: `Delete removes build logs, derivation texts and reports from the log in DIR, for instance
because they hold a secret. They are answered with "deleted" and not taken again. Whoever
has read them has them: a secret that was in one must be changed.

Lists of paths are kept, because signatures of caches cannot be checked without them.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			var hashes []nix.Hash
			for _, s := range args[1:] {
				h, err := nix.ParseHex(s)
				if err != nil {
					return fail(exitUsage, "`firn-log blobs list "+args[0]+"` names them", err)
				}
				hashes = append(hashes, h)
			}
			for _, h := range hashes {
				err := server.DeleteBlob(args[0], h)
				switch {
				case errors.Is(err, blobs.ErrNotFound):
					return fail(exitFailed, "`firn-log blobs list "+args[0]+"` names those that are here", fmt.Errorf("the log in %s does not hold the blob %s", args[0], h.Hex()))
				case errors.Is(err, fs.ErrNotExist):
					return noLog(args[0], err)
				case err != nil:
					return fail(exitFailed, "", err)
				}
				fmt.Fprintf(a.Stdout, "%s deleted\n", h.Hex())
			}
			return nil
		},
	}
}

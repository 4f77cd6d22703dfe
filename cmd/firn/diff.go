package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/nix"
)

func newDiffCmd(a *app) *cobra.Command {
	var asJSON bool
	files := 40
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "Say which files of two paths differ",
		Long: `Diff compares two paths as Nix sees them: the contents, types, executable bits and
link targets of all files, and no times or owners. A and B are store paths or any other
files or directories.

Exit status: 0 the same, 1 it could not be done, 3 they differ.`,
		Example: `  firn diff /nix/store/...-hello-2.12.1 rebuilt/nix/store/...-hello-2.12.1`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.diff(c.Context(), args[0], args[1], files, asJSON)
		},
	}
	c.Flags().IntVar(&files, "files", files, "name at most this many files")
	c.Flags().BoolVar(&asJSON, "json", false, "write one JSON object")
	return c
}

// diffOutput is the JSON of firn diff (spec/cli.md#firn-diff).
type diffOutput struct {
	Schema int        `json:"schema"`
	Exit   int        `json:"exit"`
	A      diffSide   `json:"a"`
	B      diffSide   `json:"b"`
	Total  uint64     `json:"total"`
	Files  []diffFile `json:"files"`
}

type diffSide struct {
	Path    string `json:"path"`
	NarHash string `json:"nar_hash"`
	NarSize uint64 `json:"nar_size"`
}

type diffFile struct {
	Name  string       `json:"name"`
	Bytes []byte       `json:"name_bytes,omitempty"` // only if name is not UTF-8
	What  nix.DiffKind `json:"what"`
}

func (a *app) diff(ctx context.Context, pathA, pathB string, files int, asJSON bool) error {
	if files < 1 {
		return failf(exitUsage, "", "--files is %d, and has to be at least 1", files)
	}
	d, err := nix.DiffTrees(ctx, pathA, pathB, nix.DiffOptions{MaxFiles: files})
	if err != nil {
		return failf(exitFailed, "", "comparing %s and %s: %w", pathA, pathB, err)
	}
	code := exitOK
	if d.A != d.B {
		code = exitUntrusted
	}
	if asJSON {
		out := diffOutput{
			Schema: 1, Exit: code, Total: d.Total, Files: diffFiles(d),
			A: diffSide{pathA, d.A.String(), d.SizeA}, B: diffSide{pathB, d.B.String(), d.SizeB},
		}
		err = a.writeJSON(out)
	} else {
		err = writeDiff(a.Stdout, d)
	}
	if err != nil || code == exitOK {
		return err
	}
	return errSilent(code)
}

// writeDiff lists what differs for people.
func writeDiff(w io.Writer, d *nix.NarDiff) error {
	if d.A == d.B {
		_, err := fmt.Fprintf(w, "the same, %s, %d bytes\n", d.A, d.SizeA)
		return err
	}
	for _, f := range d.Files {
		if _, err := fmt.Fprintf(w, "%-10s  %s\n", f.What, diffName(f.Name)); err != nil {
			return err
		}
	}
	if more := d.Total - uint64(len(d.Files)); more > 0 {
		if _, err := fmt.Fprintf(w, "… and %d more\n", more); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "A %s, %d bytes\nB %s, %d bytes\n", d.A, d.SizeA, d.B, d.SizeB)
	return err
}

// diffName is a file name of an archive as people may see it: it may hold any byte.
func diffName(name string) string {
	if name == "" {
		return "(the path itself)"
	}
	if quoted := strconv.QuoteToGraphic(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

func newLogAuditCmd(a *app, f *logReadFlags) *cobra.Command {
	return f.jsonFlag(&cobra.Command{
		Use:   "audit",
		Short: "Read the whole log and verify every signature in it",
		Long: `Audit reads every entry of the log and verifies the signature of each statement with
the keys that the log itself carries. It reports what does not verify and what is
signed by a key that is nowhere in the log, and then ends with exit status 3. It
does not say whether the keys are to be trusted; firn verify does, by your policy.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.readClient(f, "")
			if err != nil {
				return err
			}
			cp, err := c.Checkpoint(cmd.Context())
			if err != nil {
				return readFailure(err)
			}
			p := a.progress()
			res, err := c.Audit(cmd.Context(), cp, func(done, total uint64) { p.show("auditing", done, total) })
			p.clear()
			if err != nil {
				return readFailure(err)
			}
			a.warnOfFreeze(res.Freeze)
			return a.showAudit(f, cp, res)
		},
	})
}

func (a *app) showAudit(f *logReadFlags, cp *log.Checkpoint, res *log.Audit) error {
	unknown := slices.SortedFunc(maps.Keys(res.Unknown), func(x, y statement.KeyID) int { return slices.Compare(x[:], y[:]) })
	if f.json {
		faults, keys := []any{}, map[string]uint64{}
		for _, x := range res.Faults {
			faults = append(faults, map[string]any{"index": x.Index, "reason": x.Reason})
		}
		for id, n := range res.Unknown {
			keys[id.String()] = n
		}
		out := map[string]any{
			"schema": 1, "origin": cp.Origin, "size": cp.Size, "root": cp.Root.String(),
			"verified": res.Verified, "kinds": res.Kinds, "faults": faults, "unknown_keys": keys,
		}
		if res.Unlisted > 0 {
			out["unlisted"] = res.Unlisted
		}
		if res.Freeze != nil {
			out["frozen"] = freezeJSON(res.Freeze)
		}
		err := writeJSON(a.Stdout, out)
		if err != nil {
			return err
		}
	} else {
		for _, x := range res.Faults {
			fmt.Fprintf(a.Stdout, "entry %d: %s\n", x.Index, x.Reason)
		}
		for _, id := range unknown {
			fmt.Fprintf(a.Stdout, "key %s is not in the log: %s of it not verified\n", id, plural(res.Unknown[id], "statement", "statements"))
		}
		if res.Unlisted > 0 {
			fmt.Fprintf(a.Stdout, "%s whose list of references is not in the log: not verified\n", plural(res.Unlisted, "signature of a cache", "signatures of caches"))
		}
		fmt.Fprintf(a.Stdout, "%s of %s, %d verified:", plural(res.Entries, "entry", "entries"), cp.Origin, res.Verified)
		for i, k := range slices.Sorted(maps.Keys(res.Kinds)) {
			if i > 0 {
				fmt.Fprint(a.Stdout, ",")
			}
			fmt.Fprintf(a.Stdout, " %d %s", res.Kinds[k], k)
		}
		fmt.Fprintln(a.Stdout)
	}
	if len(res.Faults) > 0 || len(res.Unknown) > 0 || res.Unlisted > 0 {
		return errSilent(exitUntrusted)
	}
	return nil
}

func newLogFsckCmd(a *app, f *logReadFlags) *cobra.Command {
	return f.jsonFlag(&cobra.Command{
		Use:   "fsck [DIR|URL]",
		Short: "Hash every file of a log again and name what is wrong",
		Long: `Fsck reads every tile and every entry of a log, hashes everything again up to the
signed checkpoint, and names each file that is not what it must be. In a folder it
also names files that do not belong there. The folder may be the static tree or
the folder of a firn-log.

Exit status: 0 if all is well, 3 if anything is not, 1 if the log cannot be read.

  firn log fsck /var/lib/firn-log --log main`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			where, dir := "", ""
			if len(args) == 1 {
				var err error
				if where, dir, err = logPlace(args[0]); err != nil {
					return failf(exitUsage, "", "%w", err)
				}
			}
			if err := checkTree(dir); err != nil {
				return err
			}
			c, err := a.readClient(f, where)
			if err != nil {
				return err
			}
			p := a.progress()
			res, err := c.Fsck(cmd.Context(), func(done, total uint64) { p.show("hashing", done, total) })
			p.clear()
			if err != nil {
				return readFailure(err)
			}
			if dir != "" {
				stray, err := log.StrayFiles(dir)
				if err != nil {
					return failf(exitFailed, "", "looking for stray files: %w", err)
				}
				res.Faults = append(res.Faults, stray...)
			}
			return a.showFsck(f, c.Origin(), res)
		},
	})
}

// checkTree refuses a folder without a checkpoint: somebody named the wrong one,
// and a list of all that is in it would not say so.
func checkTree(dir string) error {
	if fi, err := os.Stat(dir); dir == "" || err != nil || !fi.IsDir() {
		return nil // a URL, or what cannot be read says so itself
	}
	if _, err := os.Lstat(filepath.Join(dir, "checkpoint")); errors.Is(err, fs.ErrNotExist) {
		return failf(exitFailed, "is this a log's public folder? name the one that holds checkpoint and tile, or the folder of a firn-log",
			"checking the log in %s: it holds no checkpoint", dir)
	}
	return nil
}

func (a *app) showFsck(f *logReadFlags, origin string, res *log.Fsck) error {
	if f.json {
		faults := []any{}
		for _, x := range res.Faults {
			faults = append(faults, map[string]any{"path": x.Path, "reason": x.Reason})
		}
		out := map[string]any{"schema": 1, "origin": origin, "entries": res.Entries, "tiles": res.Tiles, "faults": faults}
		if res.Checkpoint != nil {
			out["size"], out["root"] = res.Checkpoint.Size, res.Checkpoint.Root.String()
		}
		if err := writeJSON(a.Stdout, out); err != nil {
			return err
		}
	} else {
		for _, x := range res.Faults {
			fmt.Fprintln(a.Stdout, x)
		}
		verdict := "all is well"
		if n := uint64(len(res.Faults)); n > 0 {
			verdict = plural(n, "fault", "faults")
		}
		fmt.Fprintf(a.Stdout, "%s: %s and %s: %s\n", origin, plural(res.Entries, "entry", "entries"), plural(res.Tiles, "tile", "tiles"), verdict)
	}
	if len(res.Faults) > 0 {
		return errSilent(exitUntrusted)
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/verify"
	"github.com/firn-log/firn/verify/closure"
)

type bundleFlags struct {
	logFlags
	firnPolicy, store, storeDir, out string
	json                             bool
}

func newBundleCmd(a *app) *cobra.Command {
	var f bundleFlags
	c := &cobra.Command{
		Use:   "bundle [PATH...] -o FILE",
		Short: "Take along what logs say about paths, for machines without a network",
		Long: `Bundle asks the logs of your policy about each path in the closure of PATH, and about
everybody who says something about one, and writes the answers to a file, with all that
proves them. On a machine without a network

  firn verify --bundle FILE PATH

then judges by a policy of its own as it would by asking the logs. The file needs no
protection: what is changed in it is refused. What it says is as old as the file.

With --log-policy it asks one log and needs no firn.policy; whoever verifies has one.`,
		Example: `  firn bundle ./result -o result.bundle
  firn verify --bundle result.bundle ./result`,
		RunE: func(c *cobra.Command, args []string) error { return a.bundle(c.Context(), &f, args) },
	}
	flags := c.Flags()
	f.add(flags)
	flags.StringVar(&f.firnPolicy, "policy", "", "firn.policy `FILE` whose logs are asked (default as in firn verify)")
	flags.StringVarP(&f.out, "output", "o", "", "`FILE` to write, - for stdout")
	flags.StringVar(&f.store, "store", "", "`ROOT` of a private store, as in nix --store ROOT")
	flags.StringVar(&f.storeDir, "store-dir", string(nix.DefaultStoreDir), "`FOLDER` that store paths begin with")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	return c
}

func (a *app) bundle(ctx context.Context, f *bundleFlags, args []string) error {
	switch {
	case f.out == "":
		return failf(exitUsage, "for instance -o result.bundle", "there is no file to write to")
	case f.out == "-" && f.json:
		return failf(exitUsage, "name a file with -o", "--json and the bundle cannot both go to stdout")
	}
	if dir, err := os.Stat(filepath.Dir(f.out)); f.out != "-" && (err != nil || !dir.IsDir()) {
		return failf(exitUsage, "make it, or name another file with -o", "there is no folder %s to write the bundle to", filepath.Dir(f.out))
	}
	args, err := targets(args, "there is nothing to take along", "firn bundle ./result -o "+f.out)
	if err != nil {
		return err
	}
	logs, pol, err := a.bundleLogs(f)
	if err != nil {
		return err
	}
	store, err := closure.Open(ctx, f.store, nix.StoreDir(f.storeDir))
	if err != nil {
		return failf(exitFailed, "firn reads the database of a Nix store on this machine; name another one with --store", "opening the Nix store: %w", err)
	}
	defer store.Source.Close()
	subjects, err := store.Subjects(ctx, args)
	if err != nil {
		return closureFailure(err)
	}
	b, warnings, err := verify.RecordBundle(ctx, logs, subjects, pol)
	for _, w := range warnings {
		fmt.Fprintf(a.Stderr, "firn: warning: %s\n", w)
	}
	if err != nil {
		return logFailure("making a bundle", err)
	}
	if pol != nil {
		a.foresee(ctx, b, pol, subjects)
	}
	return a.writeBundle(f, b, logs, len(subjects))
}

// foresee warns of what leaves the verdicts of this bundle open by the policy that it is made
// with, for instance auditors who have not vouched.
func (a *app) foresee(ctx context.Context, b *log.Bundle, pol *verify.Policy, subjects []verify.Subject) {
	r, err := verify.Verify(ctx, pol, subjects, verify.Options{Bundle: b})
	if err != nil {
		fmt.Fprintf(a.Stderr, "firn: warning: this policy refuses the bundle: %v\n", err)
		return
	}
	for _, l := range r.Logs {
		held := slices.ContainsFunc(b.Parts, func(p log.BundlePart) bool { return p.Origin == l.Origin })
		if held && l.Complete.By == verify.BasisNone {
			fmt.Fprintf(a.Stderr, "firn: warning: by this policy verdicts of the bundle are inconclusive: %s\n", l.Complete.Why)
		}
	}
}

// bundleLogs are the logs that flags and policy name; the policy is nil if flags name
// the log.
func (a *app) bundleLogs(f *bundleFlags) ([]verify.BundleLog, *verify.Policy, error) {
	var pol *verify.Policy
	var err error
	if f.logFlags.policy == "" || f.firnPolicy != "" {
		if pol, err = a.loadPolicy(f.firnPolicy); err != nil {
			return nil, nil, err
		}
	}
	if f.logFlags.policy != "" {
		c, err := a.openLog(&f.logFlags)
		if err != nil {
			return nil, nil, err
		}
		return []verify.BundleLog{{Name: c.Origin(), Required: true, Client: c}}, pol, nil
	}
	refs := pol.Logs
	if f.url != "" {
		ref, err := pickLog(pol, f.url)
		if err != nil {
			return nil, nil, failf(exitUsage, "name one with --log NAME, or any other with --log URL and --log-policy FILE", "%w", err)
		}
		refs = []*verify.LogRef{ref}
	}
	var logs []verify.BundleLog
	for _, ref := range refs {
		at := &logPlaces{url: ref.URL, mirrors: append(ref.Mirrors[:len(ref.Mirrors):len(ref.Mirrors)], f.mirrors...), policy: ref.Policy}
		c, err := a.newClient(&f.logFlags, at, log.Options{})
		if err != nil {
			return nil, nil, err
		}
		logs = append(logs, verify.BundleLog{Name: ref.Name, Required: ref.Required, Client: c})
	}
	return logs, pol, nil
}

func (a *app) writeBundle(f *bundleFlags, b *log.Bundle, logs []verify.BundleLog, paths int) error {
	data := b.Marshal()
	if len(data) > log.MaxBundle {
		return failf(exitFailed, "make bundles of parts of the closure", "the bundle has %d bytes, more than %d", len(data), log.MaxBundle)
	}
	if f.out == "-" {
		_, err := a.Stdout.Write(data)
		return err
	}
	if err := durable.WriteFile(f.out, data, 0o644); err != nil {
		return failf(exitFailed, "", "writing the bundle: %w", err)
	}
	names := make(map[string]string)
	for _, l := range logs {
		names[l.Client.Origin()] = l.Name
	}
	each := len(data) / max(paths, 1)
	if f.json {
		held := []any{}
		for _, h := range b.Holdings() {
			held = append(held, map[string]any{"log": names[h.Origin], "origin": h.Origin, "size": h.Size, "keys": h.Keys})
		}
		return a.writeJSON(map[string]any{"schema": 1, "file": f.out, "bytes": len(data), "paths": paths, "bytes_per_path": each, "logs": held})
	}
	for _, h := range b.Holdings() {
		fmt.Fprintf(a.Stdout, "log %s at size %d: all entries under %s\n", names[h.Origin], h.Size, plural(uint64(h.Keys), "key", "keys"))
	}
	_, err := fmt.Fprintf(a.Stdout, "%s: %s, %d bytes, %d for each path\n", f.out, plural(uint64(paths), "path", "paths"), len(data), each)
	return err
}

// readBundle reads the file that --bundle names.
func readBundle(path string) (*log.Bundle, error) {
	hint := "a bundle is made with `firn bundle PATH -o FILE`"
	in, err := os.Open(path)
	if err != nil {
		return nil, failf(exitFailed, hint, "reading the bundle: %w", err)
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, log.MaxBundle+1))
	if err != nil {
		return nil, failf(exitFailed, "", "reading the bundle: %w", err)
	}
	bundle, err := log.ParseBundle(b)
	if err != nil {
		why, _ := strings.CutPrefix(err.Error(), lookup.ErrMalformed.Error()+": ")
		return nil, failf(exitFailed, hint, "%s is not a bundle: %s", path, why)
	}
	return bundle, nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
	"github.com/firn-log/firn/verify/closure"
)

type statementClosureFlags struct {
	config, cache string
	dryRun, json  bool
	wait          time.Duration
}

func newStatementClosureCmd(a *app) *cobra.Command {
	var f statementClosureFlags
	c := &cobra.Command{
		Use:   "closure NAME PATH...",
		Short: "State what a system, an image or a profile consists of",
		Long: `Closure states, signed by your build key, that PATH and all that it needs are what
you call NAME. Trackers then show how much of it is reproduced. State each
generation or release under the same NAME, and they show how that changes.

PATH is a store path, a link to one such as /run/current-system, or a .drv, which
stands for its outputs. With --cache nothing of it has to be on this machine: the
closure is read from the narinfos of a binary cache.

Log, key and spool are those of firn submit's configuration. The statement is put
into the spool, so that nothing is lost if the log is down, and is sent at once; if
firn submit runs as a service, by that. Stating the same again changes nothing.

The names of all paths become public, and stay so. --dry-run lists them.

Exit status: 0 it is in the log, and proven; 1 it could not be stated, or waits in
the spool; 2 usage or configuration; 3 the cache gave wrong answers; 5 the log was
caught with two histories.`,
		Example: `  firn statement closure laptop /run/current-system
  firn statement closure installer.iso ./result --dry-run
  firn statement closure hello /nix/store/...-hello-2.12.1 --cache https://cache.example`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.stateClosure(c.Context(), &f, args[0], args[1:], c.Flags().Changed("config"))
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.config, "config", submit.DefaultConfig, "configuration `FILE` of firn submit")
	flags.StringVar(&f.cache, "cache", "", "read the closure from the binary cache at this `URL`")
	flags.DurationVar(&f.wait, "wait", 20*time.Second, "how long to wait for the log and its proof")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show what would be stated, and do nothing")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	return c
}

// stated is the JSON of firn statement closure (spec/cli.md#firn-statement-closure).
type stated struct {
	Schema    int      `json:"schema"`
	Name      string   `json:"name"`
	Paths     int      `json:"paths"`
	Digest    string   `json:"digest"`
	Beside    bool     `json:"beside"` // the list is a blob beside the statement
	State     string   `json:"state"`  // sent, waiting, failed; or dry-run
	Statement string   `json:"statement,omitempty"`
	Origin    string   `json:"origin,omitempty"`
	Index     *uint64  `json:"index,omitempty"`
	URL       string   `json:"url,omitempty"`   // of the proof, in the log
	Proof     string   `json:"proof,omitempty"` // file with it
	Spooled   string   `json:"spooled,omitempty"`
	Why       string   `json:"why,omitempty"`
	List      []string `json:"list,omitempty"` // with --dry-run: the paths
}

func (a *app) stateClosure(ctx context.Context, f *statementClosureFlags, name string, args []string, named bool) error {
	if err := nix.CheckName(name); err != nil {
		return failf(exitUsage, "use letters, digits and . + - _ ? =, for instance laptop or nixos-25.11-minimal.iso", "a closure cannot be called %q: %w", name, err)
	}
	if f.wait < 0 {
		return failf(exitUsage, "for instance --wait 60s", "--wait %v is negative", f.wait)
	}
	conf, err := a.closureConfig(f, named)
	if err != nil {
		return err
	}
	paths, err := a.closurePaths(ctx, f, conf, args)
	if err != nil {
		return err
	}
	claim, err := submit.ClosureClaim(name, nix.StoreDir(conf.StoreDir), paths)
	switch {
	case errors.Is(err, submit.ErrTooLarge):
		return failf(exitFailed, "state its parts under names of their own", "the closure %s is not stated: %w", name, err)
	case err != nil:
		return failf(exitUsage, "", "the closure %s is not stated: %w", name, err)
	}
	out := &stated{Schema: 1, Name: name, Paths: len(paths), Digest: "sha256:" + statement.PathsDigest(paths).Hex(), Beside: len(claim.Blobs) > 0}
	if f.dryRun {
		return a.showUnstated(f, out, paths, len(claim.Payload))
	}
	err = a.sendClosure(ctx, f, conf, claim, out)
	if out.State == "" {
		return err // it was not even put into the spool
	}
	if werr := a.showStated(f, conf, out); werr != nil {
		return werr
	}
	return err
}

// closureConfig returns the configuration of firn submit; to look only, one is not needed.
func (a *app) closureConfig(f *statementClosureFlags, named bool) (*submit.Config, error) {
	conf, err := submit.LoadConfig(f.config, a.Getenv)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.dryRun && !named:
		return submit.DefaultsOnly(a.Getenv), nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, failf(exitUsage, configHint, "there is no configuration %s", f.config)
	case err == nil && !f.dryRun:
		err = conf.Check()
	}
	if err != nil {
		return nil, configFailure(f.config, err)
	}
	if conf.State == "" {
		conf.State = a.stateDir("")
	}
	return conf, nil
}

// closurePaths returns what args need, sorted.
func (a *app) closurePaths(ctx context.Context, f *statementClosureFlags, conf *submit.Config, args []string) ([]nix.StorePath, error) {
	dir := nix.StoreDir(conf.StoreDir)
	var subjects []verify.Subject
	if f.cache != "" {
		walked, err := a.cachedClosure(ctx, f, conf, args)
		if err != nil {
			return nil, err
		}
		if len(walked.Absent) > 0 {
			missing := walked.Absent[0]
			return nil, failf(exitFailed, "a closure is stated whole; ask the cache's operator, or another cache", "the cache %s does not have %s, to which %s refers", f.cache, missing.Path, missing.Referrer.Name())
		}
		subjects = walked.Subjects()
	} else {
		src, err := nixdb.OpenStore(ctx, filepath.Join(conf.Store, conf.StateDir), dir, "")
		if err != nil {
			return nil, failf(exitFailed, "what is not in a store of this machine is read from a binary cache with --cache", "reading Nix's database: %w", err)
		}
		defer src.Close()
		if subjects, err = (&closure.Store{Source: src, Root: conf.Store}).Subjects(ctx, args); err != nil {
			return nil, failf(exitFailed, strings.Replace(closureHint(err), "with --store", "as store in the configuration", 1), "finding what to state: %w", err)
		}
	}
	paths := make([]nix.StorePath, len(subjects))
	for i, s := range subjects {
		if s.Unbuilt {
			return nil, failf(exitFailed, "build it or fetch it first", "%s is not in the store", s.Info.Path)
		}
		paths[i] = s.Info.Path
	}
	slices.SortFunc(paths, nix.StorePath.Compare)
	return slices.Compact(paths), nil
}

func (a *app) cachedClosure(ctx context.Context, f *statementClosureFlags, conf *submit.Config, args []string) (*closure.Cached, error) {
	c, err := a.openCache(ctx, f.cache, nix.StoreDir(conf.StoreDir))
	if err != nil {
		return nil, err
	}
	var roots []nix.StorePath
	where := verifyFlags{store: conf.Store, storeDir: conf.StoreDir}
	for _, arg := range args {
		more, err := where.cacheRoots(ctx, nil, arg)
		if err != nil {
			return nil, err
		}
		roots = append(roots, more...)
	}
	return a.walkCache(ctx, c, roots)
}

// sendClosure puts the claim into the spool, which loses nothing, and has it sent: by itself,
// or by the submitter that works there. What became of it is in out, whose State is empty if
// nothing was put.
func (a *app) sendClosure(ctx context.Context, f *statementClosureFlags, conf *submit.Config, claim *submit.Claim, out *stated) error {
	var why error
	for end := time.Now().Add(f.wait); ; {
		s, err := a.openSpool(ctx, conf)
		if err != nil {
			return err
		}
		if out.State == "" {
			out.Spooled, err = submit.PutNow(conf.Spool, claim, time.Now())
		}
		if err == nil {
			out.State = string(submit.Waiting)
			err = a.fate(conf, out) // it may have been sent in this second
		}
		if err == nil && s != nil && out.State == string(submit.Waiting) {
			var sent submit.Outcome
			sent, err = s.SendOne(ctx, out.Spooled, max(0, time.Until(end)))
			if why = sent.Why; err != nil {
				err = openFailure(conf, err)
			} else {
				err = a.fate(conf, out)
			}
		}
		if s != nil {
			s.Close()
		}
		switch {
		case err != nil && out.State == "":
			return openFailure(conf, err)
		case err != nil || out.State != string(submit.Waiting):
			return err
		case s != nil || time.Now().After(end) || ctx.Err() != nil:
			return closureWaits(conf, out, why)
		}
		send.Sleep(ctx, min(conf.Interval.Duration/10, time.Until(end)))
	}
}

// openSpool returns a submitter that has its key, nil while another one works on the spool.
func (a *app) openSpool(ctx context.Context, conf *submit.Config) (*submit.Submitter, error) {
	open := func(ctx context.Context, spec string) (statement.Signer, error) {
		return a.openSigner(ctx, spec, conf.UseLoginKey)
	}
	s, err := submit.Open(conf, submit.Options{Said: warnings{a.Stderr}, Signer: open})
	var locked *durable.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, nil
	case err != nil:
		return nil, openFailure(conf, err)
	}
	if _, err := open(ctx, conf.Key); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// warnings passes on what a submitter warns of, and nothing else of what it does.
type warnings struct{ w io.Writer }

func (w warnings) Write(line []byte) (int, error) {
	if !bytes.HasPrefix(line, []byte("firn: warning: ")) {
		return len(line), nil
	}
	return w.w.Write(line)
}

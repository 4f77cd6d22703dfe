package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/tracker/eval"
)

// evalFlags are those of firn-tracker eval (spec/cli.md#firn-tracker-eval).
type evalFlags struct {
	flags
	publishConfig
	options   eval.Options
	change    eval.Change
	tier      string
	attrs     string
	memory    string
	at        string
	publishes bool
	asJSON    bool
}

func evalCommand(a *app) *cobra.Command {
	var f evalFlags
	c := &cobra.Command{
		Use:   "eval --channel NAME --tree FOLDER [DIR]",
		Short: "Evaluate a tree of packages for a channel",
		Long: `Evaluate every attribute of the tree in FOLDER, which is like a nixpkgs, and keep
what came out in DIR (default the tracker's), where a running tracker finds it.

There are two tiers: metadata (name, version, maintainers, licence, position,
patches, identifiers), and derivations (drv path, outputs, whether it is
fixed-output), which take several times as long. After the first time only what the
changed files can have changed is evaluated, as far as that is known; --full
evaluates everything and says how many attributes the short way had missed.

What crashes, never ends, or needs too much memory is recorded with one sentence, and
evaluation goes on behind it. The tree can read itself, the folders of --allow and
nothing else; it cannot build or fetch anything.

With --publish the derivations are stated in a log as an eval statement, signed by a
build key of yours. Rebuilders that name your operator in work-from build them.

Exit status: 0 it is evaluated, whatever single attributes do; 1 it is not, or not
published; 2 usage or configuration.`,
		Example: `  firn-tracker eval --channel unstable --tree ~/nixpkgs --tier both
  firn-tracker eval --channel unstable --tree ~/nixpkgs --tier drvs --publish --key agent:rebuilder --to main`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.eval(c.Context(), &f, args) },
	}
	fl := c.Flags()
	fl.StringVar(&f.change.Channel, "channel", "", "`NAME` of the channel")
	fl.StringVar(&f.options.Tree, "tree", "", "`FOLDER` with the default.nix of the tree")
	fl.StringVar(&f.attrs, "attrs", "", "evaluate only the attribute paths in this `FILE`, one a line")
	fl.StringVar(&f.options.Root, "root", "", "evaluate only what is in this `ATTRIBUTE`")
	fl.StringVar(&f.tier, "tier", "both", "`TIER`: meta, drvs or both")
	fl.StringVar(&f.options.System, "system", eval.System(), "`SYSTEM` that is evaluated for")
	fl.StringVar(&f.change.Revision, "revision", "", "`REVISION` of the tree (default its git commit, or a digest of what it holds)")
	fl.StringVar(&f.at, "time", "", "`TIME` of the revision, 2006-01-02T15:04:05Z (default that of the git commit, or now)")
	fl.IntVar(&f.options.Workers, "workers", 0, "how many evaluators run at once (default one for each processor)")
	fl.StringVar(&f.memory, "memory", "2GiB", "`BYTES` of memory for all evaluators together")
	fl.DurationVar(&f.options.Timeout, "timeout", time.Minute, "how long one attribute may take")
	fl.BoolVar(&f.change.Full, "full", false, "evaluate everything, and begin with a full file")
	fl.BoolVar(&f.options.Aliases, "aliases", false, "also evaluate the old names of packages")
	fl.StringArrayVar(&f.options.Allow, "allow", nil, "a `FOLDER` beside the tree that it may read (may be repeated)")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	fl.BoolVar(&f.publishes, "publish", false, "state the derivations in a log")
	fl.StringVar(&f.Key, "key", "", "with --publish: the build `KEY` that signs, as firn key show takes it (default publish.key)")
	fl.BoolVar(&f.UseLoginKey, "use-login-key", false, "use a key that also logs in")
	fl.StringVar(&f.Log, "to", "", "with --publish: name or `URL` of the log (default the only one)")
	f.flags.add(fl)
	return c
}

// eval runs the command.
func (a *app) eval(ctx context.Context, f *evalFlags, args []string) error {
	tiers, err := f.check()
	if err != nil {
		return fail(exitUsage, "run `firn-tracker eval --help` for how it is used", err)
	}
	dir, err := a.folder(args)
	if err != nil {
		return err
	}
	var to *publication
	if f.publishes { // what is wrong with it is said before anything is evaluated
		if to, err = a.publication(ctx, f, args); err != nil {
			return err
		}
	}
	if err := f.revision(ctx); err != nil {
		return fail(exitUsage, "", err)
	}
	show := a.evalProgress()
	f.options.Progress = show.show
	folder := eval.NewFolder(filepath.Join(dir, "evals"))
	var reports []*eval.Report
	for _, tier := range tiers {
		f.change.Tier = tier
		r, err := folder.Update(ctx, f.change, f.options)
		show.clear()
		if err != nil {
			return fail(exitFailed, evalHint(err), err)
		}
		reports = append(reports, r)
		f.change.Beside = r
	}
	s := newEvalSummary(reports)
	if to != nil {
		if s.Published, err = to.publish(ctx, reports[len(reports)-1]); err != nil {
			return errors.Join(a.showEval(f, s), err)
		}
	}
	return a.showEval(f, s)
}

func evalHint(err error) string {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "nix-instantiate comes with Nix"
	case strings.Contains(err.Error(), "is forbidden in restricted mode"):
		return "--allow FOLDER lets the tree read another folder"
	}
	return ""
}

// check returns the tiers that are wanted.
func (f *evalFlags) check() (tiers []eval.Tier, err error) {
	switch f.tier {
	case "both":
		tiers = []eval.Tier{eval.Meta, eval.Drvs}
	case "meta", "drvs":
		tiers = []eval.Tier{eval.Tier(f.tier)}
	default:
		return nil, fmt.Errorf("--tier is meta, drvs or both, not %q", f.tier)
	}
	switch {
	case f.change.Channel == "":
		return nil, errors.New("--channel NAME is missing")
	case f.options.Tree == "":
		return nil, errors.New("--tree FOLDER is missing")
	case f.attrs != "" && f.options.Root != "":
		return nil, errors.New("--attrs and --root say different things; give one")
	case f.publishes && f.tier == "meta":
		return nil, errors.New("--publish is about derivations; --tier meta has none")
	case f.options.Timeout <= 0:
		return nil, errors.New("--timeout must be longer than nothing")
	}
	if err := eval.CheckChannel(f.change.Channel); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(f.options.Tree, "default.nix")); err != nil {
		return nil, fmt.Errorf("%s is no tree: %w", f.options.Tree, err)
	}
	if f.options.Memory, err = eval.ParseSize(f.memory); err != nil {
		return nil, fmt.Errorf("--memory: %w", err)
	}
	f.change.Time = time.Now()
	if f.at != "" {
		if f.change.Time, err = time.Parse(time.RFC3339, f.at); err != nil {
			return nil, fmt.Errorf("--time: %q is not like 2006-01-02T15:04:05Z", f.at)
		}
	}
	if f.attrs != "" {
		if f.options.Attrs, err = readAttrs(f.attrs); err != nil {
			return nil, fmt.Errorf("--attrs: %w", err)
		}
	}
	return tiers, err
}

// readAttrs reads attribute paths, one a line; # begins a remark.
func readAttrs(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	attrs := []string{}
	in := bufio.NewScanner(file)
	for n := 1; in.Scan(); n++ {
		line, _, _ := strings.Cut(in.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if !eval.ValidAttr(line) {
			return nil, fmt.Errorf("%s:%d: %.80q is no attribute path", path, n, line)
		}
		if attrs = append(attrs, line); len(attrs) > eval.MaxAttributes {
			return nil, fmt.Errorf("%s: more than %d attribute paths", path, eval.MaxAttributes)
		}
	}
	return attrs, in.Err()
}

// revision finds out which commit the tree is, if it is a clean git checkout and nobody said.
func (f *evalFlags) revision(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(f.options.Tree, ".git")); err != nil || f.change.Revision != "" {
		return nil //nolint:nilerr // then a digest of what it holds is its name
	}
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", f.options.Tree}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	if dirty, err := git("status", "--porcelain"); err != nil || dirty != "" {
		return nil //nolint:nilerr // the same
	}
	out, err := git("log", "-1", "--format=%H %ct")
	if err != nil {
		return nil //nolint:nilerr // the same
	}
	hash, at, _ := strings.Cut(out, " ")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return fmt.Errorf("git tells no time of the commit: %q", out)
	}
	if f.change.Revision = hash; f.at == "" {
		f.change.Time = time.Unix(seconds, 0)
	}
	return nil
}

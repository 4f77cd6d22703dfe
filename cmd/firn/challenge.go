package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
	"github.com/firn-log/firn/verify/closure"
)

// A NAR that is compared comes at least at slowestChallenge bytes a second, after
// challengePatience.
const (
	slowestChallenge  = 32 << 10
	challengePatience = 10 * time.Minute
)

type challengeFlags struct {
	verifyFlags
	caches  []string
	files   int
	maxSize byteSize
}

func newChallengeCmd(a *app) *cobra.Command {
	f := challengeFlags{files: 40, maxSize: 4 << 30}
	c := &cobra.Command{
		Use:   "challenge PATH... --cache URL --cache URL",
		Short: "Compare what binary caches say of a path, and name the files that differ",
		Long: `Challenge asks each cache for the narinfo of PATH, judges what it says by your policy,
and compares it with what the first of them says. Where the contents differ it reads both
NARs, whose hashes are checked, keeps neither, and names the files that differ.

PATH is a store path, a link to one, or a .drv, which stands for its outputs; what it
refers to is not looked at. Without a policy nothing is judged.

Exit status: 0 all the same and nothing is untrusted, 1 it could not be done, 2 usage or
policy, 3 they differ, a NAR is not what its narinfo says, or something is untrusted or
contradicted, 4 inconclusive, 5 a log was caught.`,
		Example: `  firn challenge /nix/store/...-hello-2.12.1 --cache https://cache.nixos.org --cache https://mine.example`,
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.challenge(c.Context(), &f, args) },
	}
	flags := c.Flags()
	f.add(flags)
	flags.StringArrayVar(&f.caches, "cache", nil, "a binary cache at this `URL` (two or more)")
	flags.IntVar(&f.files, "files", f.files, "name at most this many files")
	flags.Var(&f.maxSize, "max-size", "compare no files of a NAR with more bytes; with K, M or G that many times 1024")
	return c
}

// challenged is what all caches say of one path.
type challenged struct {
	path  nix.StorePath
	sides []challengeSide // one for each cache
	diffs []challengeDiff // of the first cache that has it and each other that differs
}

// challengeSide is what one cache says.
type challengeSide struct {
	info    *nix.NarInfo       // nil: the cache does not have it
	verdict *verify.PathReport // nil without a policy
}

// challengeDiff is how two sides differ.
type challengeDiff struct {
	a, b         int             // indexes of caches
	onlyA, onlyB []nix.StorePath // references
	nars         *nix.NarDiff    // nil if the contents were not compared
	why          string          // why they were not, or that a NAR is wrong
	wrong        bool            // a NAR is not what its narinfo says
}

func (a *app) challenge(ctx context.Context, f *challengeFlags, args []string) error {
	switch {
	case len(f.caches) < 2:
		return failf(exitUsage, "firn challenge PATH --cache URL --cache URL", "name two caches or more to compare")
	case f.files < 1:
		return failf(exitUsage, "", "--files is %d, and has to be at least 1", f.files)
	}
	pol, err := a.policyIfAny(f.policy)
	if err != nil {
		return err
	}
	var caches []*bincache.Client
	for _, url := range f.caches {
		c, err := a.openCache(ctx, url, nix.StoreDir(f.storeDir))
		if err != nil {
			return err
		}
		caches = append(caches, c)
	}
	paths, err := f.paths(ctx, args)
	if err != nil {
		return err
	}
	results := make([]*challenged, len(paths))
	for i, p := range paths {
		if results[i], err = askCaches(ctx, caches, p); err != nil {
			return err
		}
	}
	var report *verify.Report
	if pol != nil {
		if report, err = a.judgeSides(ctx, f, pol, results); err != nil {
			return err
		}
		a.warnOf(report)
	}
	for _, r := range results {
		if err := a.compareSides(ctx, f, caches, r); err != nil {
			return err
		}
	}
	return a.showChallenge(f, caches, results, report)
}

// policyIfAny is loadPolicy, and nil where none is named and none is there.
func (a *app) policyIfAny(path string) (*verify.Policy, error) {
	if path == "" && a.Getenv("FIRN_POLICY") == "" && !slices.ContainsFunc(a.policyPaths(), exists) {
		fmt.Fprintf(a.Stderr, "firn: warning: there is no policy, so nothing is judged\n")
		return nil, nil
	}
	return a.loadPolicy(path)
}

// paths are what args name, each once.
func (f *challengeFlags) paths(ctx context.Context, args []string) ([]nix.StorePath, error) {
	store, _ := closure.Open(ctx, f.store, nix.StoreDir(f.storeDir)) // for derivations only
	if store != nil {
		defer store.Source.Close()
	}
	var paths []nix.StorePath
	for _, arg := range args {
		more, err := f.cacheRoots(ctx, store, arg)
		if err != nil {
			return nil, err
		}
		for _, p := range more {
			if !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
	}
	return paths, nil
}

// askCaches reads the narinfo that each cache has of p. That none has it is an error.
func askCaches(ctx context.Context, caches []*bincache.Client, p nix.StorePath) (*challenged, error) {
	r := &challenged{path: p}
	found := false
	for _, c := range caches {
		info, err := c.NarInfo(ctx, p.HashPart())
		switch {
		case errors.Is(err, bincache.ErrMissing):
			info = nil
		case err != nil:
			return nil, cacheFailure(c.URL(), fmt.Errorf("%s: %w", p, err))
		case info.Path != p:
			return nil, cacheFailure(c.URL(), fmt.Errorf("%s: %w", p, &bincache.LieError{What: "the cache calls it " + info.Path.Name()}))
		}
		found = found || info != nil
		r.sides = append(r.sides, challengeSide{info: info})
	}
	if !found {
		return nil, failf(exitFailed, "name a cache that has it", "no cache has %s", p)
	}
	return r, nil
}

// judgeSides judges what every cache says of every path.
func (a *app) judgeSides(ctx context.Context, f *challengeFlags, pol *verify.Policy, results []*challenged) (*verify.Report, error) {
	var subjects []verify.Subject
	var sides []*challengeSide
	for _, r := range results {
		for i := range r.sides {
			if s := &r.sides[i]; s.info != nil {
				subjects, sides = append(subjects, verify.Subject{Info: &s.info.PathInfo}), append(sides, s)
			}
		}
	}
	report, err := a.decide(ctx, &f.verifyFlags, pol, nil, subjects)
	if err != nil {
		return nil, err
	}
	for i, s := range sides {
		s.verdict = &report.Paths[i]
	}
	return report, nil
}

// compareSides compares what the first cache that has the path says with what all others say.
func (a *app) compareSides(ctx context.Context, f *challengeFlags, caches []*bincache.Client, r *challenged) error {
	first := slices.IndexFunc(r.sides, func(s challengeSide) bool { return s.info != nil })
	one := r.sides[first].info
	for i := first + 1; i < len(r.sides); i++ {
		other := r.sides[i].info
		if other == nil || one.Fingerprint() == other.Fingerprint() {
			continue
		}
		d := challengeDiff{a: first, b: i, onlyA: without(one.References, other.References), onlyB: without(other.References, one.References)}
		switch limit := uint64(f.maxSize); {
		case one.NarHash == other.NarHash && one.NarSize == other.NarSize:
			d.why = "the contents are the same"
		case one.NarHash == other.NarHash:
			d.why, d.wrong = "they give one hash and two sizes, and one of them is wrong", true
		case one.NarSize > limit || other.NarSize > limit:
			d.why = fmt.Sprintf("the contents were not compared: a NAR has more than %s bytes (--max-size)", f.maxSize.String())
		default:
			if err := a.compareNars(ctx, f, caches, one, other, &d); err != nil {
				return err
			}
		}
		r.diffs = append(r.diffs, d)
	}
	return nil
}

// compareNars reads the NARs of both caches. One that is not what its narinfo says is a result.
func (a *app) compareNars(ctx context.Context, f *challengeFlags, caches []*bincache.Client, one, other *nix.NarInfo, d *challengeDiff) error {
	patience := challengePatience + time.Duration(min((one.NarSize+other.NarSize)/slowestChallenge, 1<<30))*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the NARs did not come within %v", patience))
	var nars [2]*sideReader
	defer func() {
		cancel() // so that nobody waits for a read of the other side
		for _, n := range nars {
			n.close()
		}
	}()
	for i, side := range []struct {
		cache int
		info  *nix.NarInfo
	}{{d.a, one}, {d.b, other}} {
		nar, err := caches[side.cache].OpenNar(ctx, side.info)
		if err != nil {
			return failf(exitFailed, "", "%s: %w", caches[side.cache].URL(), err)
		}
		nars[i] = &sideReader{nar: nar, url: caches[side.cache].URL()}
	}
	progress := a.progress()
	var done atomic.Uint64
	total := one.NarSize + other.NarSize
	nd, err := nix.DiffNars(nars[0], nars[1], nix.DiffOptions{MaxFiles: f.files, Progress: func(n uint64) {
		progress.show("reading NARs", min(done.Add(n), total), total)
	}})
	progress.clear()
	switch {
	case errors.Is(err, bincache.ErrNar), errors.Is(err, nix.ErrNar):
		d.why, d.wrong = err.Error(), true
		return nil
	case err != nil:
		return failf(exitFailed, "", "comparing the NARs of %s: %w", one.Path, err)
	case nd.A != one.NarHash || nd.B != other.NarHash:
		d.why, d.wrong = "a NAR is not what its narinfo says", true
		return nil
	}
	d.nars = nd
	return nil
}

// sideReader says of which cache an error is. A comparison that failed may still read one side while
// it is closed.
type sideReader struct {
	url string

	mu  sync.Mutex
	nar io.ReadCloser // nil once it is closed
}

func (s *sideReader) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nar == nil {
		return 0, io.ErrClosedPipe
	}
	n, err := s.nar.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%s: %w", s.url, err)
	}
	return n, err
}

// close may be called of nil.
func (s *sideReader) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nar.Close()
	s.nar = nil
}

// without returns what is in a and not in b, both sorted.
func without(a, b []nix.StorePath) []nix.StorePath {
	var out []nix.StorePath
	for _, p := range a {
		if _, ok := slices.BinarySearchFunc(b, p, nix.StorePath.Compare); !ok {
			out = append(out, p)
		}
	}
	return out
}

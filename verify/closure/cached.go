package closure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// Bounds of a closure as a cache has it: what it refers to without end is an error.
const (
	MaxCached     = 200_000   // paths
	MaxCachedRefs = 2_000_000 // references of all of them
	cacheJobs     = 32        // narinfos asked for at once
)

// Narinfos is the part of a binary cache that tells closures; a *bincache.Client is one.
// NarInfo returns what has this hash part, or an error that matches bincache.ErrMissing.
// Its methods are called concurrently.
type Narinfos interface {
	NarInfo(ctx context.Context, hashPart string) (*nix.NarInfo, error)
}

// Cached is a closure as a binary cache has it.
type Cached struct {
	Infos  []*nix.NarInfo // sorted by path
	Absent []Absent       // sorted by path
}

// Absent is a path that a cache does not have although one that it has refers to it.
type Absent struct{ Path, Referrer nix.StorePath }

// WalkCache reads the narinfos of roots and of everything that they refer to, and nothing else.
// That the cache lacks a root is an error that matches bincache.ErrMissing. progress
// may be nil; it is called with how many were read and how many are known of.
func WalkCache(ctx context.Context, c Narinfos, roots []nix.StorePath, progress func(done, known int)) (*Cached, error) {
	w := &walk{cache: c, seen: make(map[nix.StorePath]nix.StorePath), progress: progress}
	for level := w.fresh(nix.StorePath{}, roots); len(level) > 0; {
		w.next = nil
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(cacheJobs)
		for _, p := range level {
			g.Go(func() error { return w.read(ctx, p) })
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		level = w.next
	}
	slices.SortFunc(w.out.Infos, func(a, b *nix.NarInfo) int { return a.Path.Compare(b.Path) })
	for i := range w.out.Absent { // of several referrers always the same
		refers := func(info *nix.NarInfo) bool { return slices.Contains(info.References, w.out.Absent[i].Path) }
		w.out.Absent[i].Referrer = w.out.Infos[slices.IndexFunc(w.out.Infos, refers)].Path
	}
	slices.SortFunc(w.out.Absent, func(a, b Absent) int { return a.Path.Compare(b.Path) })
	return &w.out, nil
}

// walk is one call of WalkCache.
type walk struct {
	cache    Narinfos
	progress func(done, known int)

	mu   sync.Mutex                      // guards what follows
	seen map[nix.StorePath]nix.StorePath // who referred to it first; zero for roots
	next []nix.StorePath                 // to read after this level
	refs int
	out  Cached
}

// fresh returns those of paths that were not seen before.
func (w *walk) fresh(referrer nix.StorePath, paths []nix.StorePath) []nix.StorePath {
	var out []nix.StorePath
	for _, p := range paths {
		if _, ok := w.seen[p]; !ok {
			w.seen[p] = referrer
			out = append(out, p)
		}
	}
	return out
}

// read reads one narinfo and adds it and what it refers to.
func (w *walk) read(ctx context.Context, p nix.StorePath) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	info, err := w.cache.NarInfo(ctx, p.HashPart())
	w.mu.Lock()
	defer w.mu.Unlock()
	referrer := w.seen[p]
	switch {
	case errors.Is(err, bincache.ErrMissing) && !referrer.IsZero():
		w.out.Absent = append(w.out.Absent, Absent{p, referrer})
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", p, err)
	case info.Path != p: // the same hash part, and another name
		return fmt.Errorf("%s: %w", p, &bincache.LieError{What: "the cache calls it " + info.Path.Name()})
	}
	w.out.Infos = append(w.out.Infos, info)
	w.refs += len(info.References)
	w.next = append(w.next, w.fresh(info.Path, info.References)...)
	switch {
	case len(w.seen) > MaxCached:
		return fmt.Errorf("the closure has more than %d paths", MaxCached)
	case w.refs > MaxCachedRefs:
		return fmt.Errorf("the paths of the closure refer to more than %d others", MaxCachedRefs)
	}
	if w.progress != nil {
		w.progress(len(w.out.Infos), len(w.seen))
	}
	return nil
}

// Subjects returns what is to be judged: the narinfos, and what is absent.
func (c *Cached) Subjects() []verify.Subject {
	var subjects []verify.Subject
	for _, info := range c.Infos {
		subjects = append(subjects, verify.Subject{Info: &info.PathInfo})
	}
	for _, a := range c.Absent {
		s := verify.Subject{Info: &nix.PathInfo{Path: a.Path}}
		s.Absent = "the cache does not have it, and " + a.Referrer.Name() + " refers to it"
		subjects = append(subjects, s)
	}
	return subjects
}

// Report says what the cache told beside fingerprints. keys are those by which signatures are
// checked, nil for none. here says which paths need no download.
func (c *Cached) Report(url string, keys []nix.PublicKey, here func(nix.StorePath) bool) *verify.CacheReport {
	r := &verify.CacheReport{URL: url, Paths: len(c.Infos), Absent: len(c.Absent), Signed: make(map[string]int), Checked: len(keys) > 0}
	for _, info := range c.Infos {
		if here(info.Path) {
			r.Here++
		} else {
			r.Download++
			r.DownloadBytes += info.FileSize
			r.UnpackedBytes += info.NarSize
			if info.FileSize == 0 {
				r.Unsized++
			}
		}
		countSignatures(r, info, keys)
	}
	return r
}

// Bounds of what is said of signatures.
const (
	maxSignatures = 64 // of one path that are looked at
	maxSigners    = 16 // that are told apart
)

func countSignatures(r *verify.CacheReport, info *nix.NarInfo, keys []nix.PublicKey) {
	sigs := info.Sigs[:min(len(info.Sigs), maxSignatures)]
	if len(sigs) == 0 {
		r.Unsigned++
		return
	}
	valid := false
	named := make(map[string]bool)
	for _, sig := range sigs {
		name, _, _ := strings.Cut(sig, ":")
		named[bincache.Clip(name)] = true
		for _, k := range keys {
			valid = valid || k.Name == name && k.Verify(info.Fingerprint(), sig)
		}
	}
	for name := range named {
		if _, ok := r.Signed[name]; !ok && len(r.Signed) >= maxSigners {
			name = "others"
		}
		r.Signed[name]++
	}
	if valid {
		r.Valid++
	}
}

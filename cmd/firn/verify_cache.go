package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
	"github.com/firn-log/firn/verify/closure"
)

// cacheSubjects reads the closure of args from the cache that --cache names, narinfos only.
func (a *app) cacheSubjects(ctx context.Context, f *verifyFlags, pol *verify.Policy, args []string) ([]verify.Subject, *verify.CacheReport, error) {
	if f.rehash {
		return nil, nil, failf(exitUsage, "leave one of them out", "--rehash reads what is on disk, and --cache downloads nothing")
	}
	c, err := a.openCache(ctx, f.cache, nix.StoreDir(f.storeDir))
	if err != nil {
		return nil, nil, err
	}
	// The store says what need not be downloaded; without one that is everything.
	store, _ := closure.Open(ctx, f.store, nix.StoreDir(f.storeDir))
	if store != nil {
		defer store.Source.Close()
	}
	var roots []nix.StorePath
	for _, arg := range args {
		more, err := f.cacheRoots(ctx, store, arg)
		if err != nil {
			return nil, nil, err
		}
		roots = append(roots, more...)
	}
	walked, err := a.walkCache(ctx, c, roots)
	if err != nil {
		return nil, nil, err
	}
	subjects := walked.Subjects()
	here := func(p nix.StorePath) bool { return false }
	if store != nil {
		if err := store.AddFactsAhead(ctx, pol, subjects); err != nil {
			return nil, nil, failf(exitFailed, "", "finding out what the rules ask for: %w", err)
		}
		here = func(p nix.StorePath) bool {
			_, err := store.Source.PathInfo(ctx, p)
			return err == nil
		}
	}
	return subjects, walked.Report(c.URL(), keysOf(pol, c.BareURL()), here), nil
}

// walkCache reads the narinfos of the closure of roots.
func (a *app) walkCache(ctx context.Context, c *bincache.Client, roots []nix.StorePath) (*closure.Cached, error) {
	progress := a.progress()
	defer progress.clear()
	walked, err := closure.WalkCache(ctx, c, roots, func(done, known int) {
		progress.say(fmt.Sprintf("reading narinfos: %d of %d that are known", done, known))
	})
	if err != nil {
		return nil, cacheFailure(c.URL(), err)
	}
	return walked, nil
}

// openCache opens a cache whose store paths begin with dir.
func (a *app) openCache(ctx context.Context, url string, dir nix.StoreDir) (*bincache.Client, error) {
	if err := bincache.CheckURL(url); err != nil {
		return nil, failf(exitUsage, "", "--cache: %w", err)
	}
	c, err := bincache.Open(ctx, url, bincache.ClientOptions{UserAgent: "firn-verify"})
	if err != nil {
		return nil, failf(exitFailed, "", "opening the cache: %w", err)
	}
	if c.StoreDir() != dir {
		return nil, failf(exitFailed, "name the store of the cache with --store-dir", "%s holds paths of %s, not of %s", c.URL(), c.StoreDir(), dir)
	}
	return c, nil
}

// cacheRoots are the paths that an argument names; they need not be on this machine. store may be nil.
func (f *verifyFlags) cacheRoots(ctx context.Context, store *closure.Store, arg string) ([]nix.StorePath, error) {
	root, err := filepath.Abs(f.store)
	if err != nil || f.store == "" {
		root = ""
	}
	p, err := closure.Resolve(root, nix.StoreDir(f.storeDir), arg)
	switch {
	case err != nil:
		return nil, closureFailure(err)
	case !p.IsDerivation():
		return []nix.StorePath{p}, nil
	case store == nil:
		return nil, failf(exitFailed, "name the paths of its outputs", "%s: there is no Nix store here that has the derivation", p)
	}
	outs, err := store.Outputs(ctx, p)
	if err != nil {
		return nil, closureFailure(err)
	}
	return outs, nil
}

// keysOf are those of the policy's upstream line for a cache.
func keysOf(pol *verify.Policy, url string) []nix.PublicKey {
	for _, u := range pol.Upstreams {
		if strings.TrimRight(u.URL, "/") == url {
			return u.Keys
		}
	}
	return nil
}

func cacheFailure(url string, err error) error {
	var lie *bincache.LieError
	switch {
	case errors.As(err, &lie):
		return failf(exitUntrusted, "ask another cache", "the cache %s is wrong: %w", url, err)
	case errors.Is(err, bincache.ErrMissing):
		return failf(exitFailed, "ask another cache, or `firn verify` the .drv to learn what the logs say of it", "%s: %w", url, err)
	}
	return failf(exitFailed, "", "reading the closure from %s: %w", url, err)
}

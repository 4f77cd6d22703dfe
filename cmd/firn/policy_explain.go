package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/verify"
	"github.com/firn-log/firn/verify/closure"
)

type policyExplainFlags struct {
	policy, store, storeDir, state, cache string
	full, json                            bool
}

func newPolicyExplainCmd(a *app) *cobra.Command {
	var f policyExplainFlags
	c := &cobra.Command{
		Use:   "explain PATH",
		Short: "Say how the policy comes to its answer about one path",
		Long: `Explain asks the logs about one store path, and says which rule is the one for it, what
every operator that the rule or a veto asks says about it, with the entries of the logs where
that stands, and what follows.

PATH is a store path, or a link to one. What is judged is what the Nix database has of it, or, if it is
not in the store or --cache is given, the narinfo of the first upstream of the policy that has
it; nothing else is downloaded. The exit status is that of firn verify.`,
		Example: "  firn policy explain /nix/store/...-hello-2.12.1",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.explainPolicy(c.Context(), &f, args[0]) },
	}
	flags := c.Flags()
	flags.StringVar(&f.policy, "policy", "", "policy `FILE` (default as for firn verify)")
	flags.StringVar(&f.cache, "cache", "", "`URL` of the cache whose narinfo is judged, in place of the store")
	flags.StringVar(&f.store, "store", "", "`ROOT` of a private store, as in nix --store ROOT")
	flags.StringVar(&f.storeDir, "store-dir", string(nix.DefaultStoreDir), "`FOLDER` that store paths begin with")
	flags.StringVar(&f.state, "state", "", "`FOLDER` for what is remembered (default firn in the state folder)")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	flags.BoolVar(&f.full, "full", false, "read the whole log, so that nothing can be left out")
	return c
}

func (a *app) explainPolicy(ctx context.Context, f *policyExplainFlags, arg string) error {
	pol, err := a.loadPolicy(f.policy)
	if err != nil {
		return err
	}
	root, err := filepath.Abs(f.store)
	if f.store == "" {
		root = "/"
	}
	if err != nil {
		return err
	}
	path, err := closure.Resolve(root, nix.StoreDir(f.storeDir), arg)
	if err != nil {
		return closureFailure(err)
	}
	if path.IsDerivation() {
		return failf(exitUsage, "name one of its outputs, as `nix-store -q --outputs` prints them", "%s is a derivation", path)
	}
	subject, err := a.subjectOf(ctx, f, pol, path)
	if err != nil {
		return err
	}
	if err := a.loadHooks(); err != nil {
		return err
	}
	report, err := verify.Verify(ctx, pol, []verify.Subject{*subject}, verify.Options{StateDir: a.stateDir(f.state), Full: f.full, OnEvidence: a.hooks.Run})
	if err != nil {
		return (&verifyFlags{}).failure(err)
	}
	write := report.ExplainJSON
	if !f.json {
		write = report.ExplainTree
		for _, w := range report.Warnings {
			fmt.Fprintf(a.Stderr, "firn: warning: %s\n", w)
		}
	}
	if err := write(a.Stdout, &report.Paths[0]); err != nil {
		return err
	}
	if code := report.ExitStatus(); code != exitOK {
		return errSilent(code)
	}
	return nil
}

// subjectOf finds what is to be judged: in the store, or else in a cache.
func (a *app) subjectOf(ctx context.Context, f *policyExplainFlags, pol *verify.Policy, path nix.StorePath) (*verify.Subject, error) {
	if f.cache == "" {
		s, err := storeSubject(ctx, f, pol, path)
		if err == nil || !errors.Is(err, nixdb.ErrNotValid) && !errors.Is(err, errNoStore) || len(pol.Upstreams) == 0 {
			if err != nil {
				err = closureFailure(err)
			}
			return s, err
		}
	}
	urls := []string{f.cache}
	if f.cache == "" {
		urls = nil
		for _, u := range pol.Upstreams {
			urls = append(urls, u.URL)
		}
	}
	for _, url := range urls {
		info, err := cacheInfo(ctx, url, path)
		if errors.Is(err, bincache.ErrMissing) {
			continue
		}
		if err != nil {
			return nil, failf(exitFailed, "", "asking the cache: %w", err)
		}
		fmt.Fprintf(a.Stderr, "firn: judging what %s has of it\n", url)
		if i := slices.IndexFunc(pol.Upstreams, func(u *verify.Upstream) bool { return u.URL == url }); i >= 0 && !signedBy(pol.Upstreams[i], info) {
			fmt.Fprintf(a.Stderr, "firn: no key that the policy lists for %s signed it, so firn-substituter takes it only if it is trusted\n", url)
		}
		one := []verify.Subject{{Info: info}}
		if err := addFacts(ctx, f, pol, one); err != nil {
			return nil, err
		}
		return &one[0], nil
	}
	return nil, failf(exitFailed, "name a cache that has it with --cache URL", "%s is not in the store, and no upstream has it", path)
}

// signedBy reports whether a key of an upstream signed what its narinfo says.
func signedBy(u *verify.Upstream, info *nix.PathInfo) bool {
	fingerprint := info.Fingerprint()
	return slices.ContainsFunc(u.Keys, func(k nix.PublicKey) bool {
		return slices.ContainsFunc(info.Sigs, func(sig string) bool { return k.Verify(fingerprint, sig) })
	})
}

// errNoStore says that no database of a store can be read here.
var errNoStore = errors.New("opening the Nix store")

func storeSubject(ctx context.Context, f *policyExplainFlags, pol *verify.Policy, path nix.StorePath) (*verify.Subject, error) {
	store, err := closure.Open(ctx, f.store, nix.StoreDir(f.storeDir))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoStore, err)
	}
	defer store.Source.Close()
	subjects, err := store.Subjects(ctx, []string{path.String()})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(subjects, func(s verify.Subject) bool { return s.Info.Path == path })
	if i < 0 {
		return nil, fmt.Errorf("%s: %w", path, nixdb.ErrNotValid)
	}
	one := subjects[i : i+1]
	if err := store.AddFacts(ctx, pol, one); err != nil {
		return nil, err
	}
	return &one[0], nil
}

// addFacts takes what the store knows about a path that is not in it. Where there is no store,
// nothing is known.
func addFacts(ctx context.Context, f *policyExplainFlags, pol *verify.Policy, subjects []verify.Subject) error {
	store, err := closure.Open(ctx, f.store, nix.StoreDir(f.storeDir))
	if err != nil {
		return nil // what is not known makes rules stricter
	}
	defer store.Source.Close()
	return store.AddFactsAhead(ctx, pol, subjects)
}

func cacheInfo(ctx context.Context, url string, path nix.StorePath) (*nix.PathInfo, error) {
	c, err := bincache.Open(ctx, url, bincache.ClientOptions{})
	if err != nil {
		return nil, err
	}
	info, err := c.NarInfo(ctx, path.HashPart())
	if err != nil {
		return nil, err
	}
	if info.Path != path {
		return nil, fmt.Errorf("%s has another path of that hash, %s", url, info.Path)
	}
	return &info.PathInfo, nil
}

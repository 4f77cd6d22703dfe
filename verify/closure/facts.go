package closure

import (
	"context"
	"slices"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// AddFacts finds out what the rules of pol look at, as far as the store knows it: for which system
// a path was built, from its derivation; whether its content is fixed, from its
// content address; and in the closures of which roots it is. What is not found out stays unknown, and then the strictest rule that
// it may be counts (spec/policy.md#rules).
func (s *Store) AddFacts(ctx context.Context, pol *verify.Policy, subjects []verify.Subject) error {
	for i := range subjects {
		if err := s.describe(ctx, pol, &subjects[i]); err != nil {
			return err
		}
	}
	return s.AddRoots(ctx, pol, subjects)
}

// AddFactsAhead is AddFacts for paths that the store need not have yet. Of one that no derivation in
// the store names as its output neither system nor derivation is known. The Info of one whose
// derivation fixes its content gets that content address, so that Nix holds what comes against it.
func (s *Store) AddFactsAhead(ctx context.Context, pol *verify.Policy, subjects []verify.Subject) error {
	for i := range subjects {
		fixed, err := s.fromDerivation(ctx, pol, &subjects[i])
		if err != nil {
			return err
		}
		if fixed != "" {
			subjects[i].Info.CA = fixed
		}
	}
	return s.AddRoots(ctx, pol, subjects)
}

// describe adds the facts that a path's derivation has.
func (s *Store) describe(ctx context.Context, pol *verify.Policy, sub *verify.Subject) error {
	if _, err := s.fromDerivation(ctx, pol, sub); err != nil {
		return err
	}
	if pol.NeedsFOD() && !sub.Facts.FODKnown && !sub.Unbuilt && sub.Info.CA == "" {
		// The database keeps the content addresses of what it registers, so this path has none.
		sub.Facts.FODKnown = true
	}
	return nil
}

// fromDerivation adds what the derivations say that name a path as their output. Where they
// say different things, as those of one fixed output may about the system, it is not known. It
// returns the content address that they fix, "" if they fix none or the path is not what they fix.
func (s *Store) fromDerivation(ctx context.Context, pol *verify.Policy, sub *verify.Subject) (fixed string, err error) {
	system := pol.NeedsSystem() && !sub.Facts.SystemKnown
	fod := pol.NeedsFOD() && !sub.Facts.FODKnown && sub.Info.CA == ""
	if sub.Unbuilt || !system && !fod {
		return "", nil
	}
	drvs, err := s.Source.ValidDerivers(ctx, sub.Info.Path)
	if err != nil {
		return "", err
	}
	systems := make(map[string]bool)
	for _, drv := range drvs {
		d, err := s.derivation(drv)
		if err != nil {
			continue // unknown
		}
		systems[d.System] = true
		if system {
			sub.Facts.System, sub.Facts.SystemKnown = d.System, len(systems) == 1
		}
		if fod {
			fod, fixed = false, fixedBy(d, sub.Info)
			sub.Facts.FOD = fixed != ""
			sub.Facts.FODKnown = fixed != "" || d.Kind() != nix.Fixed
		}
	}
	return fixed, nil
}

// fixedBy is the content address that a derivation fixes, if the path of info follows from it, and
// its NAR hash where it is that of the NAR.
func fixedBy(d *nix.Derivation, info *nix.PathInfo) string {
	ca, ok := d.ContentAddress()
	if !ok {
		return ""
	}
	with := *info
	if with.CA = ca.String(); !verify.Fixes(&with) {
		return ""
	}
	return with.CA
}

// AddRoots adds the roots of `closure` conditions. If one of them is not in the store, it is not
// known of any path that it is not in there.
func (s *Store) AddRoots(ctx context.Context, pol *verify.Policy, subjects []verify.Subject) error {
	in := make(map[nix.StorePath][]string)
	known := true
	for _, root := range pol.Roots() {
		p, err := s.resolve(root)
		if err != nil {
			known = false
			continue
		}
		infos, err := s.Source.Closure(ctx, []nix.StorePath{p})
		if err != nil {
			known = false
			continue
		}
		for _, info := range infos {
			in[info.Path] = append(in[info.Path], root)
		}
	}
	for i := range subjects {
		f := &subjects[i].Facts
		f.Roots, f.RootsKnown = slices.Clone(in[subjects[i].Info.Path]), known
	}
	return ctx.Err()
}

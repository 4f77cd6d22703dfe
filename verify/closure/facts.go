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
// the store names as its output neither system nor derivation is known.
func (s *Store) AddFactsAhead(ctx context.Context, pol *verify.Policy, subjects []verify.Subject) error {
	for i := range subjects {
		if err := s.fromDerivation(ctx, pol, &subjects[i]); err != nil {
			return err
		}
	}
	return s.AddRoots(ctx, pol, subjects)
}

// describe adds the facts that a path's derivation has.
func (s *Store) describe(ctx context.Context, pol *verify.Policy, sub *verify.Subject) error {
	if err := s.fromDerivation(ctx, pol, sub); err != nil {
		return err
	}
	if pol.NeedsFOD() && !sub.Facts.FODKnown && !sub.Unbuilt && sub.Info.CA == "" {
		// The database keeps the content addresses of what it registers, so this path has none.
		sub.Facts.FODKnown = true
	}
	return nil
}

func (s *Store) fromDerivation(ctx context.Context, pol *verify.Policy, sub *verify.Subject) error {
	system := pol.NeedsSystem() && !sub.Facts.SystemKnown
	fod := pol.NeedsFOD() && !sub.Facts.FODKnown && sub.Info.CA == ""
	if sub.Unbuilt || !system && !fod {
		return nil
	}
	drvs, err := s.Source.ValidDerivers(ctx, sub.Info.Path)
	if err != nil {
		return err
	}
	for _, drv := range drvs {
		d, err := s.derivation(drv)
		if err != nil {
			continue // unknown
		}
		if system {
			sub.Facts.System, sub.Facts.SystemKnown = d.System, true
		}
		if fod {
			sub.Facts.FOD, sub.Facts.FODKnown = d.Kind() == nix.Fixed, true
		}
		break
	}
	return nil
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

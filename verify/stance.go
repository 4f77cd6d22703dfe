package verify

import (
	"slices"

	"github.com/firn-log/firn/internal/nix"
)

// stance is what one operator's claims amount to.
type stance struct {
	supports bool
	classes  [Addressed + 1]bool // of the supporting claims
	dissent  *Dissent
	latent   bool // a claim that could become dissent when more is known
}

// stancesOf returns the stances of voters, as if they were the operators of the rule.
func stancesOf(c Case, voters []*Operator) map[string]stance {
	claims := make(map[string][]Claim)
	for _, o := range voters {
		claims[o.Name] = nil
	}
	agree := agreement{all: make(map[string]bool), certain: make(map[string]bool)}
	for _, cl := range c.Claims {
		if _, votes := claims[cl.Operator]; !votes {
			continue
		}
		claims[cl.Operator] = append(claims[cl.Operator], cl)
		if cl.got(c.About) {
			_, open := c.Open[cl.Operator]
			agree.all[cl.Implementation] = true
			agree.certain[cl.Implementation] = agree.certain[cl.Implementation] || !open
		}
	}
	stances := make(map[string]stance, len(claims))
	for name, own := range claims {
		stances[name] = stanceOf(name, own, c, agree)
	}
	return stances
}

// got reports whether the claim is that its implementation got f.
func (c *Claim) got(f Fingerprint) bool {
	return c.Class == Built && c.About == f || c.Class == Realised && c.About.Path == f.Path
}

// agreement is by which implementations operators of the rule got f. Another
// path for a content-addressed output contradicts only among those.
type agreement struct {
	all     map[string]bool
	certain map[string]bool // by operators of whom nothing is missing
}

// stanceOf is the rule "an operator supports f if all its live claims about
// the path are f".
func stanceOf(name string, own []Claim, c Case, agree agreement) stance {
	var s stance
	f := c.About
	impls := make(map[string]bool) // by which it got f itself
	stated := false                // f, if not as an output
	for _, cl := range own {
		if cl.got(f) {
			impls[cl.Implementation] = true
		}
		if cl.About != f {
			continue
		}
		stated = true
		if cl.Class == Addressed && c.Output {
			continue
		}
		s.supports = true
		s.classes[cl.Class] = true
	}
	agreed := s.supports || len(impls) > 0
	var differ []Claim
	d := &Dissent{Operator: name, across: true}
	for _, cl := range own {
		switch impl := cl.Implementation; {
		case cl.About == f, cl.got(f):
		case cl.About.Path == f.Path, agreed && impls[impl]:
			differ, d.across, d.firm = append(differ, cl), false, true
		case !agreed && agree.all[impl]:
			differ, d.across, d.firm = append(differ, cl), false, d.firm || agree.certain[impl]
		case !agreed && len(agree.all) == 0:
			differ = append(differ, cl)
		default:
			s.latent = s.latent || !agreed
		}
	}
	if len(differ) == 0 {
		return s
	}
	slices.SortFunc(differ, func(a, b Claim) int { return slices.Compare(a.ID[:], b.ID[:]) })
	d.Claims, d.What = differ, difference(differ[0].About, f)
	for _, cl := range differ {
		if s.supports || agreed && cl.About.Path != f.Path || stated && cl.About.Path == f.Path {
			d.What = itself
		}
	}
	if contradictory(differ) {
		d.What, d.across = itself, false
	}
	s.supports, s.dissent = false, d
	return s
}

// contradictory reports whether not all of the claims can be true: two contents of
// one path, or two paths by one implementation.
func contradictory(claims []Claim) bool {
	contents, paths := make(map[nix.StorePath]Fingerprint), make(map[string]nix.StorePath)
	for _, cl := range claims {
		path := cl.About.Path
		if other, ok := paths[cl.Implementation]; ok && other != path {
			return true
		}
		paths[cl.Implementation] = path
		if cl.Class == Realised {
			continue
		}
		if other, ok := contents[path]; ok && other != cl.About {
			return true
		}
		contents[path] = cl.About
	}
	return false
}

func difference(got, want Fingerprint) string {
	switch {
	case got.Path != want.Path:
		return "another path"
	case got.NarHash != want.NarHash:
		return "another hash"
	case got.NarSize != want.NarSize:
		return "another size"
	default:
		return "other references"
	}
}

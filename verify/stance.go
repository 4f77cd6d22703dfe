package verify

import "slices"

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
		if cl.About == c.About && cl.Class != Addressed {
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

// agreement is by which implementations operators of the rule got f. Another
// path for a content-addressed output is dissent only among those, or while
// nobody got f.
type agreement struct {
	all     map[string]bool
	certain map[string]bool // by operators of whom nothing is missing
}

// stanceOf is the rule "an operator supports f if all its live claims about
// the path are f".
func stanceOf(name string, own []Claim, c Case, agree agreement) stance {
	var s stance
	f := c.About
	impls := make(map[string]bool)
	stated := false // f, if not as an output
	for _, cl := range own {
		if cl.About != f {
			continue
		}
		stated = true
		if cl.Class == Addressed && c.Output {
			continue
		}
		s.supports = true
		s.classes[cl.Class] = true
		if cl.Class != Addressed {
			impls[cl.Implementation] = true
		}
	}
	agreed, firm := s.supports, false
	var differ []Claim
	for _, cl := range own {
		switch impl := cl.Implementation; {
		case cl.About == f:
		case cl.About.Path == f.Path, agreed && impls[impl]:
			differ, firm = append(differ, cl), true
		case !agreed && (len(agree.all) == 0 || agree.all[impl]):
			differ, firm = append(differ, cl), firm || agree.certain[impl]
		default:
			s.latent = s.latent || !agreed
		}
	}
	if len(differ) == 0 {
		return s
	}
	slices.SortFunc(differ, func(a, b Claim) int { return slices.Compare(a.ID[:], b.ID[:]) })
	s.supports = false
	s.dissent = &Dissent{Operator: name, What: difference(differ[0].About, f), Claims: differ, firm: firm}
	for _, cl := range differ {
		if agreed || stated && cl.About.Path == f.Path || cl.About != differ[0].About {
			s.dissent.What = itself
		}
	}
	return s
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

package verify

import "slices"

// vetoing is what the vetoes of a rule say in one case (spec/policy.md#vetoes).
type vetoing struct {
	fired   *Veto     // the strictest that fires whatever is missing, or nil
	may     bool      // one may fire when what is missing comes
	action  Action    // of those that fire or may, the strictest
	dissent []Dissent // of operators that the vetoes name, in their order
	waiting []string  // those of them of whom something is missing
}

func vetoingOf(c Case) vetoing {
	var out vetoing
	for _, v := range c.Rule.Vetoes {
		voters := addOnce(c.Rule.Need.Voters(), v.Group.Voters()...)
		stances := stancesOf(c, voters)
		open := func(o *Operator) bool { _, open := c.Open[o.Name]; return open }
		waiting := slices.ContainsFunc(voters, open)
		fires := v.Group.holds(func(o *Operator, _ bool) bool {
			d := stances[o.Name].dissent
			return d != nil && !d.across && !open(o) && (d.firm || !waiting)
		})
		may := v.Group.holds(func(o *Operator, _ bool) bool {
			s := stances[o.Name]
			return open(o) || s.dissent != nil && (!s.dissent.across || waiting) || s.latent && waiting
		})
		if fires && (out.fired == nil || v.Action > out.fired.Action) {
			out.fired = v
		}
		if may {
			out.may, out.action = true, max(out.action, v.Action)
		}
		for _, o := range v.Group.Voters() {
			d := stances[o.Name].dissent
			if d != nil && !slices.ContainsFunc(out.dissent, func(e Dissent) bool { return e.Operator == o.Name }) {
				out.dissent = append(out.dissent, *d)
			}
			if open(o) && may && !slices.Contains(out.waiting, o.Name) {
				out.waiting = append(out.waiting, o.Name)
			}
		}
	}
	return out
}

// tally returns how many members of g are satisfied if vote says which operators are,
// and how many values of the attribute in which they must differ these operators have.
func (g *Group) tally(vote func(o *Operator, signed bool) bool) (members, values int) {
	if g == nil {
		return 0, 0
	}
	different := make(map[string]bool)
	for _, m := range g.Members {
		if m.Group != nil && m.Group.holds(vote) {
			members++
		}
		if m.Operator != nil && vote(m.Operator, g.Signed) {
			members++
			if v := m.Operator.Attribute(g.Distinct); v != "" {
				different[v] = true
			}
		}
	}
	return members, len(different)
}

// holds reports whether g is satisfied. A nil group, which is `need nothing`, never is:
// nobody vouches for such a path.
func (g *Group) holds(vote func(o *Operator, signed bool) bool) bool {
	members, values := g.tally(vote)
	return g != nil && members >= g.K && (g.Distinct == "" || values >= g.Values)
}

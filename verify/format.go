package verify

import (
	"fmt"
	"strings"
)

// String returns the policy in canonical form: parsing it gives an equal
// policy, and its String is the same.
func (p *Policy) String() string {
	var b strings.Builder
	for _, r := range p.Logs {
		fmt.Fprintf(&b, "log %s file %s url %s", r.Name, r.File, r.URL)
		for _, m := range r.Mirrors {
			b.WriteString(" mirror " + m)
		}
		if !r.Required {
			b.WriteString(" optional")
		}
		if r.MaxAge > 0 {
			fmt.Fprintf(&b, " max-age %s", r.MaxAge)
		}
		if r.IndexFile != "" {
			fmt.Fprintf(&b, " index %s", r.IndexFile)
		}
		if r.Tail > 0 {
			fmt.Fprintf(&b, " tail %d", r.Tail)
		}
		b.WriteByte('\n')
	}
	if p.CompletenessOff {
		b.WriteString("completeness off\n")
	}
	if p.DecisionTTL != DefaultDecisionTTL {
		fmt.Fprintf(&b, "decision-ttl %s\n", p.DecisionTTL)
	}
	for _, o := range p.Operators {
		b.WriteString(o.String() + "\n")
	}
	for _, g := range p.Groups {
		b.WriteString(g.String() + "\n")
	}
	for _, v := range p.Vetoes {
		b.WriteString(v.String() + "\n")
	}
	for _, u := range p.Upstreams {
		b.WriteString(u.String() + "\n")
	}
	for _, r := range p.Rules {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

// String returns the `rule` line.
func (r *Rule) String() string {
	s := "rule " + r.Name
	for _, c := range r.Conditions {
		s += " " + c.String()
	}
	need := "nothing"
	if r.Need != nil {
		need = r.Need.Name
	}
	return s + " need " + need + " else " + r.Else.String()
}

// String returns the `veto` line.
func (v *Veto) String() string {
	if v.Group.Name != "" {
		return "veto " + v.Group.Name + " " + v.Action.String()
	}
	s := fmt.Sprintf("veto any %d", v.Group.K)
	for _, m := range v.Group.Members {
		s += " " + m.Name()
	}
	return s + " " + v.Action.String()
}

// String returns the `upstream` line.
func (u *Upstream) String() string {
	s := "upstream " + u.URL + " key"
	for _, k := range u.Keys {
		s += " " + k.String()
	}
	if u.Public {
		s += " public"
	}
	return s
}

func (o *Operator) String() string {
	s := "operator " + o.Name
	if o.ID != nil {
		s += " id " + o.ID.String()
	} else {
		s += " key"
	}
	for _, k := range o.Keys {
		s += " " + k.String()
	}
	for _, a := range o.Attributes {
		s += " " + a.Name + "=" + a.Value
	}
	return s
}

func (g *Group) String() string {
	s := fmt.Sprintf("group %s %d", g.Name, g.K)
	for _, m := range g.Members {
		s += " " + m.Name()
	}
	if g.Distinct != "" {
		s += fmt.Sprintf(" distinct %s %d", g.Distinct, g.Values)
	}
	if g.Signed {
		s += " signed"
	}
	return s
}

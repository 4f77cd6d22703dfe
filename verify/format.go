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
	for _, o := range p.Operators {
		b.WriteString(o.String() + "\n")
	}
	for _, g := range p.Groups {
		b.WriteString(g.String() + "\n")
	}
	fmt.Fprintf(&b, "rule default need %s else refuse\n", p.Default().Need.Name)
	return b.String()
}

func (o *Operator) String() string {
	if o.ID != nil {
		return "operator " + o.Name + " id " + o.ID.String()
	}
	s := "operator " + o.Name + " key"
	for _, k := range o.Keys {
		s += " " + k.String()
	}
	return s
}

func (g *Group) String() string {
	s := fmt.Sprintf("group %s %d", g.Name, g.K)
	for _, m := range g.Members {
		s += " " + m.Name()
	}
	if g.Signed {
		s += " signed"
	}
	return s
}

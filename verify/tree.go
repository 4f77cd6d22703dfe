package verify

import (
	"fmt"
	"io"
	"strings"
)

// ExplainTree writes, in words, how the policy comes to its answer about one path: which
// rule is the one and why, its groups as a tree with what every operator says and where in
// the logs it stands, the vetoes, and what follows.
func (r *Report) ExplainTree(w io.Writer, p *PathReport) error {
	t := r.treeOf(p)
	fmt.Fprintf(t, "%s\nis %s, so: %s. %s.\n", p.Subject.Info.Path, p.Verdict, p.Action, upper(p.Reason))
	if p.Verdict == Inconclusive && p.Action == Rebuild {
		fmt.Fprintln(t, "firn-substituter refuses it meanwhile: what is missing may come soon, and then nothing has to be built.")
	}
	t.rule()
	if p.Rule.Need == nil {
		fmt.Fprintln(t, "- nobody is asked, so nobody vouches for it")
	} else {
		t.group(p.Rule.Need, 0)
	}
	for _, v := range p.Rule.Vetoes {
		t.veto(v)
	}
	fmt.Fprintln(t, r.Completeness())
	_, err := io.WriteString(w, t.String())
	return err
}

// treeOf is what the answer about a path rests on.
func (r *Report) treeOf(p *PathReport) *treeWriter {
	t := &treeWriter{r: r, p: p, c: Case{Rule: p.Rule, About: p.Subject.Fingerprint(), Claims: p.Claims, Output: len(p.Subject.Realisations) > 0, Open: p.open}}
	t.stances = stancesOf(t.c, p.Rule.Need.Voters())
	return t
}

type treeWriter struct {
	strings.Builder
	r       *Report
	p       *PathReport
	c       Case
	stances map[string]stance
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (t *treeWriter) rule() {
	facts := t.p.Subject.facts()
	for _, r := range t.r.Policy.rulesFor(facts) {
		why := "for everything that no rule before it is for"
		if len(r.Conditions) > 0 {
			var words []string
			for _, c := range r.Conditions {
				switch c.holds(facts) {
				case yes:
					words = append(words, c.String())
				case unknown:
					words = append(words, "perhaps "+c.String()+", which is not known")
				}
			}
			why = strings.Join(words, ", ")
		}
		fmt.Fprintf(t, "Rule %s (%s) needs %s, else %s.\n", r.Name, why, r.Need.words(), r.Else)
	}
	if t.p.Rule.Several {
		fmt.Fprintln(t, "Which of these rules is the one is not known, so all of them have to be satisfied.")
	}
}

// supports is whether the support of an operator counts, and whether that is certain.
func (t *treeWriter) supports(o *Operator, signed bool) (counts, open bool) {
	_, open = t.c.Open[o.Name]
	return t.stances[o.Name].counts(signed), open
}

// tallied is how far a group is satisfied.
type tallied struct {
	members, values   int
	certain, possible bool // satisfied, whatever is missing; by what is missing
}

func (t *treeWriter) found(g *Group) (f tallied) {
	f.members, f.values = g.tally(func(o *Operator, signed bool) bool { counts, _ := t.supports(o, signed); return counts })
	f.certain = g.holds(func(o *Operator, signed bool) bool { counts, open := t.supports(o, signed); return counts && !open })
	f.possible = g.holds(func(o *Operator, signed bool) bool { counts, open := t.supports(o, signed); return counts || open })
	return f
}

func (f tallied) state() string {
	switch {
	case f.certain:
		return "satisfied"
	case f.possible:
		return "open"
	}
	return "not satisfied"
}

func (t *treeWriter) group(g *Group, depth int) {
	indent := strings.Repeat("  ", depth)
	f := t.found(g)
	state := f.state()
	if state == "open" {
		state += ": what is missing could satisfy it"
	}
	kind := "built"
	if g.Signed {
		kind = "signed"
	}
	words := fmt.Sprintf("%d of %s, %s; %d found", g.K, plural(len(g.Members), "member"), kind, f.members)
	if g.Distinct != "" {
		words += fmt.Sprintf(", with %d of %d different values of %s", f.values, g.Values, g.Distinct)
	}
	fmt.Fprintf(t, "%s- %s is %s (%s)\n", indent, g.Name, state, words)
	for _, m := range g.Members {
		if m.Group != nil {
			t.group(m.Group, depth+1)
			continue
		}
		counts, open := t.supports(m.Operator, g.Signed)
		t.operator(m.Operator, depth+1, counts, open)
	}
}

func (t *treeWriter) operator(o *Operator, depth int, counts, open bool) {
	indent := strings.Repeat("  ", depth)
	state := "does not count"
	switch {
	case open:
		state = "open, because " + t.c.Open[o.Name]
	case counts:
		state = "counts"
	}
	fmt.Fprintf(t, "%s- %s: %s\n", indent, o.Name, state)
	said := false
	for _, c := range t.p.Claims {
		if c.Operator == o.Name {
			said = true
			fmt.Fprintf(t, "%s    %s\n", indent, c.words(t.c.About))
		}
	}
	if !said && !open {
		fmt.Fprintf(t, "%s    says nothing about it\n", indent)
	}
}

// vetoing is what the operators of one veto say.
func (t *treeWriter) vetoing(v *Veto) vetoing {
	one := t.c
	one.Rule = &Rule{Need: t.c.Rule.Need, Vetoes: []*Veto{v}}
	return vetoingOf(one)
}

func (v vetoing) state() string {
	switch {
	case v.fired != nil:
		return "fires"
	case v.may:
		return "may fire"
	}
	return "does not fire"
}

func (t *treeWriter) veto(v *Veto) {
	said := t.vetoing(v)
	state := said.state()
	if state == "may fire" {
		state += ": something is missing"
	}
	fmt.Fprintf(t, "- veto by %s (%s): %s\n", v.words(), v.Action, state)
	for _, o := range v.Group.Voters() {
		_, open := t.c.Open[o.Name]
		for _, d := range said.dissent {
			if d.Operator != o.Name {
				continue
			}
			fmt.Fprintf(t, "  - %s\n", d.Words())
			for _, c := range d.Claims {
				fmt.Fprintf(t, "      %s\n", c.words(t.c.About))
			}
		}
		if open {
			fmt.Fprintf(t, "  - %s: open, because %s\n", o.Name, t.c.Open[o.Name])
		}
	}
}

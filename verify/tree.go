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
	t := &treeWriter{r: r, p: p, c: Case{Rule: p.Rule, About: p.Subject.Fingerprint(), Claims: p.Claims, Output: len(p.Subject.Realisations) > 0, Open: p.open}}
	fmt.Fprintf(t, "%s\nis %s, so: %s. %s.\n", p.Subject.Info.Path, p.Verdict, p.Action, upper(p.Reason))
	if p.Verdict == Inconclusive && p.Action == Rebuild {
		fmt.Fprintln(t, "firn-substituter refuses it meanwhile: what is missing may come soon, and then nothing has to be built.")
	}
	t.rule()
	t.stances = stancesOf(t.c, p.Rule.Need.Voters())
	if p.Rule.Need == nil {
		fmt.Fprintln(t, "- nobody is asked, so nobody vouches for it")
	} else {
		t.group(p.Rule.Need, 0, t.supports)
	}
	for _, v := range p.Rule.Vetoes {
		t.veto(v)
	}
	fmt.Fprintln(t, r.Completeness())
	_, err := io.WriteString(w, t.String())
	return err
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
	if strings.Contains(t.p.Rule.Name, " or ") {
		fmt.Fprintln(t, "Which of these rules is the one is not known, so all of them have to be satisfied.")
	}
}

// supports is whether the support of an operator counts, and whether that is certain.
func (t *treeWriter) supports(o *Operator, signed bool) (counts, open bool) {
	_, open = t.c.Open[o.Name]
	return t.stances[o.Name].counts(signed), open
}

func (t *treeWriter) group(g *Group, depth int, vote func(*Operator, bool) (bool, bool)) {
	indent := strings.Repeat("  ", depth)
	members, values := g.tally(func(o *Operator, signed bool) bool { counts, _ := vote(o, signed); return counts })
	certain := g.holds(func(o *Operator, signed bool) bool { counts, open := vote(o, signed); return counts && !open })
	possible := g.holds(func(o *Operator, signed bool) bool { counts, open := vote(o, signed); return counts || open })
	state := "not satisfied"
	switch {
	case certain:
		state = "satisfied"
	case possible:
		state = "open: what is missing could satisfy it"
	}
	kind := "built"
	if g.Signed {
		kind = "signed"
	}
	words := fmt.Sprintf("%d of %s, %s; %d found", g.K, plural(len(g.Members), "member"), kind, members)
	if g.Distinct != "" {
		words += fmt.Sprintf(", with %d of %d different values of %s", values, g.Values, g.Distinct)
	}
	fmt.Fprintf(t, "%s- %s is %s (%s)\n", indent, g.Name, state, words)
	for _, m := range g.Members {
		if m.Group != nil {
			t.group(m.Group, depth+1, vote)
			continue
		}
		counts, open := vote(m.Operator, g.Signed)
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

func (t *treeWriter) veto(v *Veto) {
	one := t.c
	one.Rule = &Rule{Need: t.c.Rule.Need, Vetoes: []*Veto{v}}
	said := vetoingOf(one)
	state := "does not fire"
	switch {
	case said.fired != nil:
		state = "fires"
	case said.may:
		state = "may fire: something is missing"
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

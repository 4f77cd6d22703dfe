package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/firn-log/firn/verify"
)

// lintExamples is how many of the smallest sets are named.
const lintExamples = 4

type jsonSets struct {
	Size     int        `json:"size"`
	Count    string     `json:"count"`
	Examples [][]string `json:"examples"`
}

func setsJSON(s verify.Sets) jsonSets {
	out := jsonSets{Size: s.Size, Count: s.Count, Examples: s.Examples}
	if out.Examples == nil {
		out.Examples = [][]string{}
	}
	return out
}

// words is "a+b, a+c and 4 more".
func (s jsonSets) words() string {
	sets := make([]string, len(s.Examples))
	for i, e := range s.Examples {
		sets[i] = strings.Join(e, "+")
	}
	words := strings.Join(sets, ", ")
	if s.Count != fmt.Sprint(len(sets)) {
		words += fmt.Sprintf(", … (%s in all)", s.Count)
	}
	return words
}

// lintedRule is who could fool one rule.
type lintedRule struct {
	Rule      string   `json:"rule"`
	Line      string   `json:"line"` // in canonical form
	Else      string   `json:"else"`
	Operators jsonSets `json:"operators"` // the smallest sets that can make it trust anything
	Warnings  []string `json:"warnings"`
}

func lintRules(pol *verify.Policy) []lintedRule {
	out := make([]lintedRule, len(pol.Rules))
	for i, r := range pol.Rules {
		l := lintedRule{Rule: r.Name, Line: r.String(), Else: r.Else.String(), Operators: setsJSON(verify.SmallestSets(r.Need, lintExamples)), Warnings: []string{}}
		add := func(format string, args ...any) { l.Warnings = append(l.Warnings, fmt.Sprintf(format, args...)) }
		if l.Operators.Size == 1 {
			add("one operator alone can make it trust anything")
		}
		if r.Else.Taken() {
			whose := "whatever a cache signs is taken, with nobody else's word"
			if keys := upstreamKeys(pol); len(keys) > 0 {
				whose = "whatever is signed by " + strings.Join(keys, " or ") + " is taken, with nobody else's word"
			}
			add("else %s: %s", r.Else, whose)
			if len(r.Vetoes) == 0 {
				add("else %s and no veto: also a path that somebody contradicts is taken", r.Else)
			}
		}
		out[i] = l
	}
	if unused := unusedNames(pol); len(unused) > 0 {
		last := &out[len(out)-1]
		last.Warnings = append(last.Warnings, "no rule and no veto asks "+strings.Join(unused, ", "))
	}
	return out
}

func upstreamKeys(pol *verify.Policy) []string {
	var names []string
	for _, u := range pol.Upstreams {
		for _, k := range u.Keys {
			if !slices.Contains(names, k.Name) {
				names = append(names, k.Name)
			}
		}
	}
	return names
}

// unusedNames are the operators and groups that decide nothing.
func unusedNames(pol *verify.Policy) []string {
	used := make(map[string]bool)
	var use func(g *verify.Group)
	use = func(g *verify.Group) {
		if g == nil {
			return
		}
		used[g.Name] = true
		for _, m := range g.Members {
			used[m.Name()] = true
			use(m.Group)
		}
	}
	for _, r := range pol.Rules {
		use(r.Need)
	}
	for _, v := range pol.Vetoes {
		use(v.Group)
	}
	var unused []string
	for _, o := range pol.Operators {
		if !used[o.Name] {
			unused = append(unused, "operator "+o.Name)
		}
	}
	for _, g := range pol.Groups {
		if !used[g.Name] {
			unused = append(unused, "group "+g.Name)
		}
	}
	return unused
}

func writeRuleLint(w io.Writer, rules []lintedRule) error {
	for _, l := range rules {
		words := l.Line
		switch n := uint64(l.Operators.Size); {
		case n == 0:
			words += "\n  it asks nobody and trusts nothing"
		default:
			words += fmt.Sprintf("\n  %s can make it trust anything: %s", plural(n, "operator", "operators together"), l.Operators.words())
		}
		for _, s := range l.Warnings {
			words += "\n  warning: " + s
		}
		if _, err := fmt.Fprintln(w, words); err != nil {
			return err
		}
	}
	return nil
}

package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// ruleFires reports a rule that can never fire, because its conditions exclude one
// another or because earlier rules are for everything that it is for
// (spec/policy.md#rules).
func (p *parser) ruleFires(l line, r *Rule) bool {
	var before []int // earlier rules, by their place in the policy
	possible, covered := false, true
	r.each(func(c conjunction) bool {
		if !c.possible() {
			return true
		}
		possible = true
		i := slices.IndexFunc(p.pol.Rules, func(e *Rule) bool { return e.covers(c) })
		if i < 0 {
			covered = false
			return false
		}
		if !slices.Contains(before, i) {
			before = append(before, i)
		}
		return true
	})
	switch {
	case !possible:
		p.failf(l, l.fields[1].col, "rule %s can never fire: none of its paths has one of its names", r.Name)
		return false
	case !covered:
		return true
	}
	var names []string
	for _, i := range before {
		names = append(names, fmt.Sprintf("rule %s in line %d", p.pol.Rules[i].Name, p.ruleLines[i]))
	}
	verb := "is"
	if len(names) > 1 {
		verb = "are"
	}
	p.failf(l, l.fields[1].col, "rule %s can never fire: %s %s for everything that it is for, and the first rule counts", r.Name, strings.Join(names, " and "), verb)
	return false
}

// conjunction is one condition of each word; those that are not asked are "".
type conjunction [len(conditionWords)]string

// Places in conditionWords.
const (
	byName = iota
	bySystem
	byFOD
	byPath
	byClosure
)

// each calls f with every choice of one condition per word, until it returns false.
func (r *Rule) each(f func(conjunction) bool) {
	var alternatives [len(conditionWords)][]string
	for _, c := range r.Conditions {
		i := slices.Index(conditionWords[:], c.What)
		alternatives[i] = append(alternatives[i], c.String())
	}
	var choose func(i int, c conjunction) bool
	choose = func(i int, c conjunction) bool {
		if i == len(c) {
			return f(c)
		}
		if len(alternatives[i]) == 0 {
			return choose(i+1, c)
		}
		for _, a := range alternatives[i] {
			if c[i] = strings.TrimPrefix(a, conditionWords[i]+" "); !choose(i+1, c) {
				return false
			}
		}
		return true
	}
	choose(0, conjunction{})
}

// pathName is the name of the path that c is about, "" if it names none.
func (c conjunction) pathName() string {
	p, err := nix.ParseStorePath(c[byPath])
	if err != nil {
		return ""
	}
	return p.Name()
}

func (c conjunction) possible() bool {
	name := c.pathName()
	return name == "" || c[byName] == "" || matchGlob(c[byName], name)
}

// covers reports whether all conditions of r hold wherever those of c do. It errs on the
// side of no.
func (r *Rule) covers(c conjunction) bool {
	var asked, met [len(conditionWords)]bool
	for _, cond := range r.Conditions {
		i := slices.Index(conditionWords[:], cond.What)
		asked[i] = true
		switch i {
		case byName:
			name := c.pathName()
			met[i] = met[i] || name != "" && matchGlob(cond.Value, name) || c[byName] != "" && coversGlob(cond.Value, c[byName])
		case byFOD:
			met[i] = c[byFOD] != ""
		case byClosure: // a path is in its own closure
			met[i] = met[i] || c[i] == cond.Value || c[byPath] == cond.Value
		default:
			met[i] = met[i] || c[i] == cond.Value
		}
	}
	return asked == met
}

package verify

import (
	"fmt"
	"slices"
	"strconv"
)

func (p *parser) group(l line) {
	f := l.fields
	if len(f) < 4 {
		if len(f) > 1 {
			p.define(l, f[1], "group")
		}
		p.failf(l, l.end(), "the line is `group NAME K|all|any MEMBER... [distinct ATTRIBUTE N] [signed]`")
		return
	}
	g := &Group{Name: f[1].text}
	members, ok := p.groupOptions(l, g, f[3:])
	ok = p.members(l, g, members) && ok
	// The name is defined last: a group cannot be its own member.
	n := p.define(l, f[1], "group")
	ok = p.threshold(l, g, f[2], len(members)) && ok
	if ok && n != nil && p.distinct(l, g) {
		n.group = g
		p.pol.Groups = append(p.pol.Groups, g)
	}
}

// groupOptions takes the words off the end of a group line that are no members.
func (p *parser) groupOptions(l line, g *Group, members []field) ([]field, bool) {
	ok := true
	for {
		n := len(members)
		switch {
		case n > 0 && members[n-1].text == "signed" && !g.Signed:
			g.Signed, members = true, members[:n-1]
		case n > 2 && members[n-3].text == "distinct" && g.Distinct == "":
			attribute, number := members[n-2], members[n-1]
			k, err := strconv.Atoi(number.text)
			if err != nil || strconv.Itoa(k) != number.text || k < 2 {
				p.failf(l, number.col, "distinct needs a number from 2, not %q", number.text)
				ok = false
			}
			if msg := checkAttribute(attribute.text, "x"); msg != "" {
				p.failf(l, attribute.col, "%s", msg)
				ok = false
			}
			g.Distinct, g.Values, members = attribute.text, k, members[:n-3]
		default:
			return members, ok
		}
	}
}

// distinct checks that the operators of a group can differ as much as it asks for.
func (p *parser) distinct(l line, g *Group) bool {
	if g.Distinct == "" {
		return true
	}
	i := slices.IndexFunc(l.fields, func(f field) bool { return f.text == "distinct" })
	col := l.fields[i].col
	values := make(map[string]bool)
	for _, m := range g.Members {
		if m.Group != nil {
			p.failf(l, col, "distinct compares operators, and %s is a group; put distinct in the line of that group", m.Group.Name)
			return false
		}
		if v := m.Operator.Attribute(g.Distinct); v != "" {
			values[v] = true
		}
	}
	switch {
	case g.Values > g.K:
		p.failf(l, col, "group %s needs %s, of whom %d cannot differ; raise %d to %d", g.Name, plural(g.K, "member"), g.Values, g.K, g.Values)
		return false
	case len(values) < g.Values:
		p.failf(l, col, "group %s can never be satisfied: its operators have %s of %s, and it needs %d", g.Name, plural(len(values), "value"), g.Distinct, g.Values)
		return false
	}
	return true
}

func (p *parser) threshold(l line, g *Group, f field, members int) bool {
	switch f.text {
	case "all":
		g.K = members
	case "any":
		g.K = 1
	default:
		k, err := strconv.Atoi(f.text)
		if err != nil || strconv.Itoa(k) != f.text || k < 1 {
			p.failf(l, f.col, "a group needs a number from 1, all or any, not %q", f.text)
			return false
		}
		g.K = k
	}
	if members == 0 {
		p.failf(l, f.col, "group %s has no members", g.Name)
		return false
	}
	if g.K > members {
		p.failf(l, f.col, "group %s can never be satisfied: it needs %d and has %s", g.Name, g.K, plural(members, "member"))
		return false
	}
	return true
}

// members resolves the members of g. Nobody may vote twice in one group, also
// not through the groups in it.
func (p *parser) members(l line, g *Group, fields []field) bool {
	ok := true
	votes := make(map[*Operator]string)
	for _, f := range fields {
		n := p.names[f.text]
		switch {
		case f.text == "signed" || f.text == "distinct":
			p.failf(l, f.col, "%q is not a member; `signed` stands at the end of the line, and so does `distinct ATTRIBUTE N`", f.text)
			ok = false
			continue
		case n == nil:
			p.failf(l, f.col, "there is no operator or group %q before this line%s", f.text, p.laterWords(l, f.text))
			ok = false
			continue
		case n.operator == nil && n.group == nil: // its own line is wrong
			ok = false
			continue
		}
		m := Member{Operator: n.operator, Group: n.group}
		g.Members = append(g.Members, m)
		voters := []*Operator{m.Operator}
		if m.Group != nil {
			voters = m.Group.Voters()
		}
		for _, o := range voters {
			if before, twice := votes[o]; twice {
				p.failf(l, f.col, "operator %s would vote twice in group %s, through %s and %s; one operator has one vote", o.Name, g.Name, before, f.text)
				ok = false
				break
			}
			votes[o] = f.text
		}
	}
	return ok
}

// laterWords says that a name is defined after the line that uses it, which is how
// every cycle looks.
func (p *parser) laterWords(l line, name string) string {
	switch at := p.later[name]; {
	case at == l.n:
		return ": a group cannot be in itself"
	case at > l.n:
		return fmt.Sprintf("; it is defined in line %d, and what a line uses stands before it, so that no group can be in itself", at)
	}
	return ""
}

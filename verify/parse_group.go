package verify

import "strconv"

func (p *parser) group(l line) {
	f := l.fields
	if len(f) < 4 {
		if len(f) > 1 {
			p.define(l, f[1], "group")
		}
		p.failf(l, l.end(), "the line is `group NAME K|all|any MEMBER... [signed]`")
		return
	}
	members := f[3:]
	g := &Group{Name: f[1].text}
	if last := members[len(members)-1]; last.text == "signed" {
		g.Signed = true
		members = members[:len(members)-1]
	}
	ok := p.members(l, g, members)
	// The name is defined last: a group cannot be its own member.
	n := p.define(l, f[1], "group")
	ok = p.threshold(l, g, f[2], len(members)) && ok
	if ok && n != nil {
		n.group = g
		p.pol.Groups = append(p.pol.Groups, g)
	}
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
			p.failf(l, f.col, "%q is not a member; `signed` stands at the end of the line", f.text)
			ok = false
			continue
		case n == nil:
			p.failf(l, f.col, "there is no operator or group %q before this line", f.text)
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

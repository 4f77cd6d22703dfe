package verify

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// Bounds of rules (spec/policy.md#bounds).
const (
	maxRules      = 256
	maxConditions = 32 // of one rule
)

const ruleLine = "the line is `rule NAME [name GLOB] [system SYSTEM] [fod] [path PATH] [closure ROOT] need GROUP|nothing [else refuse|rebuild|warn|allow]`"

func (p *parser) rule(l line) {
	if len(l.fields) < 4 {
		p.failf(l, l.end(), "%s", ruleLine)
		return
	}
	name := l.fields[1]
	r := &Rule{Name: name.text, Else: Refuse}
	ok := p.ruleName(l, name)
	rest, good := p.conditions(l, r, l.fields[2:])
	if !good || !p.needed(l, r, rest) || !ok {
		return
	}
	if p.ruleFires(l, r) {
		p.pol.Rules = append(p.pol.Rules, r)
		p.ruleLines = append(p.ruleLines, l.n)
	}
}

func (p *parser) ruleName(l line, f field) bool {
	if old, said := p.once["rule default"]; said {
		if f.text == "default" {
			p.failf(l, l.fields[0].col, "rule default is already said in line %d", old)
		} else {
			p.failf(l, f.col, "rule %s can never fire: `rule default` in line %d is for everything and comes first; it is the last rule", f.text, old)
		}
		return false
	}
	if f.text == "default" {
		p.once["rule default"] = l.n
		return true
	}
	if msg := checkName(f.text); msg != "" {
		p.failf(l, f.col, "%s", msg)
		return false
	}
	if old, said := p.once["rule "+f.text]; said {
		p.failf(l, f.col, "%q is already the name of the rule in line %d", f.text, old)
		return false
	}
	p.once["rule "+f.text] = l.n
	if len(p.pol.Rules) >= maxRules {
		p.failf(l, f.col, "a policy has at most %d rules", maxRules)
		return false
	}
	return true
}

// conditions reads what stands before `need`, and returns the rest.
func (p *parser) conditions(l line, r *Rule, rest []field) ([]field, bool) {
	ok := true
	for len(rest) > 0 && rest[0].text != "need" {
		word := rest[0]
		rest = rest[1:]
		c := Condition{What: word.text}
		at := word
		switch {
		case !slices.Contains(conditionWords[:], c.What):
			p.failf(l, word.col, "%q is not a condition of a rule; they are name, system, fod, path and closure, and then comes need", word.text)
			return nil, false
		case c.What == "fod":
		case len(rest) == 0 || rest[0].text == "need" && len(rest) < 2:
			p.failf(l, l.end(), "%s needs a value", word.text)
			return nil, false
		default:
			at, rest = rest[0], rest[1:]
			c.Value = at.text
		}
		if msg := c.check(); msg != "" {
			p.failf(l, at.col, "%s", msg)
			ok = false
		}
		if slices.Contains(r.Conditions, c) {
			p.failf(l, word.col, "%q is said twice", c.String())
			ok = false
		}
		r.Conditions = append(r.Conditions, c)
	}
	switch {
	case len(rest) == 0:
		p.failf(l, l.end(), "%s", ruleLine)
		return nil, false
	case len(r.Conditions) > maxConditions:
		p.failf(l, l.fields[1].col, "a rule has at most %d conditions, this one has %d", maxConditions, len(r.Conditions))
		return nil, false
	case r.Name == "default" && len(r.Conditions) > 0:
		p.failf(l, l.fields[2].col, "`rule default` is for what no other rule is for and has no conditions; give the rule another name")
		ok = false
	case r.Name != "default" && len(r.Conditions) == 0:
		p.failf(l, l.fields[1].col, "rule %s has no condition, so no rule after it could ever fire; that is what `rule default` is for", r.Name)
		ok = false
	}
	return rest, ok
}

// check says what is wrong with the value of a condition, or "".
func (c Condition) check() string {
	switch c.What {
	case "name":
		if i := strings.IndexFunc(c.Value, func(r rune) bool { return r > 0x7e || nix.CheckName("x"+string(r)) != nil && r != '*' }); i >= 0 {
			return "no name of a store path has " + quoted(c.Value[i:]) + " in it; a glob has * for any number of characters and ? for one"
		}
	case "system":
		if strings.Trim(c.Value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
			return quoted(c.Value) + " is not a system such as x86_64-linux"
		}
	case "path":
		if _, err := nix.ParseStorePath(c.Value); err != nil {
			return "path needs a store path: " + err.Error()
		}
	case "closure":
		if !filepath.IsAbs(c.Value) || filepath.Clean(c.Value) != c.Value {
			return quoted(c.Value) + " is not an absolute path: a store path, or a link to one such as /run/current-system"
		}
	}
	return ""
}

// needed reads `need GROUP|nothing [else ACTION]`.
func (p *parser) needed(l line, r *Rule, f []field) bool {
	if len(f) < 2 {
		p.failf(l, l.end(), "%s", ruleLine)
		return false
	}
	ok := true
	if f[1].text != "nothing" {
		r.Need, ok = p.groupNamed(l, f[1], "a rule")
	}
	switch {
	case len(f) == 2:
	case f[2].text != "else" || len(f) != 4:
		p.failf(l, f[2].col, "after the group comes nothing or `else refuse|rebuild|warn|allow`")
		return false
	default:
		i := slices.Index(actions[:], f[3].text)
		if i <= int(Serve) {
			p.failf(l, f[3].col, "after else comes refuse, rebuild, warn or allow, not %q", f[3].text)
			return false
		}
		r.Else = Action(i)
	}
	if f[1].text == "nothing" && !r.Else.Taken() {
		p.failf(l, f[1].col, "a rule that needs nothing cannot ask for more: write `need nothing else allow`, or `else warn`")
		return false
	}
	return ok
}

// groupNamed finds the group that a rule or a veto names. A group whose own line is wrong is
// nil, and false: that was reported there.
func (p *parser) groupNamed(l line, f field, who string) (*Group, bool) {
	n := p.names[f.text]
	switch {
	case n == nil:
		p.failf(l, f.col, "there is no group %q before this line%s", f.text, p.laterWords(l, f.text))
	case n.what == "operator":
		p.failf(l, f.col, "%s is an operator; %s needs a group, for instance `group G 1 %s`", f.text, who, f.text)
	default:
		return n.group, n.group != nil
	}
	return nil, false
}

func quoted(s string) string {
	if len(s) > maxNameBytes {
		s = s[:maxNameBytes]
	}
	return "\"" + strings.ToValidUTF8(s, "?") + "\""
}

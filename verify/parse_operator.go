package verify

import (
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

const operatorLine = "the line is `operator NAME id ID` or `operator NAME key KEYID...`, and then perhaps attributes such as `org=example`"

func (p *parser) operator(l line) {
	if len(l.fields) < 4 {
		if len(l.fields) > 1 {
			p.define(l, l.fields[1], "operator")
		}
		p.failf(l, l.end(), "%s", operatorLine)
		return
	}
	n := p.define(l, l.fields[1], "operator")
	o := &Operator{Name: l.fields[1].text}
	how, rest := l.fields[2], l.fields[3:]
	attributes := len(rest)
	for attributes > 0 && isAttribute(rest[attributes-1].text) {
		attributes--
	}
	ok := p.attributes(l, o, rest[attributes:]) && n != nil
	rest = rest[:attributes]
	switch {
	case how.text != "id" && how.text != "key":
		p.failf(l, how.col, "after its name an operator has `id` or `key`, not %q", how.text)
		return
	case len(rest) == 0:
		p.failf(l, l.fields[3].col, "%s", operatorLine)
		return
	case how.text == "id":
		ok = p.operatorID(l, o, rest) && ok
	default:
		for _, f := range rest {
			ok = p.operatorKey(l, o, f) && ok
		}
		slices.SortFunc(o.Keys, compareKeys)
	}
	if ok {
		n.operator = o
		p.pol.Operators = append(p.pol.Operators, o)
	}
}

func (p *parser) operatorID(l line, o *Operator, rest []field) bool {
	if len(rest) > 1 {
		p.failf(l, rest[1].col, "an operator has one id; write one line per operator")
		return false
	}
	id, err := statement.ParseID(rest[0].text)
	if err != nil {
		p.failf(l, rest[0].col, "an operator's id is 64 lower-case hexadecimal digits, as `firn operator show` prints it")
		return false
	}
	o.ID = &id
	return p.claim(l, rest[0], "id", id.String(), o.Name)
}

// operatorKey reads a key, which has two spellings: its id, and for the key of a cache
// also what Nix writes.
func (p *parser) operatorKey(l line, o *Operator, f field) bool {
	id, err := statement.ParseKeyID(f.text)
	if err != nil {
		key, nixErr := nix.ParsePublicKey(f.text)
		var pub statement.PublicKey
		if nixErr == nil {
			pub, nixErr = statement.Ed25519Key(key.Key)
		}
		if nixErr != nil {
			p.failf(l, f.col, "a key is named by its id, 64 lower-case hexadecimal digits, as `firn key show` prints it, or as Nix writes it, NAME:BASE64")
			return false
		}
		id = pub.ID()
	}
	o.Keys = append(o.Keys, id)
	return p.claim(l, f, "key", id.String(), o.Name)
}

// claim enters an id or key; it would count for neither of two operators.
func (p *parser) claim(l line, f field, what, id, operator string) bool {
	if old, taken := p.keys[what+id]; taken {
		p.failf(l, f.col, "this %s already belongs to operator %s; under two operators it counts for neither", what, old)
		return false
	}
	p.keys[what+id] = operator
	return true
}

// isAttribute tells NAME=VALUE from a key in base 64, which has a colon before it ends in =.
func isAttribute(s string) bool {
	name, _, ok := strings.Cut(s, "=")
	return ok && !strings.Contains(name, ":")
}

func (p *parser) attributes(l line, o *Operator, fields []field) bool {
	ok := true
	for _, f := range fields {
		name, value, _ := strings.Cut(f.text, "=")
		if msg := checkAttribute(name, value); msg != "" {
			p.failf(l, f.col, "%s", msg)
			ok = false
			continue
		}
		if o.Attribute(name) != "" {
			p.failf(l, f.col, "operator %s has two values of %s", o.Name, name)
			ok = false
			continue
		}
		o.Attributes = append(o.Attributes, Attribute{name, value})
	}
	return ok
}

func checkAttribute(name, value string) string {
	if name == "" || name[0] < 'a' || name[0] > 'z' || len(name) > maxNameBytes || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "the name of an attribute is lower-case letters, digits and -, such as `org` in org=example"
	}
	if value == "" || len(value) > maxNameBytes || strings.ContainsFunc(value, invisible) {
		return "the value of an attribute is 1 to 64 bytes that can be seen"
	}
	return ""
}

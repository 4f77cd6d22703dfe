package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/log/statement"
)

// ParsePolicy parses a firn.policy (spec/policy.md#firnpolicy). name stands
// for the file in errors; read returns the content of a log policy file. The
// error is PolicyErrors: everything that is wrong, with line and column.
func ParsePolicy(name string, data []byte, read func(file string) ([]byte, error)) (*Policy, error) {
	p := &parser{file: name, read: read, pol: &Policy{DecisionTTL: DefaultDecisionTTL}, names: make(map[string]*named), once: make(map[string]int), keys: make(map[string]string)}
	if len(data) > maxPolicyBytes {
		return nil, PolicyErrors{{File: name, Line: 1, Column: 1, Message: fmt.Sprintf("a policy has at most %d bytes, this one has %d", maxPolicyBytes, len(data))}}
	}
	for _, l := range lex(string(data), p.report) {
		p.line(l)
	}
	if n := strings.Count(string(data), "\n") + 1; len(data) > 0 && data[len(data)-1] != '\n' {
		p.report(n, len(data)-strings.LastIndexByte(string(data), '\n'), "the last line does not end; the file may be cut off")
	}
	p.whole()
	if len(p.errs) > 0 {
		slices.SortStableFunc(p.errs, func(a, b *PolicyError) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, p.errs
	}
	return p.pol, nil
}

// named is what a name stands for. A name whose line is wrong is known, with
// everything nil, so that one mistake is reported once.
type named struct {
	line     int
	what     string // "log", "operator" or "group"
	operator *Operator
	group    *Group
}

type parser struct {
	file  string
	read  func(string) ([]byte, error)
	pol   *Policy
	names map[string]*named // operators and groups; logs have "log " before them
	once  map[string]int    // line of what may be said once
	keys  map[string]string // operator that has an id or key
	last  int               // number of the last line with words
	errs  PolicyErrors
}

func (p *parser) report(n, col int, msg string) {
	p.errs = append(p.errs, &PolicyError{File: p.file, Line: n, Column: col, Message: msg})
}

func (p *parser) failf(l line, col int, format string, args ...any) {
	p.report(l.n, col, fmt.Sprintf(format, args...))
}

func (p *parser) line(l line) {
	p.last = l.n
	for i := 1; i < len(l.fields); i++ {
		if l.fields[i].text[0] == '#' && l.fields[i-1].text != "file" {
			p.failf(l, l.fields[i].col, "a comment has a line of its own, which begins with #")
			l.fields = l.fields[:i] // so that one mistake is reported once
		}
	}
	switch word := l.fields[0]; word.text {
	case "log":
		p.log(l)
	case "completeness":
		p.completeness(l)
	case "operator":
		p.operator(l)
	case "group":
		p.group(l)
	case "rule":
		p.rule(l)
	case "veto", "distinct", "index", "upstream", "public-from", "work-from":
		p.notYet(l, word)
	default:
		p.failf(l, word.col, "%q is not a line of a policy; lines start with log, completeness, operator, group or rule", word.text)
	}
}

func (p *parser) notYet(l line, f field) {
	p.failf(l, f.col, "%q is not yet understood by this version of firn; remove it or use a newer firn", f.text)
}

// define enters a name and reports whether it may be used.
func (p *parser) define(l line, f field, what string) *named {
	if msg := checkName(f.text); msg != "" {
		p.failf(l, f.col, "%s", msg)
		return nil
	}
	space := f.text
	if what == "log" {
		space = "log " + f.text
	}
	if old := p.names[space]; old != nil {
		p.failf(l, f.col, "%q is already the name of the %s in line %d", f.text, old.what, old.line)
		return nil
	}
	n := &named{line: l.n, what: what}
	p.names[space] = n
	return n
}

func (p *parser) completeness(l line) {
	if len(l.fields) != 2 || l.fields[1].text != "off" {
		p.failf(l, l.fields[0].col, "the line is `completeness off`; without it answers must be proven complete")
		return
	}
	if p.twice(l, "completeness") {
		return
	}
	p.pol.CompletenessOff = true
}

func (p *parser) twice(l line, what string) bool {
	if old, ok := p.once[what]; ok {
		p.failf(l, l.fields[0].col, "%s is already said in line %d", what, old)
		return true
	}
	p.once[what] = l.n
	return false
}

func (p *parser) operator(l line) {
	if len(l.fields) < 4 {
		if len(l.fields) > 1 {
			p.define(l, l.fields[1], "operator")
		}
		p.failf(l, l.end(), "the line is `operator NAME id ID` or `operator NAME key KEYID...`")
		return
	}
	n := p.define(l, l.fields[1], "operator")
	o := &Operator{Name: l.fields[1].text}
	how, rest := l.fields[2], l.fields[3:]
	ok := n != nil
	switch how.text {
	case "id":
		if len(rest) > 1 {
			p.failf(l, rest[1].col, "an operator has one id; write one line per operator")
			return
		}
		id, err := statement.ParseID(rest[0].text)
		if err != nil {
			p.failf(l, rest[0].col, "an operator's id is 64 lower-case hexadecimal digits, as `firn operator show` prints it")
			return
		}
		o.ID = &id
		ok = p.claim(l, rest[0], "id", o.Name) && ok
	case "key":
		for _, f := range rest {
			id, err := statement.ParseKeyID(f.text)
			if err != nil {
				p.failf(l, f.col, "a key is named by its id, 64 lower-case hexadecimal digits, as `firn key show` prints it")
				ok = false
				continue
			}
			ok = p.claim(l, f, "key", o.Name) && ok
			o.Keys = append(o.Keys, id)
		}
		slices.SortFunc(o.Keys, compareKeys)
	default:
		p.failf(l, how.col, "after its name an operator has `id` or `key`, not %q", how.text)
		return
	}
	if ok {
		n.operator = o
		p.pol.Operators = append(p.pol.Operators, o)
	}
}

// claim enters an id or key; it would count for neither of two operators.
func (p *parser) claim(l line, f field, what, operator string) bool {
	if old, taken := p.keys[what+f.text]; taken {
		p.failf(l, f.col, "this %s already belongs to operator %s; under two operators it counts for neither", what, old)
		return false
	}
	p.keys[what+f.text] = operator
	return true
}

func (p *parser) rule(l line) {
	f := l.fields
	switch {
	case len(f) > 1 && f[1].text != "default":
		p.failf(l, f[1].col, "rules for %q are not yet understood by this version of firn, only `rule default`", f[1].text)
		return
	case len(f) < 4 || f[2].text != "need":
		p.failf(l, f[min(2, len(f)-1)].col, "the line is `rule default need GROUP [else refuse]`")
		return
	}
	if p.twice(l, "rule default") {
		return
	}
	p.pol.Rules = []*Rule{{Name: "default", Need: p.needed(l, f[3]), Else: Refuse}}
	if len(f) == 4 {
		return
	}
	if f[4].text != "else" || len(f) != 6 {
		p.failf(l, f[4].col, "after the group comes nothing or `else refuse`")
		return
	}
	switch f[5].text {
	case "refuse":
	case "warn", "allow", "rebuild":
		p.failf(l, f[5].col, "`else %s` is not yet understood by this version of firn, only `else refuse`", f[5].text)
	default:
		p.failf(l, f[5].col, "after else comes refuse, not %q", f[5].text)
	}
}

func (p *parser) needed(l line, f field) *Group {
	n := p.names[f.text]
	switch {
	case n == nil:
		p.failf(l, f.col, "there is no group %q before this line", f.text)
	case n.what == "operator":
		p.failf(l, f.col, "%s is an operator; a rule needs a group, for instance `group G 1 %s`", f.text, f.text)
	default:
		return n.group
	}
	return nil
}

// whole checks what no single line shows.
func (p *parser) whole() {
	n := p.last + 1
	if len(p.errs) > 0 { // do not ask for lines that are there, but wrong
		return
	}
	if !slices.ContainsFunc(p.pol.Logs, func(r *LogRef) bool { return r.Required }) {
		p.report(n, 1, "no required log: a verdict would rest on nobody's answer; write `log NAME file LOGPOLICY url URL`")
	}
	if len(p.pol.Rules) == 0 {
		p.report(n, 1, "no rule: write `rule default need GROUP` after the groups")
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

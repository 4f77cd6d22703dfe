package verify

import (
	"fmt"
	"slices"
	"strings"
)

// ParsePolicy parses a firn.policy (spec/policy.md#firnpolicy). name stands
// for the file in errors; read returns the content of a log policy file. The
// error is PolicyErrors: everything that is wrong, with line and column.
func ParsePolicy(name string, data []byte, read func(file string) ([]byte, error)) (*Policy, error) {
	p := &parser{file: name, read: read, pol: &Policy{DecisionTTL: DefaultDecisionTTL}, names: make(map[string]*named), once: make(map[string]int), keys: make(map[string]string), later: make(map[string]int)}
	if len(data) > maxPolicyBytes {
		return nil, PolicyErrors{{File: name, Line: 1, Column: 1, Message: fmt.Sprintf("a policy has at most %d bytes, this one has %d", maxPolicyBytes, len(data))}}
	}
	lines := lex(string(data), p.report)
	for _, l := range lines {
		if word := l.fields[0].text; len(l.fields) > 1 && (word == "operator" || word == "group") {
			p.later[l.fields[1].text] = l.n
		}
	}
	for _, l := range lines {
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
	later map[string]int    // line of each operator and group, also of those below
	last  int               // number of the last line with words

	ruleLines []int // of the rules of pol
	errs      PolicyErrors
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
	case "veto":
		p.veto(l)
	case "upstream":
		p.upstream(l)
	case "decision-ttl":
		p.decisionTTL(l)
	case "public-from", "work-from":
		p.notYet(l, word)
	default:
		p.failf(l, word.col, "%q is not a line of a policy; lines start with log, completeness, decision-ttl, operator, group, veto, upstream or rule", word.text)
	}
}

func (p *parser) notYet(l line, f field) {
	p.failf(l, f.col, "%q is not yet understood by this version of firn; remove it or use a newer firn", f.text)
}

// define enters a name and reports whether it may be used.
func (p *parser) define(l line, f field, what string) *named {
	space := f.text
	if what == "log" {
		space = "log " + f.text
	}
	if msg := checkName(f.text); msg != "" {
		p.failf(l, f.col, "%s", msg)
		if p.names[space] == nil { // so that one mistake is reported once
			p.names[space] = &named{line: l.n, what: what}
		}
		return nil
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

// whole checks what no single line shows.
func (p *parser) whole() {
	n := p.last + 1
	if len(p.errs) > 0 { // do not ask for lines that are there, but wrong
		return
	}
	if !slices.ContainsFunc(p.pol.Logs, func(r *LogRef) bool { return r.Required }) {
		p.report(n, 1, "no required log: a verdict would rest on nobody's answer; write `log NAME file LOGPOLICY url URL`")
	}
	if _, ok := p.once["rule default"]; !ok {
		p.report(n, 1, "no rule: write `rule default need GROUP` after the groups")
	}
	for _, r := range p.pol.Rules {
		r.Vetoes = p.pol.Vetoes
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// Scenario is one case of a file that tests a policy: facts about a path and claims, and
// what the policy must make of them (spec/policy.md#tests-of-a-policy).
type Scenario struct {
	Name    string
	Line    int // of the case line, from 1
	Facts   Facts
	Output  bool // judged as the content-addressed output of a derivation
	Claims  []Claim
	Open    map[string]string
	Verdict Verdict
	Action  Action
	Rule    string // "" if any will do
}

// Run judges the scenario. problem is "" if the policy does what is expected, otherwise a
// sentence.
func (s *Scenario) Run(pol *Policy) (j Judgement, problem string) {
	rule := pol.RuleFor(s.Facts)
	j = Judge(Case{Rule: rule, About: s.about(), Claims: s.Claims, Output: s.Output, Open: s.Open})
	var wrong []string
	if s.Rule != "" && s.Rule != rule.Name {
		wrong = append(wrong, fmt.Sprintf("the rule is %s, not %s", rule.Name, s.Rule))
	}
	if j.Verdict != s.Verdict {
		wrong = append(wrong, fmt.Sprintf("it is %s, not %s", j.Verdict, s.Verdict))
	}
	if j.Action != s.Action {
		wrong = append(wrong, fmt.Sprintf("what follows is %s, not %s", j.Action, s.Action))
	}
	if len(wrong) > 0 {
		problem = fmt.Sprintf("by rule %s (%s): %s", rule.Name, j.Reason, strings.Join(wrong, "; "))
	}
	return j, problem
}

func (s *Scenario) about() Fingerprint {
	return Fingerprint{Path: s.Facts.Path, NarHash: nix.Hash{1}, NarSize: 1}
}

// ParseScenarios reads a file that tests a policy. name stands for it in errors, which are
// PolicyErrors: everything that is wrong, with line and column.
func ParseScenarios(name string, data []byte, pol *Policy) ([]*Scenario, error) {
	p := &scenarioParser{parser: parser{file: name}, pol: pol, names: make(map[string]int)}
	if len(data) > maxPolicyBytes {
		return nil, PolicyErrors{{File: name, Line: 1, Column: 1, Message: fmt.Sprintf("a test of a policy has at most %d bytes, this one has %d", maxPolicyBytes, len(data))}}
	}
	for _, l := range lex(string(data), p.report) {
		p.last = l.n
		p.scenarioLine(l)
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		p.report(strings.Count(string(data), "\n")+1, len(data)-strings.LastIndexByte(string(data), '\n'), "the last line does not end; the file may be cut off")
	}
	p.finish()
	if len(p.all) == 0 && len(p.errs) == 0 {
		p.report(p.last+1, 1, "no case: nothing would be tested")
	}
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	return p.all, nil
}

type scenarioParser struct {
	parser
	pol      *Policy
	all      []*Scenario
	now      *Scenario // the case that the lines are about
	expected bool      // its expect line was there
	names    map[string]int
	said     map[string]bool // lines of the case that may be there once
}

func (p *scenarioParser) scenarioLine(l line) {
	word, rest := l.fields[0], l.fields[1:]
	if word.text == "case" {
		p.finish()
		p.begin(l)
		return
	}
	switch {
	case p.now == nil:
		p.failf(l, word.col, "a file of tests begins with `case NAME`, and so does every test")
		return
	case p.expected:
		p.failf(l, word.col, "the case in line %d has ended with its expect line; begin another with `case NAME`", p.now.Line)
		return
	case word.text != "claim" && word.text != "open" && word.text != "closure":
		if p.said[word.text] {
			p.failf(l, word.col, "%q is said twice in one case", word.text)
			return
		}
		p.said[word.text] = true
	}
	s := p.now
	switch word.text {
	case "path":
		p.path(l, rest)
	case "system":
		if p.one(l, rest, "system SYSTEM") {
			s.Facts.System, s.Facts.SystemKnown = rest[0].text, true
		}
	case "fod":
		if p.one(l, rest, "fod yes|no", "yes", "no") {
			s.Facts.FOD, s.Facts.FODKnown = rest[0].text == "yes", true
		}
	case "output":
		if len(rest) > 0 {
			p.failf(l, rest[0].col, "the line is `output`")
		}
		s.Output = true
	case "closure":
		p.closure(l, rest)
	case "claim":
		p.claimLine(l, rest)
	case "open":
		p.open(l, rest)
	case "expect":
		p.expect(l, rest)
	default:
		p.failf(l, word.col, "%q is not a line of a test; they are case, path, system, fod, output, closure, claim, open and expect", word.text)
	}
}

// one checks that a line has one value, and that it is one of those.
func (p *scenarioParser) one(l line, rest []field, form string, values ...string) bool {
	if len(rest) != 1 || len(values) > 0 && !slices.Contains(values, rest[0].text) {
		p.failf(l, l.end(), "the line is `%s`", form)
		return false
	}
	return true
}

func (p *scenarioParser) begin(l line) {
	p.now = &Scenario{Line: l.n, Open: make(map[string]string)}
	p.expected, p.said = false, make(map[string]bool)
	if len(l.fields) < 2 {
		p.failf(l, l.end(), "the line is `case NAME`")
		return
	}
	words := make([]string, len(l.fields)-1)
	for i, f := range l.fields[1:] {
		words[i] = strings.ToValidUTF8(f.text, "?")
	}
	p.now.Name = strings.Join(words, " ")
	if old, twice := p.names[p.now.Name]; twice {
		p.failf(l, l.fields[1].col, "the case in line %d has that name already", old)
	}
	p.names[p.now.Name] = l.n
}

func (p *scenarioParser) finish() {
	if p.now == nil {
		return
	}
	if !p.expected {
		p.report(p.now.Line, 1, "this case has no expect line: it would test nothing")
	}
	if !p.said["path"] {
		p.report(p.now.Line, 1, "this case is about no path: write `path /nix/store/...`")
	}
	for i := range p.now.Claims {
		c := &p.now.Claims[i]
		if c.About.Path.IsZero() {
			c.About.Path = p.now.Facts.Path
		}
	}
	p.all = append(p.all, p.now)
	p.now = nil
}

func (p *scenarioParser) path(l line, rest []field) {
	if !p.one(l, rest, "path /nix/store/...") {
		return
	}
	path, err := nix.ParseStorePath(rest[0].text)
	if err != nil {
		p.failf(l, rest[0].col, "path needs a store path: %v", err)
		return
	}
	p.now.Facts.Path = path
}

func (p *scenarioParser) closure(l line, rest []field) {
	if !p.one(l, rest, "closure ROOT|none") {
		return
	}
	f := &p.now.Facts
	f.RootsKnown = true
	switch root := rest[0].text; {
	case root == "none":
	case !slices.Contains(p.pol.Roots(), root):
		p.failf(l, rest[0].col, "no rule of the policy says `closure %s`", root)
	default:
		f.Roots = append(f.Roots, root)
	}
}

func (p *scenarioParser) operatorNamed(l line, f field) bool {
	if p.pol.Operator(f.text) == nil {
		p.failf(l, f.col, "the policy has no operator %q", f.text)
		return false
	}
	return true
}

var (
	saysWords = []string{"same", "hash", "size", "references", "path"}
	classes   = []Class{Built, Signed, Addressed}
)

func (p *scenarioParser) claimLine(l line, rest []field) {
	const form = "claim OPERATOR built|signed|addressed same|hash[:N]|size|references|path [by IMPLEMENTATION]"
	if len(rest) != 3 && (len(rest) != 5 || rest[3].text != "by") {
		p.failf(l, l.end(), "the line is `%s`", form)
		return
	}
	if !p.operatorNamed(l, rest[0]) {
		return
	}
	i := slices.IndexFunc(classes, func(c Class) bool { return c.String() == rest[1].text })
	says, number, numbered := strings.Cut(rest[2].text, ":")
	n, err := strconv.ParseUint(number, 10, 8)
	if i < 0 || !slices.Contains(saysWords, says) || numbered && (says != "hash" || err != nil) {
		p.failf(l, rest[1].col, "the line is `%s`", form)
		return
	}
	c := Claim{Operator: rest[0].text, Class: classes[i], About: p.now.about(), Places: []Place{{Log: p.pol.Logs[0].Name, Index: uint64(len(p.now.Claims))}}}
	c.ID[0], c.ID[1] = byte(len(p.now.Claims)>>8), byte(len(p.now.Claims))
	switch says {
	case "hash":
		c.About.NarHash = nix.Hash{2, byte(n)}
	case "size":
		c.About.NarSize++
	case "references":
		c.About.References[0] = 1
	case "path":
		c.About.Path = anotherPath
	}
	if len(rest) == 5 {
		c.Implementation = rest[4].text
	}
	p.now.Claims = append(p.now.Claims, c)
}

// anotherPath is what a claim of another path in a test is about.
var anotherPath = func() nix.StorePath {
	p, err := nix.DefaultStoreDir.FromBase("00000000000000000000000000000000-another-path")
	if err != nil {
		panic(err)
	}
	return p
}()

func (p *scenarioParser) open(l line, rest []field) {
	if len(rest) == 0 {
		p.failf(l, l.end(), "the line is `open OPERATOR [WHY]`")
		return
	}
	if !p.operatorNamed(l, rest[0]) {
		return
	}
	why := make([]string, 0, len(rest))
	for _, f := range rest[1:] {
		why = append(why, strings.ToValidUTF8(f.text, "?"))
	}
	if len(why) == 0 {
		why = []string{"something is missing"}
	}
	p.now.Open[rest[0].text] = strings.Join(why, " ")
}

func (p *scenarioParser) expect(l line, rest []field) {
	const form = "expect trusted|untrusted|contradicted|inconclusive serve|allow|warn|rebuild|refuse [rule NAME]"
	p.expected = true
	if len(rest) != 2 && (len(rest) < 4 || rest[2].text != "rule") {
		p.failf(l, l.end(), "the line is `%s`", form)
		return
	}
	for v := Contradicted; v <= Trusted; v++ {
		if v.String() == rest[0].text {
			p.now.Verdict = v
		}
	}
	i := slices.Index(actions[:], rest[1].text)
	if p.now.Verdict == 0 || i < 0 {
		p.failf(l, rest[0].col, "the line is `%s`", form)
		return
	}
	p.now.Action = Action(i)
	if len(rest) > 3 {
		names := make([]string, 0, len(rest)-3)
		for _, f := range rest[3:] {
			if f.text != "or" && !slices.ContainsFunc(p.pol.Rules, func(r *Rule) bool { return r.Name == f.text }) {
				p.failf(l, f.col, "the policy has no rule %q", f.text)
			}
			names = append(names, f.text)
		}
		p.now.Rule = strings.Join(names, " ")
	}
}

package verify

import (
	"encoding/json"
	"io"
)

// jsonExplained is `firn policy explain --json` (spec/cli.md#firn-policy-explain).
type jsonExplained struct {
	Schema       int          `json:"schema"`
	Exit         int          `json:"exit"`
	Path         jsonPath     `json:"path"`
	Rules        []jsonMayBe  `json:"rules"`
	Group        *jsonNode    `json:"group"` // null if the rule asks nobody
	Vetoes       []jsonVeto   `json:"vetoes"`
	Completeness jsonComplete `json:"completeness"`
	Logs         []jsonLog    `json:"logs"`
	Evidence     []string     `json:"evidence"`
	Warnings     []string     `json:"warnings"`
}

// jsonMayBe is a rule that may be the one for the path.
type jsonMayBe struct {
	jsonRule
	Needs      string          `json:"needs"` // in words
	Conditions []jsonCondition `json:"conditions"`
}

type jsonCondition struct {
	What  string `json:"what"`
	Value string `json:"value,omitempty"`
	Holds string `json:"holds"` // "yes", "no" or "unknown"
}

// jsonNode is a group, or an operator in one.
type jsonNode struct {
	Group    string      `json:"group,omitempty"`
	Need     int         `json:"need,omitempty"`
	Of       int         `json:"of,omitempty"`
	Found    *int        `json:"found,omitempty"`
	Signed   bool        `json:"signed,omitempty"`
	Distinct string      `json:"distinct,omitempty"`
	Values   int         `json:"values,omitempty"`    // that must differ
	Differ   *int        `json:"different,omitempty"` // that do
	State    string      `json:"state"`               // "satisfied", "open", "not satisfied"; of an operator "counts", "open", "does not count"
	Why      string      `json:"why,omitempty"`       // it is open
	Members  []jsonNode  `json:"members,omitempty"`
	Operator string      `json:"operator,omitempty"`
	Claims   []jsonClaim `json:"claims,omitempty"`
}

type jsonVeto struct {
	Words   string       `json:"words"`
	Action  string       `json:"action"`
	State   string       `json:"state"` // "fires", "may fire", "does not fire"
	Dissent []jsonObject `json:"dissent"`
	Open    []jsonNode   `json:"open"`
}

// jsonObject is an operator who claims something else.
type jsonObject struct {
	jsonDissent
	Statements []jsonClaim `json:"statements"`
}

// ExplainJSON writes what [Report.ExplainTree] says as one JSON object.
func (r *Report) ExplainJSON(w io.Writer, p *PathReport) error {
	t := r.treeOf(p)
	out := jsonExplained{
		Schema: JSONSchema, Exit: r.ExitStatus(), Path: p.json(), Vetoes: []jsonVeto{}, Completeness: r.completeJSON(),
		Logs: r.logsJSON(), Evidence: list(r.Evidence()), Warnings: list(r.Warnings),
	}
	facts := p.Subject.facts()
	for _, rule := range r.Policy.rulesFor(facts) {
		may := jsonMayBe{jsonRule: rule.json(), Needs: rule.Need.words(), Conditions: []jsonCondition{}}
		for _, c := range rule.Conditions {
			may.Conditions = append(may.Conditions, jsonCondition{c.What, c.Value, [...]string{"no", "unknown", "yes"}[c.holds(facts)]})
		}
		out.Rules = append(out.Rules, may)
	}
	if need := p.Rule.Need; need != nil {
		n := t.nodeJSON(need)
		out.Group = &n
	}
	for _, v := range p.Rule.Vetoes {
		out.Vetoes = append(out.Vetoes, t.vetoJSON(v))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func (t *treeWriter) nodeJSON(g *Group) jsonNode {
	f := t.found(g)
	n := jsonNode{Group: g.Name, Need: g.K, Of: len(g.Members), Found: &f.members, Signed: g.Signed, Distinct: g.Distinct, State: f.state()}
	if g.Distinct != "" {
		n.Values, n.Differ = g.Values, &f.values
	}
	for _, m := range g.Members {
		if m.Group != nil {
			n.Members = append(n.Members, t.nodeJSON(m.Group))
			continue
		}
		one := jsonNode{Operator: m.Operator.Name, State: "does not count"}
		counts, open := t.supports(m.Operator, g.Signed)
		switch {
		case open:
			one.State, one.Why = "open", t.c.Open[m.Operator.Name]
		case counts:
			one.State = "counts"
		}
		for _, c := range t.p.Claims {
			if c.Operator == m.Operator.Name {
				one.Claims = append(one.Claims, c.json(t.c.About))
			}
		}
		n.Members = append(n.Members, one)
	}
	return n
}

func (t *treeWriter) vetoJSON(v *Veto) jsonVeto {
	said := t.vetoing(v)
	out := jsonVeto{Words: v.words(), Action: v.Action.String(), State: said.state(), Dissent: []jsonObject{}, Open: []jsonNode{}}
	for _, o := range v.Group.Voters() {
		for _, d := range said.dissent {
			if d.Operator != o.Name {
				continue
			}
			one := jsonObject{jsonDissent: jsonDissent{d.Operator, d.What}, Statements: []jsonClaim{}}
			for _, c := range d.Claims {
				one.Statements = append(one.Statements, c.json(t.c.About))
			}
			out.Dissent = append(out.Dissent, one)
		}
		if why, open := t.c.Open[o.Name]; open {
			out.Open = append(out.Open, jsonNode{Operator: o.Name, State: "open", Why: why})
		}
	}
	return out
}

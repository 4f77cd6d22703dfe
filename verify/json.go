package verify

import (
	"encoding/json"
	"io"
)

// JSONSchema is the number in the "schema" field of --json. It changes when a
// field changes its meaning or goes; new fields do not change it
// (spec/cli.md#firn-verify---json).
const JSONSchema = 1

type jsonReport struct {
	Schema       int            `json:"schema"`
	Exit         int            `json:"exit"`
	Rule         jsonRule       `json:"rule"` // the last
	Rules        []jsonRule     `json:"rules"`
	Completeness jsonComplete   `json:"completeness"`
	Summary      map[string]int `json:"summary"`
	Paths        []jsonPath     `json:"paths"`
	Logs         []jsonLog      `json:"logs"`
	Operators    []jsonOperator `json:"operators"`
	Evidence     []string       `json:"evidence"`
	Warnings     []string       `json:"warnings"`
	Cache        *CacheReport   `json:"cache,omitempty"`
}

type jsonRule struct {
	Name  string `json:"name"`
	Group string `json:"group"`
	Need  int    `json:"need"`
	Of    int    `json:"of"`
	Else  string `json:"else"`
}

func (r *Rule) json() jsonRule {
	out := jsonRule{Name: r.Name, Else: r.Else.String()}
	if g := r.Need; g != nil {
		out.Group, out.Need, out.Of = g.Name, g.K, len(g.Members)
	}
	return out
}

type jsonComplete struct {
	By      string `json:"by"` // a Basis, the weakest of the required logs
	Message string `json:"message"`
}

type jsonPath struct {
	Path       string        `json:"path"`
	Verdict    string        `json:"verdict"`
	Reason     string        `json:"reason"`
	Rule       string        `json:"rule"`
	Action     string        `json:"action"` // an Action
	Veto       string        `json:"veto,omitempty"`
	NarHash    string        `json:"nar_hash"`
	NarSize    uint64        `json:"nar_size"`
	References int           `json:"references"`
	Found      int           `json:"found"`
	Supports   []string      `json:"supports"`
	Dissent    []jsonDissent `json:"dissent"`
	Missing    []string      `json:"missing"`
	Differs    string        `json:"differs,omitempty"`
	Unbuilt    bool          `json:"unbuilt,omitempty"`
	Absent     string        `json:"absent,omitempty"`
	Claims     []jsonClaim   `json:"claims"`
}

type jsonDissent struct {
	Operator string `json:"operator"`
	Claims   string `json:"claims"`
}

type jsonClaim struct {
	Operator  string      `json:"operator"`
	Class     string      `json:"class"`
	Agrees    bool        `json:"agrees"`
	Path      string      `json:"path"`
	NarHash   string      `json:"nar_hash,omitempty"` // neither of a realised one
	NarSize   uint64      `json:"nar_size,omitempty"`
	Key       string      `json:"key"`
	Statement string      `json:"statement"`
	Places    []jsonPlace `json:"places"`
}

type jsonPlace struct {
	Log   string `json:"log"`
	Index uint64 `json:"index"`
}

type jsonLog struct {
	Name       string `json:"name"`
	Origin     string `json:"origin"`
	URL        string `json:"url"`
	Mirror     string `json:"mirror,omitempty"` // that showed the checkpoint
	Required   bool   `json:"required"`
	Answered   string `json:"answered"`
	Size       uint64 `json:"size"`
	AgeSeconds *int64 `json:"age_seconds"` // null without witnesses
	Frozen     bool   `json:"frozen,omitempty"`
	Problem    string `json:"problem,omitempty"`
	Evidence   string `json:"evidence,omitempty"`
	Ignored    int    `json:"ignored"`

	Completeness  jsonBasis      `json:"completeness"`
	IndexEvidence *jsonIndexFlaw `json:"index_evidence,omitempty"`
}

type jsonBasis struct {
	By       string   `json:"by"`
	Auditors []string `json:"auditors"`
	Unread   uint64   `json:"unread"`
	Why      string   `json:"why,omitempty"`
}

type jsonIndexFlaw struct {
	File       string `json:"file"`
	MapVersion uint64 `json:"map_version"`
	What       string `json:"what"` // names the key and the entry
}

type jsonOperator struct {
	Name       string   `json:"name"`
	Registered string   `json:"registered,omitempty"`
	Home       string   `json:"home,omitempty"`
	Keys       []string `json:"keys"`
	Forked     bool     `json:"forked"`
	Notes      []string `json:"notes"`
}

// WriteJSON writes the whole report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	out := jsonReport{
		Schema:       JSONSchema,
		Exit:         r.ExitStatus(),
		Rule:         r.Policy.Default().json(),
		Completeness: r.completeJSON(),
		Summary:      make(map[string]int),
		Evidence:     list(r.Evidence()),
		Warnings:     list(r.Warnings),
		Cache:        r.Cache,
	}
	for _, rule := range r.Policy.Rules {
		out.Rules = append(out.Rules, rule.json())
	}
	counts := r.Counts()
	for _, v := range []Verdict{Trusted, Untrusted, Contradicted, Inconclusive} {
		out.Summary[v.String()] = counts[v]
	}
	for i := range r.Paths {
		out.Paths = append(out.Paths, r.Paths[i].json())
	}
	out.Logs = r.logsJSON()
	for _, o := range r.Operators {
		keys := make([]string, len(o.Keys))
		for i, k := range o.Keys {
			keys[i] = k.String()
		}
		out.Operators = append(out.Operators, jsonOperator{
			Name: o.Name, Registered: o.Registered, Home: o.Home, Keys: keys, Forked: o.Fork != nil, Notes: list(o.Notes),
		})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func (r *Report) completeJSON() jsonComplete {
	return jsonComplete{By: string(r.basis()), Message: r.Completeness()}
}

func (r *Report) logsJSON() []jsonLog {
	out := []jsonLog{}
	for i := range r.Logs {
		out = append(out, r.Logs[i].json())
	}
	return out
}

// list is s, but never null in JSON.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func (p *PathReport) json() jsonPath {
	info := p.Subject.Info
	out := jsonPath{
		Path: info.Path.String(), Verdict: p.Verdict.String(), Reason: p.Reason, Rule: p.Rule.Name, Action: p.Action.String(),
		NarHash: info.NarHash.String(), NarSize: info.NarSize, References: len(info.References),
		Found: p.Found, Supports: list(p.Supports), Dissent: []jsonDissent{}, Missing: list(p.Missing),
		Differs: p.Subject.Differs, Claims: []jsonClaim{},
	}
	out.Unbuilt, out.Absent = p.Subject.Unbuilt, p.Subject.Absent
	if out.Absent != "" || out.Unbuilt && p.Subject.found == nil {
		out.NarHash = "" // nobody says it
	}
	if p.Veto != nil {
		out.Veto = p.Veto.String()
	}
	for _, d := range p.Dissent {
		out.Dissent = append(out.Dissent, jsonDissent{Operator: d.Operator, Claims: d.What})
	}
	f := p.Subject.Fingerprint()
	for _, c := range p.Claims {
		out.Claims = append(out.Claims, c.json(f))
	}
	return out
}

// json is the claim beside what is judged.
func (c *Claim) json(f Fingerprint) jsonClaim {
	j := jsonClaim{
		Operator: c.Operator, Class: c.Class.String(), Agrees: c.About == f || c.got(f), Path: c.About.Path.String(),
		Key: c.Key.String(), Statement: c.ID.String(),
	}
	if c.Class != Realised {
		j.NarHash, j.NarSize = c.About.NarHash.String(), c.About.NarSize
	}
	for _, at := range c.Places {
		j.Places = append(j.Places, jsonPlace(at))
	}
	return j
}

func (l *LogReport) json() jsonLog {
	out := jsonLog{
		Name: l.Name, Origin: l.Origin, URL: l.URL, Mirror: l.Mirror, Required: l.Required, Answered: string(l.Answered), Size: l.Size, Frozen: l.Frozen,
		Problem: l.Problem, Evidence: l.Evidence, Ignored: l.Ignored,
		Completeness: jsonBasis{By: string(l.Complete.By), Auditors: list(l.Complete.Auditors), Unread: l.Complete.Unread, Why: l.Complete.Why},
	}
	if f := l.IndexFault; f != nil {
		out.IndexEvidence = &jsonIndexFlaw{File: f.File, MapVersion: f.MapVersion, What: f.What}
	}
	if l.Dated {
		age := int64(l.Age.Seconds())
		out.AgeSeconds = &age
	}
	return out
}

package main

// historyJSON is how firn operator show --json looks (spec/cli.md).
type historyJSON struct {
	Schema     int              `json:"schema"`
	Operator   string           `json:"operator"`
	Log        string           `json:"log"`
	Size       uint64           `json:"size"`
	Name       string           `json:"name"`
	Contact    string           `json:"contact"`
	URL        string           `json:"url,omitempty"`
	HomeLog    string           `json:"home_log"`
	Head       string           `json:"head"` // the newest statement before any fork
	Forked     bool             `json:"forked"`
	ForkAfter  string           `json:"fork_after,omitempty"` // the statement that several follow
	Branches   []string         `json:"branches,omitempty"`   // those that follow it; the first is branch 1
	Keys       []historyKeyJSON `json:"keys"`
	Incomplete string           `json:"incomplete,omitempty"` // why statements may be missing
	Statements []historyStJSON  `json:"statements"`
}

type historyKeyJSON struct {
	ID      string   `json:"id"`
	Role    string   `json:"role"`
	Type    string   `json:"type"`
	Public  string   `json:"public"`
	Signed  int      `json:"signed"`           // statements
	LastUse uint64   `json:"last"`             // index of the newest, if there is one
	Below   uint64   `json:"counts_below"`     // claims at lower indexes of this log count; 2^64-1 if nothing ends them
	Shared  []string `json:"shared,omitempty"` // other operators that have the key; then it counts for nobody
	// Of the first revocation, and all of them.
	Revoked     string            `json:"revoked,omitempty"` // the reason
	Elsewhere   string            `json:"elsewhere,omitempty"`
	Cuts        map[string]uint64 `json:"cuts,omitempty"`
	Revocations []revocationJSON  `json:"revocations,omitempty"`
}

type revocationJSON struct {
	Reason    string            `json:"reason"`
	Elsewhere string            `json:"elsewhere"`
	Cuts      map[string]uint64 `json:"cuts"`
}

type historyStJSON struct {
	Index  uint64 `json:"index"`
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Signer string `json:"signer"`
	Prev   string `json:"prev,omitempty"`
	Says   string `json:"says"`
	Counts bool   `json:"counts"`
	Branch int    `json:"branch,omitempty"`
	Why    string `json:"why,omitempty"`
}

func (h *history) json(origin string) historyJSON {
	out := historyJSON{
		Schema: 1, Operator: h.ID.String(), Log: origin, Size: h.Checkpoint.Size, Name: h.Profile.Name, Contact: h.Profile.Contact,
		URL: h.Profile.URL, HomeLog: h.Profile.HomeLog, Head: h.Head.String(), Incomplete: h.unsure(),
	}
	if f := h.Fork; f != nil {
		out.Forked, out.ForkAfter = true, f.Prev.String()
		for _, id := range f.Successors {
			out.Branches = append(out.Branches, id.String())
		}
	}
	for i := range h.Keys {
		k := &h.Keys[i]
		j := historyKeyJSON{
			ID: k.Key.ID().String(), Role: string(k.Role), Type: string(k.Key.Type()), Public: k.Key.Text(),
			Signed: k.Use.Signed, LastUse: k.Use.Last, Below: k.Below,
		}
		for _, other := range k.Use.Others {
			j.Shared = append(j.Shared, other.String())
		}
		for i, r := range k.Revokes {
			if i == 0 {
				j.Revoked, j.Elsewhere, j.Cuts = string(r.Reason), string(r.Elsewhere), r.Cuts
			}
			j.Revocations = append(j.Revocations, revocationJSON{string(r.Reason), string(r.Elsewhere), r.Cuts})
		}
		out.Keys = append(out.Keys, j)
	}
	for _, s := range h.Steps {
		j := historyStJSON{
			Index: s.Index, ID: s.Statement.ID().String(), Kind: string(s.Statement.Kind), Signer: s.Statement.Signer.String(),
			Says: describe(s.Statement.Body), Counts: s.Counts, Branch: s.Branch, Why: s.Why,
		}
		if p := s.Statement.Prev; p != nil {
			j.Prev = p.String()
		}
		out.Statements = append(out.Statements, j)
	}
	return out
}

package verify

import (
	"cmp"
	"slices"
	"time"
)

// maxBad is how many contradicted paths a Status keeps for the next one.
const maxBad = 1000

// Status is how much of a set of paths is reproduced, and by whom (spec/cli.md#firn-status).
// It is kept to say next time what has changed.
type Status struct {
	Schema int       `json:"schema"` // StatusSchema
	Time   time.Time `json:"time"`
	Of     string    `json:"of"` // what was asked for

	Paths        int `json:"paths"`
	Trusted      int `json:"trusted"`
	Untrusted    int `json:"untrusted"`
	Contradicted int `json:"contradicted"`
	Inconclusive int `json:"inconclusive"`

	// Fixed is how many paths follow from their content; they are not in the next two.
	Fixed      int `json:"fixed"`
	Built      int `json:"built"`      // that an operator of the policy built exactly so
	Reproduced int `json:"reproduced"` // that two or more of them did
	Covered    int `json:"covered"`    // about which an operator of the policy claims anything

	By  []StatusOperator `json:"operators"`          // who claims something, most built first
	Bad []string         `json:"contradicted_paths"` // sorted, at most 1,000
}

// StatusSchema is the form of a Status.
const StatusSchema = 1

// StatusOperator is what one operator says of the paths of a Status.
type StatusOperator struct {
	Name    string `json:"name"`
	Built   int    `json:"built"`   // exactly these
	Signed  int    `json:"signed"`  // exactly these, and did not build
	Dissent int    `json:"dissent"` // paths of which it claims something else
}

// Status counts what the report has. of is what was asked for.
func (r *Report) Status(of string, now time.Time) *Status {
	s := &Status{Schema: StatusSchema, Time: now.UTC().Truncate(time.Second), Of: of, Paths: len(r.Paths), By: []StatusOperator{}, Bad: []string{}}
	n := r.Counts()
	s.Trusted, s.Untrusted, s.Contradicted, s.Inconclusive = n[Trusted], n[Untrusted], n[Contradicted], n[Inconclusive]
	by := make(map[string]*StatusOperator)
	for i := range r.Paths {
		p := &r.Paths[i]
		if p.Verdict == Contradicted && len(s.Bad) < maxBad {
			s.Bad = append(s.Bad, p.Subject.Info.Path.String())
		}
		s.count(p, by)
	}
	slices.Sort(s.Bad)
	for _, o := range by {
		s.By = append(s.By, *o)
	}
	slices.SortFunc(s.By, func(a, b StatusOperator) int {
		return cmp.Or(cmp.Compare(b.Built, a.Built), cmp.Compare(b.Signed, a.Signed), cmp.Compare(a.Name, b.Name))
	})
	return s
}

// count adds what operators claim about one path.
func (s *Status) count(p *PathReport, by map[string]*StatusOperator) {
	f := p.Subject.Fingerprint()
	built, differs := make(map[string]bool), make(map[string]bool)
	for _, c := range p.Claims {
		built[c.Operator] = built[c.Operator] || c.Class != Signed
		differs[c.Operator] = differs[c.Operator] || c.About != f
	}
	builders := 0
	for name, itself := range built {
		o := by[name]
		if o == nil {
			o = &StatusOperator{Name: name}
			by[name] = o
		}
		switch {
		case differs[name]:
			o.Dissent++
		case itself:
			o.Built++
			builders++
		default:
			o.Signed++
		}
	}
	if len(built) > 0 {
		s.Covered++
	}
	if p.Subject.facts().FOD {
		s.Fixed++
		return
	}
	if builders > 0 {
		s.Built++
	}
	if builders > 1 {
		s.Reproduced++
	}
}

// Worst returns the paths that are not trusted or of which somebody claims something else, the worst first.
func (r *Report) Worst() []*PathReport {
	var worst []*PathReport
	for i := range r.Paths {
		if p := &r.Paths[i]; p.Verdict != Trusted || len(p.Dissent) > 0 {
			worst = append(worst, p)
		}
	}
	slices.SortStableFunc(worst, func(a, b *PathReport) int {
		return cmp.Or(cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(b.Action, a.Action), cmp.Compare(len(b.Dissent), len(a.Dissent)), cmp.Compare(a.Subject.Info.Path.Name(), b.Subject.Info.Path.Name()))
	})
	return worst
}

// Words says what the verdict about the path rests on, without its name.
func (p *PathReport) Words() string {
	if p.Verdict == Trusted {
		return p.dissentWords()
	}
	return p.Reason
}

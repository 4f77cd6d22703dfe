package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

func (s *server) maintainer(r *http.Request, q query) (*page, error) {
	login := r.PathValue("login")
	v, err := s.src.Maintainer(r.Context(), login)
	if err != nil {
		return nil, fmt.Errorf("reading a maintainer: %w", err)
	}
	return s.person(r, q, "maintainer", v, store.Filter{Maintainer: login})
}

func (s *server) team(r *http.Request, q query) (*page, error) {
	name := r.PathValue("login")
	v, err := s.src.Team(r.Context(), name)
	if err != nil {
		return nil, fmt.Errorf("reading a team: %w", err)
	}
	return s.person(r, q, "team", v, store.Filter{Team: name})
}

// maxPlots is for how many channels a person's page has a trend.
const maxPlots = 4

func (s *server) person(r *http.Request, q query, kind string, v *store.PersonView, f store.Filter) (*page, error) {
	var err error
	if f.State, err = q.state(); err != nil {
		return nil, err
	}
	f.Order = store.Worst
	list, err := s.src.Attributes(r.Context(), f, q.page(rows(r)))
	if err != nil {
		return nil, fmt.Errorf("reading the attributes of a %s: %w", kind, err)
	}
	out := api.PersonPage{Schema: api.Schema, Kind: kind, Login: v.Login, Name: v.Name, Channels: make([]api.Share, 0, len(v.Channels)), Next: list.Next}
	for i, c := range v.Channels {
		share := api.Share{Channel: c.Channel, Attributes: c.Attrs, Counts: countsOf(c.Counts)}
		if i < maxPlots && q["after"] == "" {
			if share.Trend, err = s.trend(r.Context(), kind, v.Login, c.Channel); err != nil {
				return nil, err
			}
		}
		out.Channels = append(out.Channels, share)
	}
	out.Packages = byPackage(each(list.Rows, rowOf))
	p := &page{template: "person", title: strings.ToUpper(kind[:1]) + kind[1:] + " " + show(v.Login), data: out}
	for _, a := range list.Rows {
		p.modified = later(p.modified, a.Since)
	}
	p.feed = func(f *feed) {
		for _, pkg := range out.Packages {
			for _, a := range pkg.Attributes {
				words := show(a.Attr) + " " + show(a.Version) + " in " + show(a.Channel) + ": " + stateWord(a.State)
				f.addID(s.urls.Package(a.Attr)+"#"+segment(a.Channel)+"-"+string(a.State)+"-"+show(a.Drv), s.urls.Package(a.Attr), a.Since, words, words+".")
			}
		}
	}
	return p, nil
}

// byPackage groups attributes by package, which is the name without version.
// Packages are worst first, and as they came otherwise.
func byPackage(rows []api.Attribute) []api.PersonPkg {
	out := []api.PersonPkg{}
	at := make(map[string]int)
	for _, a := range rows {
		name := a.Pname
		if name == "" {
			name = a.Attr
		}
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name] = i
			out = append(out, api.PersonPkg{Name: name})
		}
		out[i].Attributes = append(out[i].Attributes, a)
		if worst(a.State) > worst(out[i].State) {
			out[i].State = a.State
		}
	}
	slices.SortStableFunc(out, func(a, b api.PersonPkg) int { return worst(b.State) - worst(a.State) })
	return out
}

// trend is what a plot shows, oldest first.
func (s *server) trend(ctx context.Context, kind, key, channel string) ([]api.TrendPoint, error) {
	points, err := s.src.Trend(ctx, kind, key, channel)
	if err != nil {
		return nil, fmt.Errorf("reading the trend of a %s: %w", kind, err)
	}
	return each(points, trendOf), nil
}

func (s *server) operators(r *http.Request, q query) (*page, error) {
	list, err := s.src.Operators(r.Context(), q.page(rows(r)))
	if err != nil {
		return nil, fmt.Errorf("reading the operators: %w", err)
	}
	return &page{template: "operators", title: "Operators", data: api.OperatorsPage{Schema: api.Schema, Operators: each(list.Rows, operatorOf), Next: list.Next}}, nil
}

func (s *server) operator(r *http.Request, q query) (*page, error) {
	id, err := hexID(r)
	if err != nil {
		return nil, err
	}
	state, err := q.state()
	if err != nil {
		return nil, err
	}
	if state == 0 {
		state = store.Differ
	}
	v, err := s.src.Operator(r.Context(), id)
	if err != nil {
		return nil, fmt.Errorf("reading an operator: %w", err)
	}
	list, err := s.src.OperatorOutputs(r.Context(), id, state, q.page(rows(r)))
	if err != nil {
		return nil, fmt.Errorf("reading the outputs of an operator: %w", err)
	}
	out := api.OperatorPage{
		Schema: api.Schema, Operator: operatorOf(*v), Keys: each(v.Keys, keyOf), MoreKeys: v.MoreKeys, Recent: each(v.Recent, statementOf),
		State: stateOf(state), Outputs: each(list.Rows, pathOf), Next: list.Next,
	}
	out.Verdict = operatorVerdict(out.Operator)
	p := &page{template: "operator", title: "Operator " + operatorName(api.Operator{ID: v.ID, Name: v.Name}), data: out}
	for _, st := range v.Recent {
		p.modified = later(p.modified, st.Time)
	}
	p.feed = func(f *feed) {
		for _, st := range out.Recent {
			f.add(s.urls.Statement(st.ID), "", st.Time, st.Kind+" "+show(st.Subject), "A "+show(st.Kind)+" statement about "+show(st.Subject)+".")
		}
	}
	return p, nil
}

// operatorVerdict says in one sentence what an operator's claims are worth to others.
func operatorVerdict(o api.OperatorInfo) string {
	name := operatorName(api.Operator{ID: o.ID, Name: o.Name})
	compared := o.Agreed + o.Differed
	switch {
	case o.Fork != "":
		return name + " signed two histories of itself, so what it says after that does not count."
	case o.Copied > 0:
		return name + " agrees with somebody on " + plural(o.Copied, "output") + " that no two builds make the same: one of them copied."
	case o.Claims == 0:
		return name + " claims nothing yet."
	case compared == 0:
		return name + " is alone with all it claims: nobody built the same."
	case o.Differed == 0:
		return name + " agrees with others on each of the " + plural(compared, "output") + " that somebody else built too."
	}
	return name + " agrees with others on " + num(o.Agreed) + " of the " + plural(compared, "output") + " that somebody else built too, and differs on " + num(o.Differed) + "."
}

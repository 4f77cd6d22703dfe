package web

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/firn-log/firn/tracker/api"
)

func (s *server) closures(r *http.Request, q query) (*page, error) {
	list, err := s.src.Closures(r.Context(), q.page(rows(r)))
	if err != nil {
		return nil, fmt.Errorf("reading the closures: %w", err)
	}
	return &page{template: "closures", title: "Closures", data: api.ClosuresPage{Schema: api.Schema, Closures: each(list.Rows, closureOf), Next: list.Next}}, nil
}

func (s *server) closure(r *http.Request, q query) (*page, error) {
	id, err := hexID(r)
	if err != nil {
		return nil, err
	}
	state, err := q.state()
	if err != nil {
		return nil, err
	}
	v, err := s.src.Closure(r.Context(), id)
	if err != nil {
		return nil, fmt.Errorf("reading a closure: %w", err)
	}
	list, err := s.src.ClosurePaths(r.Context(), id, state, q.page(rows(r)))
	if err != nil {
		return nil, fmt.Errorf("reading the paths of a closure: %w", err)
	}
	out := api.ClosurePage{Schema: api.Schema, Closure: closureOf(*v), History: each(v.History, statedOf), State: stateOf(state), Paths: each(list.Rows, pathOf), Next: list.Next}
	out.Verdict = closureVerdict(out.Closure)
	return &page{template: "closure", title: "Closure " + show(v.Name), data: out}, nil
}

// closureVerdict says in one sentence how much of a closure is reproduced.
func closureVerdict(c api.Closure) string {
	n := c.Counts
	switch {
	case c.Known == 0:
		return "Its paths are not known: the log has only a digest of the list, or its operator stated 64 others after it."
	case n.Total() == 0:
		return "All that it lists is fixed by a hash."
	case n.Copying > 0 || n.Differ > 0:
		text := num(n.Agree) + " of " + plural(n.Total(), "output") + " are reproduced"
		if n.Differ > 0 {
			text += "; " + num(n.Differ) + " came out differently"
		}
		if n.Copying > 0 {
			text += "; " + num(n.Copying) + " must have been copied"
		}
		return text + "."
	case n.Agree == n.Total():
		return "All of its " + plural(n.Total(), "output") + " are reproduced."
	}
	return num(n.Agree) + " of " + plural(n.Total(), "output") + " are reproduced, and nobody differs on the others."
}

// closurePlot draws how the share of what is stated under one name changed, from statement to statement.
func closurePlot(name string, history []api.Stated) plotView {
	var points []api.TrendPoint
	for _, h := range slices.Backward(history) {
		if h.Counts.Total() > 0 {
			points = append(points, api.TrendPoint{Seq: int64(len(points)), Revision: entryOf(h), Counts: h.Counts})
		}
	}
	if len(points) < 2 {
		return plotView{}
	}
	return plotOf(name, points, "statement", func(p api.TrendPoint) string { return p.Revision })
}

// entryOf says where a closure is logged, in a word.
func entryOf(c api.Stated) string {
	if len(c.Places) == 0 {
		return short(c.ID)
	}
	return "entry " + num(int64(c.Places[0].Index))
}

package web

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

// maxColumns is how many operators a matrix has.
const maxColumns = 8

// matrixView is outputs against operators.
type matrixView struct {
	Operators []api.Operator
	More      int // operators left out
	Rows      []matrixRow
}

type matrixRow struct {
	Output api.Output
	Cells  []matrixCell
}

// matrixCell is what one operator says about one output.
type matrixCell struct {
	Letters []string // camps; more than one if it contradicts itself
	Class   string
	State   api.State // agree in the largest camp, differ outside it, or if nobody came to the same
}

// matrix puts those first who say something that counts about most outputs.
func matrix(outputs []api.Output) matrixView {
	said := make(map[string]int)
	ref := make(map[string]api.Operator)
	for _, o := range outputs {
		seen := make(map[string]bool)
		for _, c := range o.Claims {
			id := who(c.Operator)
			ref[id] = c.Operator
			if c.Counts && !seen[id] {
				said[id] += 1000
			}
			said[id]++
			seen[id] = true
		}
	}
	ids := make([]string, 0, len(ref))
	for id := range ref {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		if said[a] != said[b] {
			return said[b] - said[a]
		}
		return cmpNames(ref[a], ref[b])
	})
	var v matrixView
	if len(ids) > maxColumns {
		v.More = len(ids) - maxColumns
		ids = ids[:maxColumns]
	}
	for _, id := range ids {
		v.Operators = append(v.Operators, ref[id])
	}
	for _, o := range outputs {
		row := matrixRow{Output: o}
		for _, id := range ids {
			row.Cells = append(row.Cells, cell(o, id))
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}

func cmpNames(a, b api.Operator) int {
	switch x, y := operatorName(a)+who(a), operatorName(b)+who(b); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// who tells operators apart, and keys that nobody registered.
func who(o api.Operator) string {
	if o.ID != "" {
		return o.ID
	}
	return "key " + o.Key
}

func cell(o api.Output, id string) matrixCell {
	var c matrixCell
	for _, claim := range o.Claims {
		if who(claim.Operator) != id {
			continue
		}
		if !slices.Contains(c.Letters, claim.Camp) {
			c.Letters = append(c.Letters, claim.Camp)
		}
		if c.Class == "" || claim.Class == "built" {
			c.Class = claim.Class
		}
		if claim.Counts && worst(c.State) < worst(api.Differ) {
			c.State = api.Agree
			if claim.Camp != "A" || o.State == api.Differ && o.Agreeing < 2 {
				c.State = api.Differ
			}
		}
	}
	return c
}

// few bounds a list on a page; the JSON has all.
func few(n int, list any) any {
	v := reflect.ValueOf(list)
	return v.Slice(0, min(n, v.Len())).Interface()
}

// shortHash is the start of a hash without the name of its algorithm.
func shortHash(s string) string {
	_, digest, ok := strings.Cut(s, ":")
	if !ok {
		digest = s
	}
	return short(digest)
}

// groups are search hits by kind, in the order in which people look for them: what is almost called so
// first, for then nothing is called so, and what is described so last.
func groups(hits []api.SearchHit) []hitGroup {
	names := []struct{ kind, match, title string }{
		{"", store.MatchSimilar, "Did you mean"},
		{"attribute", store.MatchName, "Packages"},
		{"channel", store.MatchName, "Channels"},
		{"maintainer", store.MatchName, "Maintainers"},
		{"team", store.MatchName, "Teams"},
		{"operator", store.MatchName, "Operators"},
		{"path", store.MatchName, "Store paths"},
		{"closure", store.MatchName, "Closures"},
		{"statement", store.MatchName, "Statements"},
		{"attribute", store.MatchText, "Packages that are described so"},
	}
	var out []hitGroup
	for _, n := range names {
		g := hitGroup{Title: n.title}
		seen := make(map[string]bool)
		for _, h := range hits {
			if id := h.Kind + " " + h.Key + " " + h.Channel; h.Match == n.match && (n.kind == "" || h.Kind == n.kind) && !seen[id] {
				seen[id] = true
				g.Hits = append(g.Hits, h)
			}
		}
		if len(g.Hits) > 0 {
			out = append(out, g)
		}
	}
	return out
}

type hitGroup struct {
	Title string
	Hits  []api.SearchHit
}

// delta says how the share reproduced changed, in points of a hundred.
func delta(now, before api.Counts) string {
	if before.Total() == 0 {
		return ""
	}
	d := 100 * (now.Share(api.Agree) - before.Share(api.Agree))
	switch {
	case d > -0.005 && d < 0.005:
		return "unchanged since the evaluation before"
	case d > 0:
		return fmt.Sprintf("%.2f percentage points more than the evaluation before", d)
	}
	return fmt.Sprintf("%.2f percentage points less than the evaluation before", -d)
}

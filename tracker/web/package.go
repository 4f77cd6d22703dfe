package web

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

func (s *server) attribute(r *http.Request, _ query) (*page, error) {
	v, err := s.src.Attribute(r.Context(), r.PathValue("attr"))
	if err != nil {
		return nil, fmt.Errorf("reading an attribute: %w", err)
	}
	pol, err := s.policyName(r.Context())
	if err != nil {
		return nil, err
	}
	out := api.PackagePage{Schema: api.Schema, Attr: v.Attr, Policy: pol, Derivations: derivations(v), History: each(v.History, versionOf)}
	p := &page{template: "package", title: show(v.Attr)}
	for i := range out.Derivations {
		d := &out.Derivations[i]
		if worst(d.State) > worst(out.State) {
			out.State = d.State
		}
		for _, o := range d.Outputs {
			for _, c := range o.Claims {
				p.modified = later(p.modified, c.Finished)
			}
		}
	}
	out.Verdict = packageVerdict(out)
	p.data = out
	p.feed = func(f *feed) { s.packageEntries(f, out) }
	return p, nil
}

// derivations puts channels that have the same derivation together.
func derivations(v *store.AttributeView) []api.Derivation {
	out := []api.Derivation{}
	at := make(map[string]int)
	for _, c := range v.Channels {
		row := rowOf(c.Row)
		if i, ok := at[row.Drv]; ok && row.Drv != "" {
			out[i].Channels = append(out[i].Channels, row.Channel)
			out[i].Rows = append(out[i].Rows, row)
			continue
		}
		at[row.Drv] = len(out)
		out = append(out, api.Derivation{
			Channels: []string{row.Channel}, Rows: []api.Attribute{row}, Version: row.Version, Drv: row.Drv, State: row.State,
			Outputs: each(c.Outputs, outputOf), Meta: metaOf(c.Meta),
		})
	}
	slices.SortStableFunc(out, func(a, b api.Derivation) int { return worst(b.State) - worst(a.State) })
	for i := range out {
		out[i].Verdict = derivationVerdict(v.Attr, out[i])
	}
	return out
}

// packageVerdict is one sentence over all channels.
func packageVerdict(p api.PackagePage) string {
	switch {
	case len(p.Derivations) == 0 && len(p.History) > 0:
		return show(p.Attr) + " is in no channel any more; below is what it was."
	case len(p.Derivations) == 0:
		return show(p.Attr) + " is in no channel that is evaluated here."
	}
	return p.Derivations[0].Verdict + before(p.Derivations[0], p.History) // of the worst
}

// before says until when what is not reproduced was something else that is, if it was.
func before(d api.Derivation, history []api.Version) string {
	if d.State == api.Agree || d.Drv == "" {
		return ""
	}
	until := make(map[string]time.Time) // since when it is what it is, by channel
	for _, v := range history {         // the newest first
		if !slices.Contains(d.Channels, v.Channel) {
			continue
		}
		t, ok := until[v.Channel]
		switch {
		case !ok && v.Drv == d.Drv:
			until[v.Channel] = v.From
		case ok && v.State == api.Agree:
			what := "What it was until " + day(t)
			if v.Version != "" && v.Version != d.Version {
				what += ", " + show(v.Version) + ","
			}
			return " " + what + " is reproduced."
		case ok:
			return ""
		}
	}
	return ""
}

// derivationVerdict is one sentence: what is so, where, and why.
func derivationVerdict(attr string, d api.Derivation) string {
	what := show(attr)
	if d.Version != "" {
		what += " " + show(d.Version)
	}
	in := " in " + list(d.Channels, 3)
	if e := d.Rows[0].Error; e != "" {
		return what + " does not evaluate" + in + "."
	}
	builders, differing, reason := 0, []string{}, ""
	for _, r := range d.Rows {
		builders = max(builders, r.Builders)
	}
	for _, o := range d.Outputs {
		if o.State == api.Differ {
			differing, reason = append(differing, o.Output), o.Reason
		}
	}
	switch d.State {
	case api.Agree:
		if builders < 2 {
			return what + in + " is reproduced" + since(d) + "."
		}
		return what + in + " is reproduced" + since(d) + ": " + num(builders) + " operators came to the same."
	case api.Differ:
		if len(differing) == 0 {
			return "Builders of " + what + in + " do not come to the same" + since(d) + "."
		}
		words := "Builders of " + what + in + " do not come to the same: " + list(differing, 4) + verb(len(differing), " differs", " differ") + since(d) + "."
		if len(differing) == 1 && reason != "" {
			words += " " + prose(reason)
		}
		return words
	case api.Copying:
		return what + in + " cannot come out the same twice, and yet two operators agree: one of them copied."
	case api.Missing:
		if builders = fewest(d.Outputs, builders); builders == 0 {
			return "Nobody has built all of " + what + in + " yet."
		}
		who := num(builders) + verb(builders, " operator", " operators")
		if names := builtBy(d.Outputs); len(names) == builders && builders <= 3 {
			who = list(names, 3)
		}
		return what + in + " is not reproduced yet: " + verb(builders, "only "+who+" has built it.", who+" have built it, which is too few.")
	}
	return "How " + what + in + " is built is not known yet; its derivation is evaluated behind its metadata."
}

// since is the day from which on a derivation is in its state in one of its channels, or, if it agrees, in all.
func since(d api.Derivation) string {
	var t time.Time
	for _, r := range d.Rows {
		if t.IsZero() || d.State == api.Agree && r.Since.After(t) || d.State != api.Agree && r.Since.Before(t) {
			t = r.Since
		}
	}
	if t.IsZero() {
		return ""
	}
	return " since " + day(t)
}

// builtBy names the operators whose builds count.
func builtBy(outputs []api.Output) (names []string) {
	for _, o := range outputs {
		for _, c := range o.Claims {
			if name := operatorName(c.Operator); c.Counts && c.Class == "built" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// whatDiffers is a statement that says what differs, or "".
func whatDiffers(ds []api.Derivation) string {
	for _, d := range ds {
		for _, o := range d.Outputs {
			for _, c := range o.Claims {
				if c.Diff != "" && o.State == api.Differ {
					return c.Diff
				}
			}
		}
	}
	return ""
}

// fewest is by how many the missing output was built that has the fewest, or
// n if none is missing.
func fewest(outputs []api.Output, n int) int {
	for _, o := range outputs {
		if o.State == api.Missing {
			n = min(n, o.Agreeing+o.Against)
		}
	}
	return n
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// packageEntries are claims about its outputs and versions of it.
func (s *server) packageEntries(f *feed, p api.PackagePage) {
	for _, d := range p.Derivations {
		for _, o := range d.Outputs {
			for _, c := range o.Claims {
				words := fmt.Sprintf("%s %s %s of %s %s: %s", operatorName(c.Operator), show(c.Class), show(o.Output), show(p.Attr), show(d.Version), show(c.NarHash))
				f.addID(s.urls.Statement(c.Statement)+"#"+segment(o.Path), s.urls.Statement(c.Statement), c.Finished, words, words+". The output is now: "+stateWord(o.State)+".")
			}
		}
	}
	for _, v := range p.History {
		words := fmt.Sprintf("%s %s came into %s", show(p.Attr), show(v.Version), show(v.Channel))
		f.addID(fmt.Sprintf("%s#%s-%d", s.urls.Package(p.Attr), segment(v.Channel), v.FromSeq), s.urls.Package(p.Attr), v.From, words, words+". It is now: "+stateWord(v.State)+".")
	}
}

func (s *server) output(r *http.Request, _ query) (*page, error) {
	path := r.PathValue("path")
	o, rows, err := s.src.Output(r.Context(), path)
	if err != nil {
		return nil, fmt.Errorf("reading a store path: %w", err)
	}
	pol, err := s.policyName(r.Context())
	if err != nil {
		return nil, err
	}
	out := api.OutputPage{Schema: api.Schema, Path: path, Policy: pol, Output: outputOf(*o), Attributes: each(rows, rowOf)}
	out.Verdict = outputVerdict(out)
	var modified time.Time
	for _, c := range o.Claims {
		modified = later(modified, c.Finished)
	}
	return &page{template: "path", title: show(path), data: out, modified: modified}, nil
}

func outputVerdict(p api.OutputPage) string {
	if p.Output.Reason != "" {
		return prose(p.Output.Reason)
	}
	switch p.Output.State {
	case api.Agree:
		return "This path is reproduced."
	case api.Differ:
		return "Builders do not come to the same for this path."
	case api.Copying:
		return "This path cannot come out the same twice, and yet two operators agree: one of them copied."
	}
	return "This path is not reproduced yet."
}

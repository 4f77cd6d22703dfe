package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

// policyMemo keeps the name of the policy for a while: it is on many pages.
type policyMemo struct {
	name string
	at   time.Time
}

// policyName is what decides states, at most a minute old.
func (s *server) policyName(ctx context.Context) (api.Policy, error) {
	now := s.o.Now()
	if m := s.policy.Load(); m != nil && now.Sub(m.at) < time.Minute {
		return api.Policy{Name: m.name}, nil
	}
	o, err := s.src.Overview(ctx)
	if err != nil {
		return api.Policy{}, fmt.Errorf("reading the name of the policy: %w", err)
	}
	s.policy.Store(&policyMemo{o.Policy, now})
	return api.Policy{Name: o.Policy}, nil
}

func (s *server) front(r *http.Request, _ query) (*page, error) {
	o, err := s.src.Overview(r.Context())
	if err != nil {
		return nil, fmt.Errorf("reading the overview: %w", err)
	}
	out := api.Front{
		Schema: api.Schema, Policy: api.Policy{Name: o.Policy}, Channels: make([]api.Summary, 0, len(o.Channels)),
		Totals: api.Totals{
			Statements: o.Statements, Claims: o.Claims, Outputs: o.Outputs, Attributes: o.Attrs, Operators: o.Operators,
			Maintainers: o.Maintainers, Evaluations: o.Evaluations,
		},
		Logs: each(o.Logs, s.logOf),
	}
	p := &page{template: "front", title: "Reproducible, or not", modified: newest(out.Logs)}
	for _, c := range o.Channels {
		worse, err := s.src.Changes(r.Context(), c.Name, 0, true, store.Page{Limit: 5})
		if err != nil {
			return nil, fmt.Errorf("reading what got worse in %s: %w", c.Name, err)
		}
		out.Channels = append(out.Channels, api.Summary{Channel: channelOf(c), Worse: each(worse.Rows, changeOf)})
		p.modified = later(p.modified, c.Time)
	}
	p.data = out
	return p, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func newest(logs []api.Log) time.Time {
	var t time.Time
	for _, l := range logs {
		t = later(t, l.Updated)
	}
	return t
}

// maxAnswers is how many answers a search lists.
const maxAnswers = 30

// search goes to the page that is called exactly so, if there is one, and lists
// answers otherwise.
func (s *server) search(r *http.Request, q query) (*page, error) {
	text := strings.TrimSpace(q["q"])
	if n := utf8.RuneCountInString(text); n > maxSearch {
		return nil, badRequestf("The question has %d characters, and at most %d are searched for.", n, maxSearch)
	}
	if text == "" {
		return &page{redirect: s.urls.To("/")}, nil
	}
	// A store path may be pasted as it is, with what is behind it.
	if i := strings.LastIndex(text, "/nix/store/"); i >= 0 {
		text, _, _ = strings.Cut(text[i+len("/nix/store/"):], "/")
		if text == "" {
			return &page{redirect: s.urls.To("/")}, nil
		}
	}
	hits, err := s.src.Search(r.Context(), text, maxAnswers+1)
	if err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	out := api.SearchPage{Schema: api.Schema, Query: text, More: len(hits) > maxAnswers, Hits: hitsOf(hits[:min(len(hits), maxAnswers)])}
	if at := s.exact(text, out.Hits); at != "" && format(r) == ".html" {
		return &page{redirect: at}, nil
	}
	return &page{template: "search", title: "Search: " + show(clip(text, 60)), data: out}, nil
}

// exact is the one page that is called text, or "" if there is none or more. What
// operators call themselves and their closures counts only if nothing else is called so.
func (s *server) exact(text string, hits []api.SearchHit) string {
	var keys, names []string
	for _, h := range hits {
		u := s.urls.Hit(h)
		switch {
		case h.Key == text && !slices.Contains(keys, u):
			keys = append(keys, u)
		case named(h) && h.Text == text:
			names = append(names, u)
		}
	}
	if len(keys) == 0 {
		keys = names
	}
	if len(keys) != 1 {
		return ""
	}
	return keys[0]
}

// named is whether an answer has a name beside its id.
func named(h api.SearchHit) bool {
	return (h.Kind == "operator" || h.Kind == "closure") && h.Text != ""
}

func (s *server) about(r *http.Request, _ query) (*page, error) {
	pol, err := s.policyName(r.Context())
	if err != nil {
		return nil, err
	}
	return &page{template: "about", title: "What states mean", data: api.AboutPage{Schema: api.Schema, Policy: pol}}, nil
}

func (s *server) logs(r *http.Request, _ query) (*page, error) {
	logs, err := s.src.Logs(r.Context())
	if err != nil {
		return nil, fmt.Errorf("reading the logs: %w", err)
	}
	out := api.LogsPage{Schema: api.Schema, Logs: each(logs, s.logOf)}
	return &page{
		template: "logs", title: "Logs, witnesses and auditors", data: out, modified: newest(out.Logs),
		feed: func(f *feed) {
			for _, l := range out.Logs {
				word := "follows"
				if !l.Healthy {
					word = "does not go on"
				}
				f.add(s.urls.To("/logs#"+anchor(l.Origin)), l.Verdict, later(l.Updated, l.Checkpoint), l.Origin+": "+word, l.Verdict)
			}
		},
	}, nil
}

// freshCheckpoint is how old the newest checkpoint of a healthy log may be.
const freshCheckpoint = 24 * time.Hour

// late is how many did not cosign within a day.
func (s *server) late(list []store.CosignerView) int {
	n := 0
	for _, c := range list {
		if s.o.Now().Sub(c.Time) > freshCheckpoint {
			n++
		}
	}
	return n
}

// logOf says in one sentence how a log does.
func (s *server) logOf(l store.LogView) api.Log {
	// An auditor may be a cosigner of the log's policy, too. It is no witness.
	l.Witnesses = slices.DeleteFunc(slices.Clone(l.Witnesses), func(w store.CosignerView) bool {
		return slices.ContainsFunc(l.Auditors, func(a store.CosignerView) bool { return a.Name == w.Name })
	})
	out := api.Log{
		Origin: l.Origin, URL: l.URL, Size: l.Size, Replayed: l.Replayed, Checkpoint: l.CheckpointTime.UTC(), Frozen: l.Frozen,
		Witnesses: each(l.Witnesses, cosignerOf), Auditors: each(l.Auditors, cosignerOf), Error: l.Error,
		Checked: l.Checked.UTC(), Updated: l.Updated.UTC(),
	}
	switch {
	case l.Error != "":
		out.Verdict = l.Error // one sentence
	case l.Frozen:
		out.Healthy, out.Verdict = true, "This log is frozen: nothing is added any more."
	case l.Size == 0:
		out.Verdict = "No checkpoint of this log was seen yet."
	case l.CheckpointTime.IsZero():
		out.Healthy, out.Verdict = true, "No witness vouches for the age of this log."
	case s.o.Now().Sub(l.CheckpointTime) > freshCheckpoint:
		out.Verdict = "The newest checkpoint that the witnesses cosigned is more than a day old."
	default:
		out.Healthy, out.Verdict = true, "This log is fresh: as many witnesses as are asked for cosigned it within a day."
		if n := s.late(l.Witnesses); n > 0 {
			out.Verdict += " Of its " + num(len(l.Witnesses)) + " witnesses, " + num(n) + verb(n, " is", " are") + " late."
		}
	}
	for _, c := range l.Auditors {
		if n := c.Behind; n > 0 && out.Healthy {
			out.Verdict += " " + show(c.Name) + " has not vouched for the newest " + verb(int(n), "entry", num(n)+" entries") + "."
		}
	}
	if n := out.Behind(); n > 0 {
		out.Verdict += " Not replayed yet: " + num(n) + "."
	}
	return out
}

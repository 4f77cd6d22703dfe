package web

import (
	"fmt"
	"net/http"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

// rows is how many rows a page of a listing has: what people read at once, and
// more for programs and feeds.
func rows(r *http.Request) int {
	switch format(r) {
	case ".json":
		return 100
	case ".atom":
		return maxEntries
	}
	return 40
}

func (s *server) channel(r *http.Request, q query) (*page, error) {
	ctx, name := r.Context(), r.PathValue("name")
	state, err := q.state()
	if err != nil {
		return nil, err
	}
	order, err := q.order()
	if err != nil {
		return nil, err
	}
	c, err := s.src.Channel(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading the channel: %w", err)
	}
	var list store.Listing[store.AttributeRow]
	if format(r) != ".atom" { // a feed has changes only
		list, err = s.src.Attributes(ctx, store.Filter{Channel: name, State: state, Order: order}, q.page(rows(r)))
		if err != nil {
			return nil, fmt.Errorf("reading the attributes of a channel: %w", err)
		}
	}
	out := api.ChannelPage{Schema: api.Schema, Channel: channelOf(*c), Attributes: each(list.Rows, rowOf), Next: list.Next}
	p := &page{template: "channel", title: show(name), modified: c.Time}
	if q["after"] == "" {
		if out.Trend, err = s.trend(ctx, "channel", name, name); err != nil {
			return nil, err
		}
		onlyWorse := format(r) != ".atom"
		worse, err := s.src.Changes(ctx, name, 0, onlyWorse, store.Page{Limit: map[bool]int{true: 20, false: maxEntries}[onlyWorse]})
		if err != nil {
			return nil, fmt.Errorf("reading what got worse: %w", err)
		}
		out.Worse = each(worse.Rows, changeOf)
	}
	p.data = out
	p.feed = func(f *feed) { s.changeEntries(f, out.Worse) }
	return p, nil
}

func (s *server) changes(r *http.Request, q query) (*page, error) {
	ctx, name := r.Context(), r.PathValue("name")
	seq, err := q.seq()
	if err != nil {
		return nil, err
	}
	worse, err := q.worse()
	if err != nil {
		return nil, err
	}
	c, err := s.src.Channel(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading the channel: %w", err)
	}
	list, err := s.src.Changes(ctx, name, seq, worse, q.page(rows(r)))
	if err != nil {
		return nil, fmt.Errorf("reading changes: %w", err)
	}
	if seq == 0 {
		seq = c.Seq
	}
	out := api.ChangesPage{Schema: api.Schema, Channel: name, Seq: seq, Worse: worse, Changes: each(list.Rows, changeOf), Next: list.Next}
	p := &page{template: "changes", title: fmt.Sprintf("Changes in %s, evaluation %d", show(name), seq), data: out, modified: c.Time}
	p.feed = func(f *feed) { s.changeEntries(f, out.Changes) }
	return p, nil
}

// changeEntries adds one entry for each change.
func (s *server) changeEntries(f *feed, changes []api.Change) {
	for _, c := range changes {
		id := s.urls.Changes(c.Channel, c.Seq) + "#" + segment(c.Attr)
		f.addID(id, s.urls.Package(c.Attr), c.Time, c.Attr+": "+changeWords(c), show(c.Attr)+" in "+show(c.Channel)+" "+changeSentence(c))
	}
}

// changeWords says what changed, shortly.
func changeWords(c api.Change) string {
	switch {
	case c.From == c.To && c.FromVersion != c.ToVersion:
		return show(c.FromVersion) + " → " + show(c.ToVersion)
	case c.From == api.Unknown:
		return stateWord(c.To)
	}
	return stateWord(c.From) + " → " + stateWord(c.To)
}

func changeSentence(c api.Change) string {
	words := "is now " + stateWord(c.To)
	if c.From != api.Unknown && c.From != c.To {
		words = "went from " + stateWord(c.From) + " to " + stateWord(c.To)
	}
	switch {
	case c.FromVersion == "" && c.ToVersion != "":
		words += "; it is new, at version " + show(c.ToVersion)
	case c.FromVersion != "" && c.ToVersion == "":
		words = "is not there any more; it was at version " + show(c.FromVersion)
	case c.FromVersion != c.ToVersion:
		words += "; its version changed from " + show(c.FromVersion) + " to " + show(c.ToVersion)
	}
	return words + "."
}

// stateWord is what a state is called in a sentence.
func stateWord(s api.State) string {
	if s == api.Unknown {
		return "unknown"
	}
	return string(s)
}

func (s *server) queue(r *http.Request, q query) (*page, error) {
	ctx := r.Context()
	o, err := s.src.Overview(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the channels: %w", err)
	}
	out := api.QueuePage{Schema: api.Schema, Channel: q["channel"], Channels: make([]string, 0, len(o.Channels)), Paths: []api.Path{}}
	known := false
	for _, c := range o.Channels {
		out.Channels = append(out.Channels, c.Name)
		known = known || c.Name == out.Channel
	}
	if out.Channel == "" && len(out.Channels) > 0 {
		out.Channel, known = out.Channels[0], true
	}
	if out.Channel != "" && !known {
		return nil, fmt.Errorf("reading the queue of a channel: %w", store.ErrNotFound)
	}
	if known {
		list, err := s.src.Queue(ctx, out.Channel, q.page(rows(r)))
		if err != nil {
			return nil, fmt.Errorf("reading the queue: %w", err)
		}
		out.Paths, out.Next = each(list.Rows, pathOf), list.Next
	}
	return &page{template: "queue", title: "What to rebuild next", data: out}, nil
}

package web

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

// From the store's types to those of package api. Nothing is computed here.

// each converts a list; the result is never nil, so that JSON has [].
func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, a := range in {
		out = append(out, f(a))
	}
	return out
}

func stateOf(s store.State) api.State {
	switch s {
	case store.Agree:
		return api.Agree
	case store.Missing:
		return api.Missing
	case store.Differ:
		return api.Differ
	case store.Copying:
		return api.Copying
	}
	return api.Unknown
}

func countsOf(c store.Counts) api.Counts {
	return api.Counts{
		Agree: c.Agree, Missing: c.Missing, Differ: c.Differ, Copying: c.Copying, Errors: c.Errors,
		Fixed: api.Fixed{Agree: c.FODAgree, Missing: c.FODMissing, Differ: c.FODDiffer},
	}
}

func channelOf(c store.ChannelView) api.Channel {
	return api.Channel{
		Name: c.Name, Revision: c.Revision, System: c.System, Seq: c.Seq, DrvSeq: c.DrvSeq, Time: c.Time.UTC(), Attributes: c.Attrs,
		Counts: countsOf(c.Counts), Before: countsOf(c.Before),
	}
}

func trendOf(p store.TrendPoint) api.TrendPoint {
	return api.TrendPoint{Seq: p.Seq, Time: p.Time.UTC(), Revision: p.Revision, Counts: countsOf(p.Counts)}
}

func rowOf(r store.AttributeRow) api.Attribute {
	return api.Attribute{
		Channel: r.Channel, Attr: r.Attr, Pname: r.Pname, Version: r.Version, State: stateOf(r.State), Counts: countsOf(r.Counts),
		Builders: r.Builders, Drv: r.Drv, Error: r.Error, Since: r.Since.UTC(), Seq: r.Seq,
	}
}

func changeOf(c store.Change) api.Change {
	return api.Change{
		Channel: c.Channel, Attr: c.Attr, Seq: c.Seq, Time: c.Time.UTC(), FromVersion: c.FromVersion, ToVersion: c.ToVersion,
		From: stateOf(c.From), To: stateOf(c.To), Worse: c.Worse,
	}
}

func refOf(o store.OperatorRef) api.Operator { return api.Operator{ID: o.ID, Name: o.Name, Key: o.Key} }

func placeOf(p store.Place) api.Place { return api.Place{Origin: p.Origin, Index: p.Index} }

func claimOf(c store.ClaimView) api.Claim {
	return api.Claim{
		Operator: refOf(c.By), Kind: c.Kind, Class: c.Class, How: c.How, NarHash: c.NarHash, NarSize: c.NarSize, References: c.References,
		Finished: c.Finished.UTC(), Counts: c.Counts, Why: c.Why, Statement: c.Statement, Places: each(c.Places, placeOf), Builder: c.Builder, Diff: c.Diff,
	}
}

func outputOf(o store.OutputView) api.Output {
	out := api.Output{
		Output: o.Output, Path: o.Path, State: stateOf(o.State), Fixed: o.FOD, Since: o.Since.UTC(), Agreeing: o.Agreeing, Against: o.Against,
		Reason: o.Reason, Claims: each(o.Claims, claimOf), More: o.More,
	}
	camp(&out, o.Claims)
	return out
}

// camp sorts the claims of an output by content, gives each content a letter,
// and puts claims that count first. read are the claims as they were read.
func camp(o *api.Output, read []store.ClaimView) {
	content := func(i int) string {
		return cmp.Or(read[i].Content, fmt.Sprint(read[i].NarHash, read[i].NarSize))
	}
	type kind struct {
		api.Camp
		content string
		who     map[string]bool
	}
	var kinds []*kind
	by := make(map[string]*kind)
	for i, c := range o.Claims {
		k := by[content(i)]
		if k == nil {
			k = &kind{Camp: api.Camp{NarHash: c.NarHash, NarSize: c.NarSize}, content: content(i), who: make(map[string]bool)}
			by[k.content], kinds = k, append(kinds, k)
		}
		if c.Counts {
			k.who[c.Operator.ID] = true
		}
	}
	slices.SortFunc(kinds, func(a, b *kind) int {
		return cmp.Or(cmp.Compare(len(b.who), len(a.who)), cmp.Compare(a.NarHash, b.NarHash), cmp.Compare(a.NarSize, b.NarSize), cmp.Compare(a.content, b.content))
	})
	for i, k := range kinds {
		k.Letter, k.Operators = letterOf(i), len(k.who)
		o.Camps = append(o.Camps, k.Camp)
	}
	for i := range o.Claims {
		o.Claims[i].Camp = by[content(i)].Letter
	}
	slices.SortStableFunc(o.Claims, func(a, b api.Claim) int {
		return cmp.Or(cmp.Compare(rank(b.Counts), rank(a.Counts)), cmp.Compare(len(a.Camp), len(b.Camp)), cmp.Compare(a.Camp, b.Camp))
	})
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// letterOf is A to Z, then AA.
func letterOf(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return letterOf(i/26-1) + letterOf(i%26)
}

func metaOf(m store.MetaView) api.Meta {
	return api.Meta{
		Name: m.Name, Pname: m.Pname, Version: m.Version, Description: m.Description, Homepage: m.Homepage, Position: m.Position,
		Maintainers: m.Maintainers, Teams: m.Teams, Licences: m.Licences, Patches: m.Patches, KnownVulns: m.KnownVulns,
		Identifiers: m.Identifiers, Broken: m.Broken, Unfree: m.Unfree, Insecure: m.Insecure, Error: m.Error,
	}
}

func versionOf(v store.VersionRow) api.Version {
	return api.Version{
		Channel: v.Channel, Version: v.Version, Drv: v.Drv, FromSeq: v.FromSeq, ToSeq: v.ToSeq, From: v.From.UTC(), Revision: v.FromRevision,
		State: stateOf(v.State), Outputs: each(v.Outputs, outputOf), Hashes: v.NarHashByOutput,
	}
}

func operatorOf(o store.OperatorView) api.OperatorInfo {
	return api.OperatorInfo{
		ID: o.ID, Name: o.Name, Contact: o.Contact, URL: o.URL, Home: o.Home, Fork: o.Fork, Claims: o.Claims, Agreed: o.Agreed,
		Differed: o.Differed, Alone: o.Alone, Copied: o.Copied,
	}
}

func keyOf(k store.OperatorKey) api.OperatorKey {
	return api.OperatorKey{Key: k.Key, Role: k.Role, State: k.State, CacheName: k.CacheName}
}

func statementOf(s store.StatementRow) api.Statement {
	return api.Statement{ID: s.ID, Kind: s.Kind, Subject: s.Subject, Operator: refOf(s.By), Time: s.Time.UTC(), Places: each(s.Places, placeOf)}
}

func pathOf(p store.PathRow) api.Path {
	return api.Path{
		Path: p.Path, Attr: p.Attr, Channel: p.Channel, Drv: p.Drv, Output: p.Output, State: stateOf(p.State), Agreeing: p.Agreeing,
		Against: p.Against, Priority: p.Priority,
	}
}

func closureOf(c store.ClosureView) api.Closure {
	out := api.Closure{
		ID: c.ID, Name: c.Name, Operator: refOf(c.By), Count: c.Count, Known: c.Known, Counts: countsOf(c.Counts),
		Places: each(c.Places, placeOf), Statement: c.Statements,
	}
	if c.Before != nil {
		before := statedOf(*c.Before)
		out.Before = &before
	}
	return out
}

func statedOf(c store.StatedView) api.Stated {
	return api.Stated{ID: c.ID, Count: c.Count, Known: c.Known, Counts: countsOf(c.Counts), Places: each(c.Places, placeOf)}
}

func cosignerOf(c store.CosignerView) api.Cosigner {
	return api.Cosigner{Name: c.Name, Time: c.Time.UTC(), Behind: c.Behind}
}

func hitsOf(hits []store.SearchHit) []api.SearchHit {
	return each(hits, func(h store.SearchHit) api.SearchHit {
		return api.SearchHit{Kind: h.Kind, Match: h.Match, Key: h.Key, Text: h.Text, Channel: h.Channel, State: stateOf(h.State)}
	})
}

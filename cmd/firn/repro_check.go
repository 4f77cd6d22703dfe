package main

import (
	"context"
	"fmt"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/verify"
)

// maxReproPaths bounds how many paths are looked up.
const maxReproPaths = 2000

// reproOutput is an output that the tracker shows, and what the logs prove about it.
type reproOutput struct {
	Path          string    `json:"path"` // base name
	State         api.State `json:"state"`
	Verdict       string    `json:"verdict"`
	Reason        string    `json:"reason"`
	NarHash       string    `json:"nar_hash,omitempty"` // that the verdict is about
	Disagreements []string  `json:"disagreements"`      // sentences

	claims []api.Claim
	more   bool // there are claims that the tracker does not list
}

// checkRepro looks up every output that is shown, by the policy, and compares.
func (a *app) checkRepro(ctx context.Context, f *reproFlags, t *trackerClient, ans *reproAnswer) error {
	pol, err := a.loadPolicy(f.policy)
	if err != nil {
		return err
	}
	if ans.Proofs, err = t.outputs(ctx, ans); err != nil {
		return err
	}
	var subjects []verify.Subject
	for _, o := range ans.Proofs {
		p, err := nix.StoreDir(f.storeDir).FromBase(o.Path)
		if err != nil {
			return failf(exitFailed, "", "the tracker shows an output that is no store path: %w", err)
		}
		subjects = append(subjects, verify.Subject{Info: &nix.PathInfo{Path: p}, Unbuilt: true})
	}
	if len(subjects) == 0 {
		ans.Exit = exitInconclusive
		return nil
	}
	report, err := a.decide(ctx, &verifyFlags{state: f.state}, pol, nil, subjects)
	if err != nil {
		return err
	}
	a.warnOf(report)
	ans.Exit = report.ExitStatus()
	for i := range ans.Proofs {
		o, p := &ans.Proofs[i], report.Paths[i]
		o.Verdict, o.Reason = p.Verdict.String(), p.Reason
		if !p.Subject.Info.NarHash.IsZero() {
			o.NarHash = p.Subject.Info.NarHash.String()
		}
		o.Disagreements = disagreements(o, p.Claims, report)
		if len(o.Disagreements) > 0 && ans.Exit != exitMisbehaviour {
			ans.Exit = exitUntrusted
		}
	}
	return nil
}

// outputs are the outputs with a path that an answer shows, each once; of a list
// those of its first packages, whose own pages are read for it.
func (t *trackerClient) outputs(ctx context.Context, ans *reproAnswer) ([]reproOutput, error) {
	var attrs []string
	switch p := ans.Page.(type) {
	case *api.PackagePage:
		return outputsOf(nil, p, ""), nil
	case *api.ChannelPage:
		for _, r := range p.Attributes {
			attrs = append(attrs, r.Attr)
		}
	case *api.PersonPage:
		for _, pkg := range p.Packages {
			for _, r := range pkg.Attributes {
				attrs = append(attrs, r.Attr)
			}
		}
	}
	channel := ""
	if p, ok := ans.Page.(*api.ChannelPage); ok {
		channel = p.Channel.Name
	}
	var out []reproOutput
	seen := make(map[string]bool)
	for _, attr := range attrs {
		if seen[attr] || len(seen) == maxReproPackages {
			continue
		}
		seen[attr] = true
		page, err := t.find(ctx, "package:"+attr)
		if err != nil {
			return nil, err
		}
		out = outputsOf(out, page.Page.(*api.PackagePage), channel)
	}
	return out, nil
}

// outputsOf adds the outputs of a package, in one channel or in all.
func outputsOf(out []reproOutput, p *api.PackagePage, channel string) []reproOutput {
	for _, d := range p.Derivations {
		in := channel == ""
		for _, c := range d.Channels {
			in = in || c == channel
		}
		for _, o := range d.Outputs {
			known := o.Path == "" || !in || len(out) == maxReproPaths
			for _, other := range out {
				known = known || other.Path == o.Path
			}
			if !known {
				out = append(out, reproOutput{Path: o.Path, State: o.State, claims: o.Claims, more: o.More, Disagreements: []string{}})
			}
		}
	}
	return out
}

// disagreements are sentences about claims of the policy's operators that the
// tracker hides, alters, or counts although the logs do not prove them. Where it says that it does
// not list all, it hides a claim only if nothing that it lists says the same and it says that nobody differs.
func disagreements(o *reproOutput, proven []verify.Claim, r *verify.Report) []string {
	out := []string{}
	byID := make(map[string][]api.Claim)
	listed := make(map[string]bool)
	for _, c := range o.claims {
		byID[c.Statement] = append(byID[c.Statement], c)
		listed[c.NarHash] = true
	}
	differs := o.State == api.Differ || o.State == api.Copying
	ids := make(map[string]bool)
	for _, c := range proven {
		id := c.ID.String()
		ids[id] = true
		if c.About.NarHash.IsZero() {
			continue // it names a path, and no content
		}
		same, there := false, byID[id]
		for _, s := range there {
			same = same || s.NarHash == c.About.NarHash.String()
		}
		switch {
		case len(there) == 0 && o.more && (differs || listed[c.About.NarHash.String()]):
		case len(there) == 0:
			out = append(out, fmt.Sprintf("the tracker does not show the statement %s, in which %s claims %s", id, c.Operator, c.About.NarHash))
		case !same:
			out = append(out, fmt.Sprintf("the tracker says that %s claims %s, and its statement %s says %s", c.Operator, there[0].NarHash, id, c.About.NarHash))
		}
	}
	for _, c := range o.claims {
		if who := operatorOf(c.Operator.Key, r); who != "" && c.Counts && !ids[c.Statement] && inLogs(c.Places, r) {
			out = append(out, fmt.Sprintf("the tracker counts the statement %s of %s, and no log proves that it stands", c.Statement, who))
		}
	}
	return out
}

// operatorOf is the operator of the policy whose key this is, or "".
func operatorOf(key string, r *verify.Report) string {
	for _, s := range r.Operators {
		for _, k := range s.Keys {
			if k.String() == key {
				return s.Name
			}
		}
	}
	return ""
}

// inLogs is whether a place is in what was asked of the policy's logs.
func inLogs(places []api.Place, r *verify.Report) bool {
	for _, p := range places {
		for _, l := range r.Logs {
			if l.Origin == p.Origin && l.Problem == "" && p.Index < l.Size {
				return true
			}
		}
	}
	return false
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/tracker/api"
)

// What is read of a tracker.
const (
	maxTrackerAnswer = 16 << 20 // bytes
	trackerTimeout   = 30 * time.Second
	maxReproPackages = 20 // packages of a list whose proofs are looked up
)

type reproFlags struct {
	tracker, policy, state, storeDir string
	json                             bool
}

func newReproCmd(a *app) *cobra.Command {
	var f reproFlags
	c := &cobra.Command{
		Use:   "repro PACKAGE|CHANNEL|MAINTAINER",
		Short: "Say what a tracker knows of how reproducible something is",
		Long: `Repro asks a tracker (firn-tracker) about a package, which is an attribute such as
python3Packages.numpy, a channel, a maintainer or a team, and shows what its page shows. If a name is
more than one of them, say which: maintainer:alice, team:python, channel:nixos-unstable,
package:hello.

A tracker is believed nothing. With --policy the logs of that policy are asked about
every output path shown, as firn verify asks, and it is said where what the tracker
shows is not what the logs prove: claims that it hides, invents or alters. Of a
channel, a maintainer or a team the first 20 packages are looked up.

Exit status for a package: 0 it is reproduced, 3 builders differ or copy, 4 it is
not known. For a list: 0. With --policy: 3 if the tracker and the proofs do not say the
same, otherwise that of firn verify.`,
		Example: `  firn repro hello --tracker https://tracker.example
  firn repro maintainer:alice
  firn repro hello --policy firn.policy`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.repro(c.Context(), &f, args[0]) },
	}
	flags := c.Flags()
	flags.StringVar(&f.tracker, "tracker", "", "`URL` of the tracker (default $FIRN_TRACKER)")
	flags.StringVar(&f.policy, "policy", "", "policy `FILE` by which the proofs of all that is shown are looked up")
	flags.StringVar(&f.state, "state", "", "`FOLDER` for what is remembered (default firn in the state folder)")
	flags.StringVar(&f.storeDir, "store-dir", string(nix.DefaultStoreDir), "`FOLDER` that store paths begin with")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	return c
}

// reproAnswer is what a tracker says about a name: one of the pages.
type reproAnswer struct {
	Schema  int           `json:"schema"`
	Exit    int           `json:"exit"`
	Tracker string        `json:"tracker"`
	Kind    string        `json:"kind"` // package, channel, maintainer or team
	Page    any           `json:"page"` // *api.PackagePage, *api.ChannelPage or *api.PersonPage
	name    string        // of the page
	Proofs  []reproOutput `json:"proofs,omitempty"`
}

// reproKinds are what a name may be, in the order in which it is tried.
var reproKinds = []string{"package", "channel", "maintainer", "team"}

func (a *app) repro(ctx context.Context, f *reproFlags, name string) error {
	if f.tracker == "" {
		f.tracker = a.Getenv("FIRN_TRACKER")
	}
	if f.tracker == "" {
		return failf(exitUsage, "--tracker https://…, or set FIRN_TRACKER", "no tracker is named")
	}
	t := &trackerClient{base: strings.TrimSuffix(f.tracker, "/"), http: &http.Client{Timeout: trackerTimeout}}
	if u, err := url.Parse(t.base); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return failf(exitUsage, "for instance https://tracker.example", "%q is no URL of a tracker", f.tracker)
	}
	ans, err := t.find(ctx, name)
	if err != nil {
		return err
	}
	ans.Exit = reproStatus(ans)
	if f.policy != "" {
		if err := a.checkRepro(ctx, f, t, ans); err != nil {
			return err
		}
	}
	if f.json {
		err = writeJSON(a.Stdout, ans)
	} else {
		err = a.showRepro(ans, f.policy != "")
	}
	if err != nil {
		return err
	}
	if ans.Exit != exitOK {
		return errSilent(ans.Exit)
	}
	return nil
}

// reproStatus is the exit status by what the tracker says alone.
func reproStatus(ans *reproAnswer) int {
	p, ok := ans.Page.(*api.PackagePage)
	if !ok {
		return exitOK
	}
	switch p.State {
	case api.Agree:
		return exitOK
	case api.Differ, api.Copying:
		return exitUntrusted
	}
	return exitInconclusive
}

// trackerClient reads the JSON of a tracker's pages (spec/tracker.md#pages-and-json).
type trackerClient struct {
	base string
	http *http.Client
}

// errNoPage says that the tracker has no page of that name.
var errNoPage = errors.New("the tracker has no such page")

// find asks for the page of a name, which may say of which kind it is.
func (t *trackerClient) find(ctx context.Context, name string) (*reproAnswer, error) {
	kinds := reproKinds
	for _, k := range reproKinds {
		if rest, ok := strings.CutPrefix(name, k+":"); ok {
			kinds, name = []string{k}, rest
			break
		}
	}
	for _, k := range kinds {
		var page any
		switch k {
		case "package":
			page = new(api.PackagePage)
		case "channel":
			page = new(api.ChannelPage)
		default:
			page = new(api.PersonPage)
		}
		err := t.get(ctx, "/"+k+"/"+url.PathEscape(name)+".json", page)
		if errors.Is(err, errNoPage) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if is := pageName(page); is != name {
			return nil, failf(exitFailed, "", "the tracker at %s was asked about the %s %s and answers about %s", t.base, k, shown(name), reproCell(is))
		}
		return &reproAnswer{Schema: 1, Tracker: t.base, Kind: k, Page: page, name: name}, nil
	}
	return nil, failf(exitFailed, t.hint(ctx, kinds, name), "the tracker at %s knows no %s called %s", t.base, orOf(kinds), shown(name))
}

// pageName is what a page says that it is about.
func pageName(page any) string {
	switch p := page.(type) {
	case *api.PackagePage:
		return p.Attr
	case *api.ChannelPage:
		return p.Channel.Name
	case *api.PersonPage:
		return p.Login
	}
	return ""
}

func orOf(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
	return words[0]
}

// hint says what the tracker finds by a name that it has no page of.
func (t *trackerClient) hint(ctx context.Context, kinds []string, name string) string {
	var found api.SearchPage
	if err := t.get(ctx, "/search.json?q="+url.QueryEscape(name), &found); err != nil {
		found.Hits = nil // it may be an older tracker, or the name no question
	}
	var like []string
	for _, h := range found.Hits {
		kind := strings.Replace(h.Kind, "attribute", "package", 1)
		if !slices.Contains(kinds, kind) || len(like) == 5 {
			continue
		}
		word := shown(h.Key)
		if kind != "package" {
			word = kind + ":" + word
		}
		like = append(like, word)
	}
	switch {
	case len(like) > 0:
		return "did you mean " + orOf(like) + "?"
	case kinds[0] == "package":
		return "packages are named by attribute, such as python3Packages.numpy"
	}
	return ""
}

// page is the address of the page that people read.
func (ans *reproAnswer) page() string {
	return ans.Tracker + "/" + ans.Kind + "/" + url.PathEscape(ans.name)
}

// get reads a page into v.
func (t *trackerClient) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.base+path, nil)
	if err != nil {
		return failf(exitUsage, "", "asking the tracker: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := t.http.Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return failf(exitFailed, "", "the tracker at %s does not answer within %v", t.base, trackerTimeout)
	}
	if err != nil {
		return failf(exitFailed, "the URL of a firn-tracker that runs goes into --tracker or FIRN_TRACKER", "asking the tracker: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTrackerAnswer+1))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return failf(exitFailed, "", "the tracker at %s does not answer within %v", t.base, trackerTimeout)
	case err != nil:
		return failf(exitFailed, "", "reading the answer of %s: %w", t.base, err)
	case resp.StatusCode == http.StatusNotFound:
		return errNoPage
	case resp.StatusCode != http.StatusOK:
		var p api.Problem
		if json.Unmarshal(body, &p) == nil && p.Error != "" {
			return failf(exitFailed, "", "the tracker at %s answers %s: %s", t.base, resp.Status, shown(p.Error))
		}
		return failf(exitFailed, "", "the tracker at %s answers %s", t.base, resp.Status)
	case len(body) > maxTrackerAnswer:
		return failf(exitFailed, "", "the answer of %s to %s has more than %d bytes", t.base, path, maxTrackerAnswer)
	}
	var head struct{ Schema int }
	if err := json.Unmarshal(body, &head); err != nil {
		return failf(exitFailed, "is it the URL of a firn-tracker?", "%s does not answer as a tracker does: %w", t.base, err)
	}
	if head.Schema != api.Schema {
		return failf(exitFailed, "a newer firn may read it", "%s answers in schema %d, and this firn reads %d", t.base, head.Schema, api.Schema)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return failf(exitFailed, "", "%s does not answer as a tracker does: %w", t.base, err)
	}
	return nil
}

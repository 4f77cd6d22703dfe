package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/tracker/api"
)

// reproFixture is the program repro-fixture of the scripts. It writes the answers of a
// tracker into $WORK/tracker, which is served at $TRACKER, from the output of
// firn verify --json on its standard input: a package for each path. With an
// argument the tracker is wrong about hello: it hides a claim, invents one,
// alters one, or names it with control characters.
func reproFixture() {
	if err := makeReproFixture(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "repro-fixture:", err)
		os.Exit(1)
	}
}

// verifyOutput is what the fixture reads of firn verify --json.
type verifyOutput struct {
	Paths []struct {
		Path, Verdict string
		Claims        []struct {
			Operator, Class, Key, Statement string
			NarHash                         string `json:"nar_hash"`
			Places                          []struct {
				Log   string
				Index uint64
			}
		}
	}
}

func makeReproFixture(args []string) error {
	var in verifyOutput
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	page := api.ChannelPage{Schema: api.Schema, Channel: api.Channel{Name: "small", Counts: api.Counts{Agree: 2, Missing: 1, Differ: 1}}}
	person := api.PersonPage{Schema: api.Schema, Kind: "maintainer", Login: "alice", Channels: []api.Share{{Channel: "small", Counts: page.Channel.Counts}}}
	for _, p := range in.Paths {
		base := strings.TrimPrefix(p.Path, "/nix/store/")
		name, _, _ := strings.Cut(base[33:], "-")
		o := api.Output{Output: "out", Path: base, State: map[string]api.State{"trusted": api.Agree, "untrusted": api.Missing, "contradicted": api.Differ}[p.Verdict], Agreeing: len(p.Claims)}
		for _, c := range p.Claims {
			claim := api.Claim{Operator: api.Operator{Name: c.Operator, Key: c.Key}, Class: c.Class, NarHash: c.NarHash, Statement: c.Statement, Counts: true, Camp: "A"}
			for _, pl := range c.Places {
				claim.Places = append(claim.Places, api.Place{Origin: os.Getenv("ORIGIN"), Index: pl.Index})
			}
			o.Claims = append(o.Claims, claim)
		}
		if name == "hello" && len(args) == 1 {
			lie(&o, args[0])
		}
		row := api.Attribute{Attr: name, Channel: "small", State: o.State, Version: "1.0", Builders: len(o.Claims)}
		page.Attributes = append(page.Attributes, row)
		person.Packages = append(person.Packages, api.PersonPkg{Name: name, State: o.State, Attributes: []api.Attribute{row}})
		err := writePage("package", name, api.PackagePage{
			Schema: api.Schema, Attr: name, State: o.State, Verdict: name + " is what it is.\x1b[2J",
			Derivations: []api.Derivation{{Channels: []string{"small"}, State: o.State, Version: "1.0", Outputs: []api.Output{o}}},
		})
		if err != nil {
			return err
		}
	}
	if err := writePage("channel", "small", page); err != nil {
		return err
	}
	return writePage("maintainer", "alice", person)
}

// lie makes what the tracker shows another thing than what is in the log.
func lie(o *api.Output, how string) {
	switch how {
	case "hide":
		o.Claims = o.Claims[1:]
	case "invent":
		c := o.Claims[0]
		c.Statement = strings.Repeat("0", 64)
		o.Claims = append(o.Claims, c)
	case "alter":
		o.Claims[0].NarHash = "sha256:" + strings.Repeat("0", 52)
	}
}

func writePage(kind, name string, page any) error {
	dir := filepath.Join(os.Getenv("WORK"), "tracker", kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(page)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), b, 0o644)
}

// serveTracker serves the folder tracker of a script's work folder.
func serveTracker(work string) *httptest.Server {
	return httptest.NewServer(http.FileServer(http.Dir(filepath.Join(work, "tracker"))))
}

func TestShownMovesNoCursor(t *testing.T) {
	for in, want := range map[string]string{"a\x1b[2Jb": `a\x1b[2Jb`, "a\u202eb": `a\u202eb`, `say "x"`: `say "x"`, "日本": "日本", "a\nb": `a\nb`, "": ""} {
		if got := shown(in); got != want {
			t.Errorf("shown(%q) = %q, want %q", in, got, want)
		}
	}
}

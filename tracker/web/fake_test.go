package web

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/tracker/store"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// fake is a Source in memory, with the numbers of a small channel.
type fake struct {
	policy    string
	channels  []store.ChannelView
	rows      []store.AttributeRow
	attrs     map[string]*store.AttributeView
	outputs   map[string]*store.OutputView
	owners    map[string][]store.AttributeRow // of an output, by path
	changes   []store.Change
	operators []store.OperatorView
	closures  []store.ClosureView
	older     []store.ClosureView // of the same name as the first
	logs      []store.LogView
	err       error // what every read fails with
}

func hexOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func b32(s string, n int) string {
	const digits = "0123456789abcdfghijklmnpqrsvwxyz"
	sum := sha256.Sum256([]byte(s))
	more := sha256.Sum256(sum[:])
	out := make([]byte, n)
	for i, b := range append(sum[:], more[:]...)[:n] {
		out[i] = digits[b%32]
	}
	return string(out)
}

func pathOfName(s string) string { return b32(s, 32) + "-" + s }
func narHash(s string) string    { return "sha256:" + b32(s, 52) }

const hostile = "<script>alert(1)</script>\u202egnp.exe\x00\x1b[31m\"'><b>"

// hostileNames are what strangers would call an attribute.
var hostileNames = []string{
	"<script>alert(1)</script>", "evil\u202egnp.exe", "null\x00byte", "/", "nodePackages.json", "x.html", "..", ".", "a/b/c", `python3Packages."foo.bar"`,
	"?q=1&x#y", "100%", "%2e%2e", " space ", "line\nbreak", strings.Repeat("long", 2500), "日本語", "bad\xff\xfeutf8", "'; drop table", "a\u200bb", "{{.}}", "+plus",
}

var plainNames = strings.Fields(`hello bash coreutils gcc glibc openssl curl git python3 perl ruby nodejs rustc go ghc ocaml llvm clang cmake ninja meson zlib xz
 zstd bzip2 gzip brotli lz4 firefox chromium thunderbird libreoffice gimp inkscape blender vlc mpv ffmpeg imagemagick graphviz emacs vim neovim nano tmux
 screen zsh fish dash mksh nix nixos-rebuild systemd udev dbus linux linux_latest linux_hardened grub systemd-boot nginx apacheHttpd postgresql sqlite redis mariadb`)

const mainLog = "log.example.org/3fa90c11"

func newFake() *fake {
	f := &fake{attrs: make(map[string]*store.AttributeView), outputs: make(map[string]*store.OutputView), owners: make(map[string][]store.AttributeRow), policy: "distribution"}
	f.operators = fakeOperators()
	channels := []string{"nixos-unstable", "nixos-26.05", "nixpkgs-unstable"}
	names := slices.Clone(plainNames)
	for i := range 260 {
		names = append(names, fmt.Sprintf("python3Packages.%s-%c%c", []string{"django", "numpy", "pytest", "sphinx"}[i%4], 'a'+i/4/26, 'a'+i/4%26))
	}
	for i, n := range append(names, hostileNames...) {
		f.add(i, n, channels)
	}
	slices.SortFunc(f.rows, func(a, b store.AttributeRow) int {
		return cmp.Or(cmp.Compare(a.Attr, b.Attr), cmp.Compare(a.Channel, b.Channel))
	})
	for i, name := range channels {
		f.channels = append(f.channels, f.channel(name, int64(40-i)))
	}
	f.channels = append(f.channels, store.ChannelView{Name: "empty", System: "aarch64-linux"})
	f.logs = fakeLogs()
	f.closures = []store.ClosureView{
		{ID: hexOf("iso"), Name: "nixos-minimal-26.05.iso", By: f.ref(0), Count: 1212, Known: 300, Counts: store.Counts{Agree: 260, Missing: 31, Differ: 9}, Places: f.places(7), Statements: hexOf("statement iso")},
		{ID: hexOf("hostile"), Name: hostile, By: store.OperatorRef{Key: hexOf("k")}, Count: 1, Places: f.places(8)},
	}
	iso := &f.closures[0]
	iso.History = []store.StatedView{{ID: iso.ID, Count: iso.Count, Known: iso.Known, Counts: iso.Counts, Places: iso.Places}}
	for i, agree := range []int64{240, 200, 0} {
		old := store.StatedView{ID: hexOf(fmt.Sprint("iso", i+1)), Count: 1211, Known: 300, Counts: store.Counts{Agree: agree, Missing: 298 - agree, Differ: 2}, Places: f.places(uint64(6 - i))}
		if agree == 0 {
			old.Known, old.Counts = 0, store.Counts{}
		}
		iso.History = append(iso.History, old)
	}
	iso.Before = &iso.History[1]
	for _, old := range iso.History[1:] {
		f.older = append(f.older, store.ClosureView{ID: old.ID, Name: iso.Name, By: iso.By, Count: old.Count, Known: old.Known, Counts: old.Counts, Places: old.Places, History: iso.History})
	}
	return f
}

func fakeLogs() []store.LogView {
	return []store.LogView{
		{
			Origin: mainLog, URL: "https://log.example.org", Size: 1204733, Replayed: 1204733, CheckpointTime: now.Add(-4 * time.Minute), Checked: now.Add(-time.Minute), Updated: now.Add(-4 * time.Minute),
			Witnesses: []store.CosignerView{{Name: "witness.one.example", Time: now.Add(-4 * time.Minute)}, {Name: "witness.two.example", Time: now.Add(-26 * time.Hour), Behind: 9120}, {Name: "witness.three.example"}},
			Auditors:  []store.CosignerView{{Name: "auditor.example", Time: now.Add(-2 * time.Hour), Behind: 340}},
		},
		{Origin: "second.example/77aa01bc", URL: "https://second.example/", Size: 5120, Replayed: 4000, CheckpointTime: now.Add(-90 * time.Hour), Checked: now, Updated: now.Add(-90 * time.Hour), Error: "its checkpoint of size 5000 does not extend the one of size 5120 that was verified before."},
		{Origin: hostile, URL: "javascript:alert(1)", Frozen: true, Size: 1, Replayed: 1},
	}
}

func fakeOperators() []store.OperatorView {
	var out []store.OperatorView
	for i, name := range []string{"Alpine Rebuilds", "Bern University", "Cargo Cult Computing", "hydra.example", "Dagstuhl", "Elbe", "Fjord"} {
		o := store.OperatorView{
			ID: hexOf(name), Name: name, Contact: "ops@" + strings.ToLower(strings.Fields(name)[0]) + ".example", URL: "https://example.org/" + strconv.Itoa(i),
			Home: mainLog, Claims: int64(9000 - 1000*i), Agreed: int64(7000 - 900*i), Differed: int64(10 * i), Alone: int64(100 * i),
			Keys: []store.OperatorKey{{Key: hexOf(name + "id"), Role: "identity", State: "live"}, {Key: hexOf(name + "b"), Role: "build", State: "live"}, {Key: hexOf(name + "old"), Role: "build", State: "revoked: rotated", CacheName: "cache.example-1"}},
		}
		if i == 2 {
			o.Copied = 12
		}
		for j := range 12 {
			o.Recent = append(o.Recent, store.StatementRow{ID: hexOf(fmt.Sprint("statement ", name, j)), Kind: "build", Subject: pathOfName("hello-2.12.1"), By: store.OperatorRef{ID: o.ID, Name: name, Key: hexOf(name + "b")}, Time: now.Add(-time.Duration(j) * time.Hour), Places: []store.Place{{Origin: mainLog, Index: uint64(1000*i + j)}}})
		}
		out = append(out, o)
	}
	return append(out, store.OperatorView{ID: hexOf("hostile"), Name: hostile, Contact: hostile, URL: "javascript:alert(1)", Fork: "Two statements have the same prev: " + hostile})
}

func (f *fake) ref(i int) store.OperatorRef {
	o := f.operators[i]
	return store.OperatorRef{ID: o.ID, Name: o.Name, Key: hexOf(o.Name + "b")}
}

func (f *fake) places(i uint64) []store.Place {
	return []store.Place{{Origin: mainLog, Index: 1000 + i}, {Origin: "gone.example/0", Index: i}}
}

func stateFor(i int) store.State {
	switch {
	case i%97 == 5:
		return store.Copying
	case i%13 == 4:
		return store.Differ
	case i%4 == 3:
		return store.Missing
	}
	return store.Agree
}

// add adds an attribute to all channels; two of them share its derivation.
func (f *fake) add(i int, name string, channels []string) {
	v := &store.AttributeView{Attr: name}
	for c, channel := range channels {
		row, meta := attribute(i, name, channel, c/2)
		var outputs []store.OutputView
		if row.Drv != "" {
			outputs = f.outputsOf(i, row)
		}
		for _, o := range outputs {
			count(&row.Counts, o.State)
			row.Builders = max(row.Builders, o.Agreeing+o.Against)
		}
		f.rows = append(f.rows, row)
		for _, o := range outputs {
			f.outputs[o.Path] = &o
			f.owners[o.Path] = append(f.owners[o.Path], row)
		}
		v.Channels = append(v.Channels, struct {
			Row     store.AttributeRow
			Meta    store.MetaView
			Outputs []store.OutputView
		}{row, meta, outputs})
		if i%7 == 2 {
			f.changes = append(f.changes, store.Change{Channel: channel, Attr: name, Seq: 40, Time: now.Add(-5 * time.Hour), FromVersion: "1.0", ToVersion: row.Version, From: store.Agree, To: row.State, Worse: row.State > store.Agree})
		}
		for h := range 4 {
			v.History = append(v.History, history(row, h, outputs))
		}
	}
	f.attrs[name] = v
}

func attribute(i int, name, channel string, variant int) (store.AttributeRow, store.MetaView) {
	version := fmt.Sprintf("%d.%d.%d", 1+i%5, i%17, variant)
	pname, _, _ := strings.Cut(name[strings.LastIndexByte(name, '.')+1:], "-")
	row := store.AttributeRow{
		Channel: channel, Attr: name, Pname: pname, Version: version, State: stateFor(i + variant), Drv: pathOfName(fmt.Sprintf("p%d-%s.drv", i, version)),
		Since: now.AddDate(0, 0, -i%300), Seq: int64(3 + i%30),
	}
	meta := store.MetaView{
		Name: pname + "-" + version, Pname: pname, Version: version, Description: "A program that greets, number " + strconv.Itoa(i), Homepage: "https://example.org/" + strconv.Itoa(i),
		Position: "pkgs/by-name/he/hello/package.nix:12", Maintainers: []string{[]string{"alice", "bob", "carol"}[i%3], "dora"}, Teams: []string{"python"}, Licences: []string{"GPL-3.0-or-later"},
		Patches: []string{"fix-build.patch", "CVE-2026-1234.patch"}, Identifiers: map[string]string{"cpe": "cpe:2.3:a:gnu:hello:" + version},
	}
	if i%50 == 49 {
		row.State, row.Drv, row.Error = 0, "", "error: attribute 'foo' missing at pkgs/x.nix:3"
		meta.Error = row.Error
	}
	return row, meta
}

func count(c *store.Counts, s store.State) {
	switch s {
	case store.Agree:
		c.Agree++
	case store.Missing:
		c.Missing++
	case store.Differ:
		c.Differ++
	case store.Copying:
		c.Copying++
	}
}

func history(row store.AttributeRow, h int, outputs []store.OutputView) store.VersionRow {
	r := store.VersionRow{Channel: row.Channel, FromSeq: int64(30 - 5*h), ToSeq: int64(35 - 5*h), From: now.AddDate(0, -h, 0), Version: row.Version + strings.Repeat(".9", h), Drv: row.Drv, State: row.State, FromRevision: hexOf(row.Channel)[:40]}
	if h == 0 {
		r.ToSeq = 0
	}
	r.NarHashByOutput = make(map[string][]string)
	for _, o := range outputs {
		o.Claims = nil
		r.Outputs = append(r.Outputs, o)
		r.NarHashByOutput[o.Output] = []string{narHash(o.Path + fmt.Sprint(h))}
	}
	return r
}

// outputsOf are one to three, with the claims that make their state.
func (f *fake) outputsOf(i int, row store.AttributeRow) []store.OutputView {
	var out []store.OutputView
	for n, name := range []string{"out", "dev", "man"}[:1+i%3] {
		state := row.State
		if n > 0 {
			state = store.Agree
		}
		o := store.OutputView{Output: name, Path: pathOfName(fmt.Sprintf("p%d-%s-%s", i, row.Version, name)), State: state, Since: row.Since}
		builders := map[store.State]int{store.Agree: 3, store.Missing: i % 2, store.Differ: 4, store.Copying: 2}[state]
		for b := range builders {
			o.Claims = append(o.Claims, f.claim(o.Path, b, state == store.Differ && b == 1))
		}
		o.Agreeing = builders
		if state == store.Differ {
			o.Agreeing, o.Against = 3, 1
			o.Claims[1].Diff = hexOf("statement diff")
		}
		o.Claims = append(o.Claims, store.ClaimView{By: store.OperatorRef{Key: hexOf("stray")}, Kind: "cache-sig", Class: "signed", NarHash: narHash(o.Path), NarSize: 226560, References: 3, Why: "its key is registered by nobody", Statement: hexOf("statement" + o.Path), Places: f.places(1)})
		o.Reason = map[store.State]string{
			store.Agree: "The policy distribution is satisfied: 3 operators built the same, and nobody differs.", store.Missing: "2 of 4 needed, " + strconv.Itoa(builders) + " found, and nobody differs.",
			store.Differ: "Bern University built another content than 3 others.", store.Copying: "It is configured as random by construction, and Alpine Rebuilds agrees with Bern University.",
		}[state]
		out = append(out, o)
	}
	return out
}

func (f *fake) claim(path string, b int, other bool) store.ClaimView {
	hash := narHash(path)
	if other {
		hash = narHash(path + "other")
	}
	return store.ClaimView{
		By: f.ref(b), Kind: "build", Class: "built", How: []string{"built", "checked", "rebuilt"}[b%3], NarHash: hash, NarSize: 226560, References: 4, Finished: now.Add(-time.Duration(30+b) * time.Hour),
		Counts: true, Statement: hexOf(fmt.Sprint("statement ", path, b)), Places: f.places(uint64(b)), Builder: "nix 2.31.2",
	}
}

func (f *fake) channel(name string, seq int64) store.ChannelView {
	c := store.ChannelView{Name: name, Revision: hexOf(name)[:40], System: "x86_64-linux", Seq: seq, DrvSeq: seq - 1, Time: now.Add(-5 * time.Hour)}
	for _, r := range f.rows {
		if r.Channel != name {
			continue
		}
		c.Attrs++
		c.Counts.Agree += r.Counts.Agree
		c.Counts.Missing += r.Counts.Missing
		c.Counts.Differ += r.Counts.Differ
		c.Counts.Copying += r.Counts.Copying
		if r.Error != "" {
			c.Counts.Errors++
		}
	}
	c.Counts.FODAgree, c.Counts.FODMissing = 812, 33
	c.Before = c.Counts
	c.Before.Agree, c.Before.Missing = c.Before.Agree-4, c.Before.Missing+4
	return c
}

// cut is a page of rows: After is the number of the row, in decimal.
func cut[T any](rows []T, p store.Page) store.Listing[T] {
	if p.Limit < 1 || p.Limit > 500 {
		panic(fmt.Sprint("a page of ", p.Limit))
	}
	from, err := strconv.Atoi(cmp.Or(p.After, "0"))
	if err != nil || from < 0 || from > len(rows) {
		return store.Listing[T]{}
	}
	to := min(len(rows), from+p.Limit)
	out := store.Listing[T]{Rows: rows[from:to]}
	if to < len(rows) {
		out.Next = strconv.Itoa(to)
	}
	return out
}

// found is v unless ok is false or the source is broken.
func found[T any](f *fake, v T, ok bool) (T, error) {
	if f.err == nil && ok {
		return v, nil
	}
	var none T
	return none, cmp.Or(f.err, store.ErrNotFound)
}

func (f *fake) Overview(context.Context) (*store.Overview, error) {
	return found(f, &store.Overview{Channels: f.channels, Logs: f.logs, Statements: 1209853, Claims: 983112, Outputs: 120312, Attrs: int64(len(f.attrs)), Operators: int64(len(f.operators)), Maintainers: 4, Evaluations: 117, Policy: f.policy}, true)
}

func (f *fake) Channel(_ context.Context, name string) (*store.ChannelView, error) {
	for _, c := range f.channels {
		if c.Name == name {
			return found(f, &c, true)
		}
	}
	return found(f, &store.ChannelView{}, false)
}

func (f *fake) Trend(_ context.Context, _, _, channel string) ([]store.TrendPoint, error) {
	var out []store.TrendPoint
	for i := range int64(120) {
		c := store.Counts{Agree: 300 + 2*i + i*i%17, Differ: 30 - i/8 + i%3, Copying: 3}
		c.Missing = 600 - c.Agree - c.Differ
		out = append(out, store.TrendPoint{Seq: i, Time: now.AddDate(0, 0, int(i)-120), Revision: hexOf(fmt.Sprint(i))[:40], Counts: c})
	}
	if channel == "empty" {
		out = nil
	}
	return found(f, out, true)
}

func (f *fake) Attributes(_ context.Context, q store.Filter, p store.Page) (store.Listing[store.AttributeRow], error) {
	var rows []store.AttributeRow
	for _, r := range f.rows {
		meta := f.attrs[r.Attr].Channels[0].Meta
		if (q.Channel == "" || r.Channel == q.Channel) && (q.State == 0 || r.State == q.State) &&
			(q.Maintainer == "" || slices.Contains(meta.Maintainers, q.Maintainer)) && (q.Team == "" || slices.Contains(meta.Teams, q.Team)) {
			rows = append(rows, r)
		}
	}
	if q.Order == store.Worst {
		slices.SortStableFunc(rows, func(a, b store.AttributeRow) int { return cmp.Compare(b.State, a.State) })
	}
	return found(f, cut(rows, p), true)
}

func (f *fake) Changes(_ context.Context, channel string, _ int64, onlyWorse bool, p store.Page) (store.Listing[store.Change], error) {
	var out []store.Change
	for _, c := range f.changes {
		if c.Channel == channel && (c.Worse || !onlyWorse) {
			out = append(out, c)
		}
	}
	return found(f, cut(out, p), true)
}

func (f *fake) Row(_ context.Context, channel, attr string) (*store.AttributeRow, error) {
	i := slices.IndexFunc(f.rows, func(r store.AttributeRow) bool { return r.Channel == channel && r.Attr == attr })
	return found(f, &f.rows[max(0, i)], i >= 0)
}

func (f *fake) Attribute(_ context.Context, attr string) (*store.AttributeView, error) {
	v, ok := f.attrs[attr]
	return found(f, v, ok)
}

func (f *fake) Output(_ context.Context, path string) (*store.OutputView, []store.AttributeRow, error) {
	out, ok := f.outputs[path]
	if path == pathOfName("hello-2.12.1") {
		out, ok = &store.OutputView{Path: path, State: store.Missing, FOD: true}, true
	}
	out, err := found(f, out, ok)
	return out, f.owners[path], err
}

func (f *fake) person(name string, team bool) *store.PersonView {
	v := &store.PersonView{Login: name, Name: "Name of " + name, Team: team}
	for _, c := range f.channels[:min(2, len(f.channels))] {
		v.Channels = append(v.Channels, struct {
			Channel string
			Attrs   int64
			Counts  store.Counts
		}{c.Name, c.Attrs / 3, store.Counts{Agree: 40, Missing: 11, Differ: 2}})
	}
	return v
}

var maintainers = []string{"alice", "bob", "carol", "dora"}

func (f *fake) Maintainer(_ context.Context, login string) (*store.PersonView, error) {
	return found(f, f.person(login, false), slices.Contains(maintainers, login))
}

func (f *fake) Team(_ context.Context, name string) (*store.PersonView, error) {
	return found(f, f.person(name, true), name == "python")
}

func (f *fake) Operators(_ context.Context, p store.Page) (store.Listing[store.OperatorView], error) {
	return found(f, cut(f.operators, p), true)
}

func (f *fake) Operator(_ context.Context, id string) (*store.OperatorView, error) {
	i := slices.IndexFunc(f.operators, func(o store.OperatorView) bool { return o.ID == id })
	return found(f, &f.operators[max(0, i)], i >= 0)
}

func (f *fake) paths(channel string, s store.State) []store.PathRow {
	var out []store.PathRow
	for _, r := range f.rows {
		for _, c := range f.attrs[r.Attr].Channels {
			if r.Channel != c.Row.Channel || r.Channel != channel {
				continue
			}
			for _, o := range c.Outputs {
				if s == 0 || o.State == s {
					out = append(out, store.PathRow{Path: o.Path, Attr: r.Attr, Channel: r.Channel, Drv: r.Drv, Output: o.Output, State: o.State, Agreeing: o.Agreeing, Against: o.Against, Priority: int64(9000 - 7*len(out))})
				}
			}
		}
	}
	return out
}

func (f *fake) OperatorOutputs(_ context.Context, _ string, s store.State, p store.Page) (store.Listing[store.PathRow], error) {
	return found(f, cut(f.paths("nixos-unstable", s), p), true)
}

func (f *fake) Closures(_ context.Context, p store.Page) (store.Listing[store.ClosureView], error) {
	return found(f, cut(f.closures, p), true)
}

func (f *fake) Closure(_ context.Context, id string) (*store.ClosureView, error) {
	all := slices.Concat(f.closures, f.older)
	i := slices.IndexFunc(all, func(c store.ClosureView) bool { return c.ID == id })
	return found(f, &all[max(0, i)], i >= 0)
}

func (f *fake) ClosurePaths(_ context.Context, _ string, s store.State, p store.Page) (store.Listing[store.PathRow], error) {
	return found(f, cut(f.paths("nixos-26.05", s), p), true)
}

func (f *fake) Queue(_ context.Context, channel string, p store.Page) (store.Listing[store.PathRow], error) {
	rows := append([]store.PathRow{{Drv: pathOfName("ca-1.0.drv"), Output: "out", Attr: "hello", State: store.Missing, Priority: 9010}}, f.paths(channel, store.Missing)...)
	return found(f, cut(rows, p), true)
}

func (f *fake) Statement(_ context.Context, id string) (*store.StatementView, error) {
	if i := slices.IndexFunc(f.closures, func(c store.ClosureView) bool { return c.ID == id }); i >= 0 || id == hexOf("retracted closure") {
		return &store.StatementView{StatementRow: store.StatementRow{ID: id, Kind: "closure", Subject: f.closures[max(0, i)].Name, By: f.ref(0), Places: f.places(7)}, Says: map[string]string{"members": "1212"}}, nil
	}
	v := &store.StatementView{StatementRow: store.StatementRow{ID: id, Kind: "build", Subject: pathOfName("hello-2.12.1"), By: f.ref(1), Time: now.Add(-30 * time.Hour), Places: f.places(3)}, Says: map[string]string{"system": "x86_64-linux", "derivation": pathOfName("hello-2.12.1.drv"), "builder": "nix 2.31.2", "note": hostile}}
	v.Claims = append(v.Claims, struct {
		Path  string
		Claim store.ClaimView
	}{pathOfName("hello-2.12.1"), f.claim(pathOfName("hello-2.12.1"), 1, true)})
	if id == hexOf("statement diff") {
		v.Kind, v.Claims = "diff", nil
		v.Says = map[string]string{"path": pathOfName("p4-5.4.0-out"), "first": narHash("a"), "second": narHash("b"), "files": "bin/hello: content; share/doc/build-time: content"}
	}
	return found(f, v, id != hexOf("nothing"))
}

func (f *fake) Logs(context.Context) ([]store.LogView, error) { return found(f, f.logs, true) }

func (f *fake) Search(_ context.Context, q string, limit int) ([]store.SearchHit, error) {
	var out []store.SearchHit
	add := func(kind, key, text string, s store.State) {
		if strings.Contains(strings.ToLower(key+text), strings.ToLower(q)) && len(out) < limit {
			out = append(out, store.SearchHit{Kind: kind, Match: store.MatchName, Key: key, Text: text, State: s})
		}
	}
	if q == "ffmpge" {
		out = append(out, store.SearchHit{Kind: "attribute", Match: store.MatchSimilar, Key: "ffmpeg", Text: "5.1 Complete, cross-platform solution to record, convert and stream audio and video", Channel: "nixos-unstable", State: store.Missing})
	}
	if q == "compression library" {
		for _, n := range []string{"zlib", "xz", "zstd", "brotli"} {
			out = append(out, store.SearchHit{Kind: "attribute", Match: store.MatchText, Key: n, Text: "1.3 A lossless compression library", Channel: "nixos-unstable", State: f.attrs[n].Channels[0].Row.State})
		}
	}
	if v, ok := f.attrs[q]; ok {
		add("attribute", q, v.Channels[0].Meta.Description, v.Channels[0].Row.State)
	}
	for _, m := range maintainers {
		add("maintainer", m, "", 0)
	}
	add("team", "python", "", 0)
	for _, n := range slices.Sorted(maps.Keys(f.attrs)) {
		if n != q {
			add("attribute", n, f.attrs[n].Channels[0].Meta.Description, f.attrs[n].Channels[0].Row.State)
		}
	}
	for _, c := range f.channels {
		add("channel", c.Name, "", 0)
	}
	for _, o := range f.operators {
		add("operator", o.ID, o.Name, 0)
	}
	for _, c := range f.closures {
		add("closure", c.ID, c.Name, 0)
	}
	if isID(q) && len(out) == 0 {
		add("statement", q, "", 0)
	}
	if o, ok := f.outputs[q]; ok {
		add("path", o.Path, "", o.State)
	}
	return found(f, out, true)
}

package eval

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/testreq"
)

// channel is a tree that changes, and the folder of its evaluations.
type channel struct {
	t *testing.T
	f *Folder
	o Options
	n int64
}

func newChannel(t *testing.T) *channel {
	testreq.Command(t, "nix", "nix-instantiate")
	c := &channel{t: t, f: NewFolder(filepath.Join(t.TempDir(), "evals")), o: options(tree(t))}
	c.write("hostile.nix", "{ ... }: { bad = throw \"no\"; }")
	return c
}

func (c *channel) write(name, text string) {
	c.t.Helper()
	name = filepath.Join(c.o.Tree, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *channel) replace(name, old, new string) {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.o.Tree, name))
	if err != nil || !strings.Contains(string(b), old) {
		c.t.Fatalf("%s does not hold %q: %v", name, old, err)
	}
	c.write(name, strings.ReplaceAll(string(b), old, new))
}

func (c *channel) update(tier Tier, full bool) *Report {
	c.t.Helper()
	c.n++
	r, err := c.f.Update(c.t.Context(), Change{Channel: "unstable", Tier: tier, Time: time.Unix(c.n, 0), Full: full}, c.o)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// is checks that the files come to what evaluating everything says.
func (c *channel) is(tier Tier) map[string]Attribute {
	c.t.Helper()
	want, err := Evaluate(c.t.Context(), tier, c.o)
	if err != nil {
		c.t.Fatal(err)
	}
	got, err := c.f.State("unstable", tier)
	if err != nil {
		c.t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Attrs, want.Attrs) {
		c.t.Errorf("the files come to\n%v\nwant\n%v", got.Attrs, want.Attrs)
	}
	return want.Attrs
}

func TestUpdateEvaluatesWhatChanged(t *testing.T) {
	c := newChannel(t)
	if r := c.update(Meta, false); !r.Whole || !r.Header.Full || r.Lines != r.Attrs || r.Header.Seq != 1 || r.Failed != 1 {
		t.Fatalf("first: %+v", r)
	}
	c.is(Meta)
	if r := c.update(Meta, false); r.File != nil || r.Header.Seq != 1 || r.Evaluated != 0 {
		t.Errorf("the same tree again: %+v", r)
	}
	for _, tt := range []struct {
		name   string
		change func()
		whole  string // why
		lines  []string
		asked  int
	}{
		{"a package's file", func() { c.replace("pkgs/tools/two/default.nix", `"2.0"`, `"2.1"`) }, "", []string{"two_2"}, 3},
		{"a file beside it", func() { c.write("pkgs/by-name/he/hello/a.patch", "other") }, "", nil, 2},
		{"by name, new", func() {
			c.write("pkgs/by-name/ne/newer/package.nix", `{ lib, ... }: lib.make { name = "newer-1"; }`)
		}, "", []string{"newer"}, 2},
		{"by name, gone", func() {
			if err := os.RemoveAll(filepath.Join(c.o.Tree, "pkgs/by-name/ne")); err != nil {
				t.Fatal(err)
			}
		}, "", []string{"newer"}, 2},
		{"nothing of packages", func() { c.write("nixos/module.nix", "{ a = 1; }") }, "", nil, 0},
		{"what did not evaluate", func() {
			c.write("pkgs/tools/two/more", "")
			c.write("hostile.nix", "{ lib, ... }: { bad = lib.make { name = \"bad-2\"; }; }")
		}, "hostile.nix changed", []string{"bad"}, 0},
		{"a library", func() { c.write("lib/more.nix", "1") }, "lib/more.nix changed", nil, 0},
		{"a folder without packages", func() { c.write("pkgs/other/x.nix", "1") }, "pkgs/other/x.nix changed", nil, 0},
		{"the top", func() { c.replace("default.nix", "number = 3;", "renamed = self.hello;") }, "default.nix changed", []string{"renamed"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.t = t
			before, err := c.f.State("unstable", Meta)
			if err != nil {
				t.Fatal(err)
			}
			tt.change()
			r := c.update(Meta, false)
			if r.Whole != (tt.whole != "") || r.Why != tt.whole || !r.Whole && r.Evaluated != tt.asked || r.Header.Full {
				t.Errorf("%+v, want a whole evaluation because of %q, or %d asked", r, tt.whole, tt.asked)
			}
			after := c.is(Meta)
			if got := slices.Sorted(maps.Keys(delta(before.Attrs, after))); !slices.Equal(got, tt.lines) || r.Lines != len(tt.lines) {
				t.Errorf("%d lines, %q changed, want %q", r.Lines, got, tt.lines)
			}
		})
	}
}

// Whoever evaluates everything hears what the short way would have missed.
func TestFullCountsWhatWasMissed(t *testing.T) {
	c := newChannel(t)
	c.replace("pkgs/lib/default.nix", `pname = "lib";`, `pname = "lib"; meta.description = builtins.readFile ../tools/two/text;`)
	c.replace("pkgs/lib/default.nix", `meta = { license`, `more = { license`)
	c.write("pkgs/tools/two/text", "one")
	c.update(Meta, false)
	c.write("pkgs/tools/two/text", "two")
	r := c.update(Meta, true)
	if !r.Whole || !r.Header.Full || r.Missed != 2 || r.Why != "--full" {
		t.Errorf("%+v, want 2 missed: lib1 and alias1", r)
	}
	if r := c.update(Meta, true); r.Missed != 0 || r.Header.Seq != 3 {
		t.Errorf("again: %+v", r)
	}
}

// A wrapper is named after what it wraps, and another after the wrapper.
func TestUpdateEvaluatesWhatIsNamedAfterWhatChanged(t *testing.T) {
	c := newChannel(t)
	c.replace("pkgs/tools/two/default.nix", `"2.0"`, `"2.0.1"`)
	c.write("hostile.nix", "{ ... }: { }")
	for _, name := range []string{"wrapper", "around"} {
		of := map[string]string{"wrapper": "two_2", "around": "wrapper"}[name]
		c.write("pkgs/by-name/"+name[:2]+"/"+name+"/package.nix", `{ lib, self }: lib.make { name = "`+name+`-of-${self.`+of+`.name}"; }`)
	}
	c.update(Meta, false)
	c.is(Meta)
	c.replace("pkgs/tools/two/default.nix", `"2.0.1"`, `"2.0.2"`)
	if r := c.update(Meta, false); r.Whole || r.Lines != 3 {
		t.Errorf("%+v, want three lines", r)
	}
	if got := c.is(Meta)["around"].Name; got != "around-of-wrapper-of-two-2.0.2" {
		t.Errorf("the outer wrapper is %q", got)
	}
}

func TestTiersShareTheirNumber(t *testing.T) {
	c := newChannel(t)
	numbers := []int64{c.update(Meta, false).Header.Seq, c.update(Drvs, false).Header.Seq}
	c.replace("pkgs/tools/two/default.nix", `"2.0"`, `"2.1"`)
	m := c.update(Meta, false)
	c.replace("pkgs/tools/two/default.nix", `"2.1"`, `"2.2"`)
	numbers = append(numbers, m.Header.Seq, c.update(Meta, false).Header.Seq)
	d := c.update(Drvs, false)
	c.is(Drvs)
	if numbers = append(numbers, d.Header.Seq); !slices.Equal(numbers, []int64{1, 1, 2, 3, 3}) {
		t.Errorf("numbers %v", numbers)
	}
	if !d.Whole || d.Lines != 1 || len(d.Drvs) == 0 {
		t.Errorf("derivations: %+v", d)
	}
	// Derivations of the revision before, late.
	c.replace("pkgs/tools/two/default.nix", `"2.2"`, `"2.3"`)
	c.update(Meta, false)
	c.replace("pkgs/tools/two/default.nix", `"2.3"`, `"2.4"`)
	c.update(Meta, false)
	c.replace("pkgs/tools/two/default.nix", `"2.4"`, `"2.3"`)
	if d := c.update(Drvs, false); d.Header.Seq != 4 {
		t.Errorf("derivations of the revision before have number %d, want 4", d.Header.Seq)
	}
	files, err := c.f.Files("unstable", "")
	if err != nil {
		t.Fatal(err)
	}
	var last time.Time
	for _, f := range files {
		if err := f.open(func(r *Reader) error {
			if r.Header().Time.Before(last) {
				t.Errorf("%s lies before the one before it", f.Path)
			}
			last = r.Header().Time
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}

func TestUpdateWithoutTheLastTree(t *testing.T) {
	c := newChannel(t)
	c.update(Meta, false)
	c.replace("pkgs/tools/two/default.nix", `"2.0"`, `"2.1"`)
	for i, spoil := range []func(string) error{
		os.Remove,
		func(p string) error { return os.WriteFile(p, []byte("no gzip"), 0o644) },
	} {
		if err := spoil(c.f.manifestPath("unstable", Meta)); err != nil {
			t.Fatal(err)
		}
		r := c.update(Meta, false)
		if !r.Whole || r.Why != "what the last tree held is not known" || r.Lines != 1 {
			t.Errorf("%+v", r)
		}
		c.is(Meta)
		c.replace("pkgs/tools/two/default.nix", fmt.Sprintf(`"2.%d"`, i+1), fmt.Sprintf(`"2.%d"`, i+2))
	}
	c.o.Aliases = true
	if r := c.update(Meta, false); !r.Whole || !strings.Contains(r.Why, "is not what it was") {
		t.Errorf("with other options: %+v", r)
	}
}

func TestOneUpdateOfAChannelAtATime(t *testing.T) {
	c := newChannel(t)
	inside := false
	c.o.Progress = func(Tier, int, int) {
		if inside {
			return
		}
		inside = true
		_, err := c.f.Update(t.Context(), Change{Channel: "unstable", Tier: Meta}, c.o)
		if err == nil || !strings.Contains(err.Error(), "the channel unstable is being evaluated") {
			t.Errorf("a second update: %v", err)
		}
	}
	c.update(Meta, false)
	if !inside {
		t.Error("there was no progress")
	}
}

func TestTreesThatCannotBeEvaluated(t *testing.T) {
	testreq.Command(t, "nix", "nix-instantiate")
	for text, want := range map[string]string{
		"{ abort":               "cannot be loaded: syntax error",
		"abort \"why not\"":     "cannot be loaded: evaluation aborted with the following error message: 'why not'",
		"3":                     "has no attribute set \"\"",
		"{ missing }: { }":      "cannot be loaded: .*missing",
		"throw \"why not\"":     "cannot be loaded: why not",
		"import ./notthere.nix": "cannot be loaded: .*notthere.nix",
	} {
		o := options(tree(t))
		if err := os.WriteFile(filepath.Join(o.Tree, "default.nix"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Evaluate(t.Context(), Meta, o); err == nil || !matches(want, err.Error()) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := Evaluate(t.Context(), Meta, options(t.TempDir())); err == nil || !strings.Contains(err.Error(), "is no tree") {
		t.Error(err)
	}
	o := options(tree(t))
	o.Nix = []string{"/nonexistent/nix-instantiate"}
	if _, err := Evaluate(t.Context(), Meta, o); err == nil || !strings.Contains(err.Error(), "starting the evaluator") {
		t.Error(err)
	}
}

func TestRootAndSupersets(t *testing.T) {
	testreq.Command(t, "nix", "nix-instantiate")
	o := options(tree(t))
	o.Root = "sets"
	r, err := Evaluate(t.Context(), Meta, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(r.Attrs)); !slices.Equal(got, []string{"sets.inner.two", "sets.one"}) {
		t.Errorf("below sets: %q", got)
	}
	// A nixpkgs says itself where packages are.
	if err := os.WriteFile(filepath.Join(o.Tree, "release.nix"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	super := filepath.Join(o.Tree, filepath.FromSlash(supersetFile))
	if err := os.MkdirAll(filepath.Dir(super), 0o755); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		`{ trace ? false }: { paths = [ [ "hello" ] [ "hidden" "hello" ] [ "number" ] [ "sets" "inner" ] ]; }`: {"hello", "hidden.hello", "sets.inner.two"},
		`{ }: abort "it does not evaluate"`: nil,
	} {
		if err := os.WriteFile(super, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		o := options(o.Tree)
		o.Attrs = nil
		if err := os.WriteFile(filepath.Join(o.Tree, "hostile.nix"), []byte("{ ... }: { }"), 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := Evaluate(t.Context(), Meta, o)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Sorted(maps.Keys(r.Attrs))
		if want == nil && len(got) < 8 || want != nil && !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

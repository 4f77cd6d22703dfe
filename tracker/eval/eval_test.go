package eval

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
)

const testSystem = "x86_64-linux"

// tree copies the tree of testdata to a folder of its own.
func tree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.CopyFS(dir, os.DirFS("testdata/tree")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// enterRoot runs a command in the root $1, with the machine's folder $2 at the same place.
const enterRoot = `
mount --make-rprivate /
mount -t tmpfs none "$1/tmp"
mkdir -p "$1/proc" "$1/$2"
mount --rbind /proc "$1/proc"; mount --bind "$2" "$1/$2"; root=$1; shift 2
exec chroot "$root" "$@"
`

// eachNix runs a test with every version of Nix that is here. command gives the command of one of
// Nix's programs, for which dir is there.
func eachNix(t *testing.T, test func(t *testing.T, command func(dir, program string) []string)) {
	t.Run("nix", func(t *testing.T) {
		testreq.Command(t, "nix", "nix-instantiate")
		test(t, func(_, program string) []string { return []string{program} })
	})
	for part, env := range map[string]string{"nix226": "FIRN_NIX226", "nix234": "FIRN_NIX234"} {
		t.Run(part, func(t *testing.T) {
			root := os.Getenv(env)
			if root == "" || os.Getuid() != 0 {
				testreq.Missing(t, part, env+" names no root with that Nix, or this is not root")
			}
			test(t, func(dir, program string) []string {
				return []string{"unshare", "-m", "sh", "-euc", enterRoot, "sh", root, dir, program}
			})
		})
	}
}

func options(dir string) Options {
	return Options{Tree: dir, System: testSystem, Workers: 2, Memory: 512 << 20, Timeout: 4 * time.Second}
}

// What a tree does to its evaluation is told of the attribute that does it, and of no other.
func TestHostileTree(t *testing.T) {
	eachNix(t, func(t *testing.T, command func(dir, program string) []string) {
		o := options(tree(t))
		o.Nix = command(filepath.Dir(o.Tree), "nix-instantiate")
		for _, tier := range []Tier{Meta, Drvs} {
			r, err := Evaluate(t.Context(), tier, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("Nix %s, %s: %d attributes, %v, %d processes, %d MiB", r.Nix, tier, len(r.Attrs), r.Failed, r.Processes, r.Peak>>20)
			checkHostile(t, tier, r)
			o.Attrs = slices.DeleteFunc(slices.Sorted(maps.Keys(r.Attrs)), func(a string) bool { return a == "never" || a == "eater" || strings.Contains(a, ".") })
			o.Attrs = append(o.Attrs, "endless", "sets", "hidden", "number", "function", "gone")
			names := slices.Sorted(maps.Keys(r.Attrs))
			if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "hidden") || strings.HasPrefix(n, "sets.shut") }) {
				t.Error("what is not to be looked into was")
			}
			if r.Skipped != 2 {
				t.Errorf("%d names were skipped, want 2", r.Skipped)
			}
			if limit := int64(800 << 20); r.Peak > limit {
				t.Errorf("a process took %d MiB", r.Peak>>20)
			}
			h := Header{Schema: Schema, Channel: "c", Seq: 1, Tier: tier, Revision: "r", Time: time.Unix(1, 0).UTC(), System: testSystem, Full: true}
			if _, err := Write(&strings.Builder{}, h, sorted(r.Attrs)); err != nil {
				t.Errorf("what was evaluated cannot be written: %v", err)
			}
		}
	})
}

func checkHostile(t *testing.T, tier Tier, r *Result) {
	t.Helper()
	words := map[string]string{
		"aborts": "on purpose in \\.", "absent": "noSuchAttribute", "argument": "argument .?'?missing", "asserts": saysThrows,
		"eater": "needs more than 512 MiB of memory", "never": "did not end within 4s", "forgerAborts": "my own words",
		"listed": "forbidden in restricted mode", "nameless": "no name|name|drvPath", "peeks": "forbidden in restricted mode", "recursion": "infinite recursion|stack overflow",
		"stack": "stack overflow|died of|memory|call depth", "throws": saysThrows, "typo": "integer",
		"endless" + strings.Repeat(".again", maxDepth-1): saysDeep,
	}
	if tier == Drvs {
		words["liar"] = "no derivation|attribute 'out' missing"
		delete(words, "never") // one that does not end is enough
		delete(words, "eater")
	}
	for attr, want := range words {
		if got := r.Attrs[attr].Error; !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s: error %q, want %q", attr, got, want)
		}
	}
	for attr, a := range r.Attrs {
		if _, bad := words[attr]; !bad && a.Error != "" {
			t.Errorf("%s: unexpected error %q", attr, a.Error)
		}
		if strings.HasPrefix(a.Name, "forged") || strings.Contains(a.Error, "forged") {
			t.Errorf("%s was forged: %+v", attr, a)
		}
	}
	for attr, name := range map[string]string{"zlast": "zlast-1", "forger": "forger-1", "hello": "hello-2.12", "sets.inner.two": "set-two-1", "endless.again.again.pkg": "endless", "huge": "huge-1", "notJSON": "not-json-1"} {
		if got := r.Attrs[attr].Name; got != name {
			t.Errorf("%s has the name %q, want %q", attr, got, name)
		}
	}
	if a := r.Attrs["halfBad"]; tier == Meta && (a.Homepage != "https://half.example" || a.Description != "" || len(a.Maintainers) != 1) {
		t.Errorf("halfBad: %+v", a)
	}
}

func TestMetadata(t *testing.T) {
	testreq.Command(t, "nix", "nix-instantiate")
	o := options(tree(t))
	o.Attrs = []string{"hello", "lib1", "two_2", "bare", "source", "gone"}
	r, err := Evaluate(t.Context(), Meta, o)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Attribute{
		"hello": {
			Attr: "hello", Name: "hello-2.12", Pname: "hello", Version: "2.12", System: testSystem, Position: "pkgs/by-name/he/hello/package.nix:3",
			Description: "A program that <greets> & “quotes”", Homepage: "https://hello.example/",
			Maintainers: []Maintainer{
				{"new-at-forge", "N. Ew", "new@example.org"},
				{"old", "Olga Ld", "old@example.org"},
				{"mail", "M. Ail", "mail@example.org"},
				{"Un Known", "Un Known", "un@example.org"},
			},
			Teams: []string{"Greeters"}, Licences: []string{"GPL-3.0-or-later", "own", "BSD"},
			Patches:     []string{"a.patch", "a.patch", "CVE-2020-1.patch"},
			Identifiers: map[string]string{"cpe": "cpe:2.3:a:gnu:hello:2.12", "cpeParts.vendor": "gnu"},
		},
		"lib1": {
			Attr: "lib1", Name: "lib-1", Pname: "lib", Version: "1", System: testSystem, Position: "pkgs/lib/default.nix:4",
			Licences: []string{"Secret"}, KnownVulns: []string{"CVE-2021-9"}, Broken: true, Unfree: true, Insecure: true,
		},
		"two_2": {
			Attr: "two_2", Name: "two-2.0", Pname: "two", Version: "2.0", System: testSystem, Position: "pkgs/tools/two/default.nix:4",
			Homepage: "https://two.example", Licences: []string{"MIT"},
		},
		"bare":   {Attr: "bare", Name: "bare-0.1", Pname: "bare", Version: "0.1", System: testSystem, Position: "pkgs/lib/default.nix:18"},
		"source": {Attr: "source", Name: "source-1.tar", Pname: "source", Version: "1.tar", System: testSystem, Position: "pkgs/lib/default.nix:11"},
	}
	for k := range want {
		if !reflect.DeepEqual(r.Attrs[k], want[k]) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", k, r.Attrs[k], want[k])
		}
	}
	if len(r.Attrs) != len(want) {
		t.Errorf("%d attributes, want %d", len(r.Attrs), len(want))
	}
}

// nullMeta is how Nix 2.8 prints null.
var nullMeta = regexp.MustCompile(`(": *)(\n|,|\})`)

// Every attribute is what nix-env and nix-instantiate say of it.
func TestAgreesWithNix(t *testing.T) {
	eachNix(t, func(t *testing.T, command func(dir, program string) []string) {
		o := options(tree(t))
		dir := filepath.Dir(o.Tree)
		if err := os.WriteFile(filepath.Join(o.Tree, "hostile.nix"), []byte("{ ... }: { }"), 0o644); err != nil {
			t.Fatal(err)
		}
		o.Nix = command(dir, "nix-instantiate")
		meta, err := Evaluate(t.Context(), Meta, o)
		if err != nil {
			t.Fatal(err)
		}
		drvs, err := Evaluate(t.Context(), Drvs, o)
		if err != nil {
			t.Fatal(err)
		}
		private := filepath.Join(dir, "store")
		run := func(program string, args ...string) string {
			t.Helper()
			c := command(dir, program)
			cmd := exec.Command(c[0], append(c[1:], append(args, "--store", private, "--option", "extra-experimental-features", "ca-derivations", "--argstr", "system", testSystem)...)...)
			cmd.Env = append(os.Environ(), "HOME="+dir, "PATH="+os.Getenv("PATH"))
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s %q: %v\n%s", program, args, err, err.(*exec.ExitError).Stderr)
			}
			return string(out)
		}
		t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", private).Run() }) //nolint:errcheck // the folder is a temporary one
		compareWithNixEnv(t, run("nix-env", "-f", o.Tree, "-qaP", "--json", "--meta"), o.Tree, meta)
		for attr, a := range drvs.Attrs {
			path := strings.TrimSpace(run("nix-instantiate", o.Tree, "-A", attr))
			p, err := nix.ParseStorePath(path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(private, path))
			if err != nil {
				t.Fatal(err)
			}
			d, err := nix.ParseDerivation(p.Dir(), strings.TrimSuffix(p.Name(), ".drv"), b)
			if err != nil {
				t.Fatal(err)
			}
			want := Attribute{Attr: attr, Name: meta.Attrs[attr].Name, System: testSystem, Drv: p.Base(), FOD: d.Kind() == nix.Fixed, Outputs: map[string]string{}}
			for _, o := range d.Outputs {
				want.Outputs[o.Name] = strings.TrimPrefix(o.Path, "/nix/store/")
			}
			if !reflect.DeepEqual(a, want) {
				t.Errorf("%s:\ngot  %+v\nwant %+v", attr, a, want)
			}
		}
	})
}

func compareWithNixEnv(t *testing.T, out, tree string, r *Result) {
	t.Helper()
	var all map[string]struct {
		Name, Pname, Version, System string
		Meta                         struct {
			Position, Description string
			Homepage              any
			Broken                bool
		}
	}
	if err := json.Unmarshal([]byte(nullMeta.ReplaceAllString(out, "${1}null$2")), &all); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for attr, want := range all {
		a, there := r.Attrs[attr]
		home, _ := want.Meta.Homepage.(string)
		if l, ok := want.Meta.Homepage.([]any); ok {
			home, _ = l[0].(string)
		}
		switch {
		case !there:
			t.Errorf("%s is missing", attr)
		case a.Name != want.Name || a.Pname != want.Pname || a.Version != want.Version || a.System != want.System:
			t.Errorf("%s: %+v, want %+v", attr, a, want)
		case want.Meta.Position != "" && a.Position != strings.TrimPrefix(want.Meta.Position, tree+"/") || a.Description != clean(want.Meta.Description, maxText) || a.Homepage != home || a.Broken != want.Meta.Broken:
			t.Errorf("%s: %+v, want %+v", attr, a, want)
		}
	}
	for attr := range r.Attrs {
		if _, there := all[attr]; !there && attr != "alias1" && attr != "lib1" { // nix-env lists one of them
			t.Errorf("nix-env has no %s", attr)
		}
	}
}

func matches(pattern, s string) bool { return regexp.MustCompile("(?s)" + pattern).MatchString(s) }

package eval

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/testreq"
)

// realTree is a tree that the machine has, beside what Nix says of it.
type realTree struct {
	t     *testing.T
	dir   string
	file  string // what Nix evaluates: the tree, or the tree without what ends an evaluator
	home  string
	kinds map[string]int // of what is as it should be
}

// Every attribute of a real tree is what nix-env says of it. FIRN_NIXPKGS names the tree and FIRN_NIXPKGS_ALLOW
// another folder that it reads. Where the two differ there is a reason that spec/tracker.md#what-is-evaluated gives;
// these are counted, and anything else fails.
func TestAgreesWithNixOnARealTree(t *testing.T) {
	dir := os.Getenv("FIRN_NIXPKGS")
	if dir == "" {
		t.Skip("FIRN_NIXPKGS names no tree")
	}
	testreq.Command(t, "nix", "nix-env")
	o := Options{Tree: dir, System: testSystem, Timeout: 10 * time.Minute}
	if allow := os.Getenv("FIRN_NIXPKGS_ALLOW"); allow != "" {
		o.Allow = []string{allow}
	}
	found := make(map[Tier]*Result)
	for _, tier := range []Tier{Meta, Drvs} {
		r, err := Evaluate(t.Context(), tier, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d attributes, %v, %d processes, %d MiB, %v", tier, len(r.Attrs), r.Failed, r.Processes, r.Peak>>20, r.Elapsed)
		found[tier] = r
	}
	prepared, err := o.prepare()
	if err != nil {
		t.Fatal(err)
	}
	real := &realTree{t: t, dir: prepared.Tree, home: t.TempDir(), kinds: make(map[string]int)}
	for _, tier := range []Tier{Meta, Drvs} {
		real.without(found[tier])
		if real.kinds = make(map[string]int); tier == Meta {
			real.metadata(found[tier])
		} else {
			real.derivations(found[tier])
		}
		t.Logf("%s: %v", tier, real.kinds)
	}
}

// realArgs is what stream.nix calls a tree with.
const realArgs = `{ system = "` + testSystem + `"; overlays = [ ]; config = ` + realConfig + `; }`

const realConfig = `{ allowAliases = false; allowBroken = true; allowUnfree = true; allowUnsupportedSystem = true; allowInsecurePredicate = _: true; checkMeta = false; inHydra = false; }`

// without has Nix evaluate the tree without what ended an evaluator of ours: it would end Nix.
func (r *realTree) without(found *Result) {
	r.file = r.dir
	paths := [][]string{}
	for attr, a := range found.Attrs {
		if a.Error != "" && a.Error != saysThrows {
			paths = append(paths, split(attr))
		}
	}
	if len(paths) == 0 {
		return
	}
	b, err := json.Marshal(paths)
	if err != nil {
		r.t.Fatal(err)
	}
	r.file = filepath.Join(r.home, "without.nix")
	expr := `{ ... }:
let
  inherit (builtins) attrNames concatMap head length listToAttrs map removeAttrs tail filter;
  without = set: paths: let deeper = filter (p: length p > 1) paths; in
    removeAttrs set (concatMap (p: if length p == 1 then p else [ ]) paths) // listToAttrs (map (p: {
      name = head p;
      value = without set.${head p} (map tail (filter (q: head q == head p) deeper));
    }) deeper);
in
without (import ` + r.dir + ` ` + realArgs + `) (builtins.fromJSON ` + nixString(string(b)) + `)
`
	if err := os.WriteFile(r.file, []byte(expr), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *realTree) run(program string, args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), program, append(args, "--store", "dummy://", "--option", "allow-import-from-derivation", "false")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.home}
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", program, err, words.String())
	}
	return string(out)
}

func (r *realTree) query(args ...string) string {
	return r.run("nix-env", append([]string{"-f", r.file, "-qaP", "--argstr", "system", testSystem, "--arg", "config", realConfig}, args...)...)
}

// realPackage is a package in the words of nix-env.
type realPackage struct {
	Name, Pname, Version, System string
	Meta                         struct {
		Position, Description string
		Homepage, Maintainers any
		Broken                bool
	}
}

// metadata compares metadata with nix-env.
func (r *realTree) metadata(found *Result) {
	var all map[string]realPackage
	if err := json.Unmarshal([]byte(nullMeta.ReplaceAllString(r.query("--json", "--meta"), "${1}null$2")), &all); err != nil {
		r.t.Fatal(err)
	}
	names := make(map[string]bool)
	differ := make(map[string][]string)
	for attr, want := range all {
		names[want.Name] = true
		a, there := found.Attrs[attr]
		if !there || a.Error != "" {
			r.t.Errorf("%s: nix-env has %+v, and we %+v", attr, want, a)
			continue
		}
		if fields := r.fields(a, want); len(fields) > 0 {
			differ[attr] = fields
		} else {
			r.kinds["the same"]++
		}
	}
	r.explain(found, differ)
	r.others(found, func(attr string) bool { _, there := all[attr]; return there }, func(a Attribute) bool { return names[a.Name] })
}

// fields returns the members in which a package is not what nix-env says.
func (r *realTree) fields(a Attribute, want realPackage) (differ []string) {
	home := want.Meta.Homepage
	if l, ok := home.([]any); ok && len(l) > 0 {
		home = l[0]
	}
	homepage, _ := home.(string)
	people := 0
	switch l := want.Meta.Maintainers.(type) {
	case []any:
		people = min(len(l), maxList)
	case string:
		people = 1
	}
	for name, same := range map[string]bool{
		"name": a.Name == clean(want.Name, maxName), "system": a.System == want.System,
		"pname": a.Pname == clean(want.Pname, maxName), "version": a.Version == clean(want.Version, maxName),
		"position":    want.Meta.Position == "" || a.Position == strings.TrimPrefix(want.Meta.Position, r.dir+"/"),
		"description": a.Description == clean(want.Meta.Description, maxText), "homepage": a.Homepage == clean(homepage, maxText),
		"broken": a.Broken == want.Meta.Broken, "maintainers": len(a.Maintainers) == people,
	} {
		if !same {
			differ = append(differ, name)
		}
	}
	return differ
}

// explain asks Nix about packages that nix-env tells something else of: it divides the name whatever
// a package says, and gives up on all metadata behind the first member that throws.
func (r *realTree) explain(found *Result, differ map[string][]string) {
	attrs := slices.Sorted(maps.Keys(differ))
	var paths [][]string
	for _, a := range attrs {
		paths = append(paths, split(a))
	}
	b, err := json.Marshal(paths)
	if err != nil {
		r.t.Fatal(err)
	}
	var said []struct {
		Pname, Version *string
		Throws         bool
	}
	out := r.run("nix-instantiate", "--eval", "--strict", "--json", "--readonly-mode", "-E", `
		let
		  inherit (builtins) any attrNames foldl' isInt isString tryEval;
		  text = v: let t = tryEval v; in if t.success && isString t.value then t.value else if t.success && isInt t.value then toString t.value else null;
		  at = foldl' (v: name: v.${name}) (import `+r.dir+` `+realArgs+`);
		  say = path: let p = at path; in {
		    pname = text (p.pname or null);
		    version = text (p.version or null);
		    throws = any (name: !(tryEval p.meta.${name}).success) (attrNames p.meta);
		  };
		in map say (builtins.fromJSON `+nixString(string(b))+`)`)
	if err := json.Unmarshal([]byte(out), &said); err != nil || len(said) != len(attrs) {
		r.t.Fatalf("%v: %.1000s", err, out)
	}
	for i, attr := range attrs {
		a, own := found.Attrs[attr], said[i]
		kind := "the package's own pname or version"
		for _, field := range differ[attr] {
			switch {
			case field == "pname" && own.Pname != nil && a.Pname == clean(*own.Pname, maxName):
			case field == "version" && own.Version != nil && a.Version == clean(*own.Version, maxName):
			case own.Throws && field != "name" && field != "system":
				kind = "a member of the metadata throws"
			default:
				r.t.Errorf("%s: %s differs: %+v", attr, field, a)
				kind = "wrong"
			}
		}
		r.kinds[kind]++
	}
}

// envName is what nix-env takes for the name of an attribute.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_+-]*$`)

// others says why nix-env does not list what we do.
func (r *realTree) others(found *Result, listed func(string) bool, alias func(Attribute) bool) {
	for attr, a := range found.Attrs {
		switch {
		case listed(attr):
		case a.Error == saysThrows:
			r.kinds["throws"]++
		case a.Error != "":
			r.kinds["ends an evaluator"]++
		case slices.ContainsFunc(split(attr), func(name string) bool { return !envName.MatchString(name) }):
			r.kinds["no name to nix-env"]++
		case alias(a):
			r.kinds["another name for the same"]++
		default:
			r.t.Errorf("nix-env has no %s: %+v", attr, a)
		}
	}
}

// derivations compares drv and output paths with nix-env.
func (r *realTree) derivations(found *Result) {
	all := make(map[string]bool)
	drvs := make(map[string]bool)
	for line := range strings.Lines(r.query("--no-name", "--drv-path", "--out-path")) {
		f := strings.Fields(line)
		if len(f) != 3 {
			r.t.Fatalf("%q has %d columns", line, len(f))
		}
		attr, drv := f[0], filepath.Base(f[1])
		all[attr], drvs[drv] = true, true
		outputs := make(map[string]string)
		for out := range strings.SplitSeq(f[2], ";") {
			name, path, named := strings.Cut(out, "=")
			if !named {
				name, path = "out", out
			}
			outputs[name] = filepath.Base(path)
		}
		if a := found.Attrs[attr]; a.Drv != drv || !maps.Equal(a.Outputs, outputs) {
			r.t.Errorf("%s: %+v, and nix-env has %s %v", attr, a, drv, outputs)
			continue
		}
		r.kinds["the same"]++
	}
	r.others(found, func(attr string) bool { return all[attr] }, func(a Attribute) bool { return drvs[a.Drv] })
}

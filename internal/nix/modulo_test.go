package nix

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// store is a set of derivations by path.
type store map[StorePath]*Derivation

func (s store) load(p StorePath) (*Derivation, error) {
	if d := s[p]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("no %v here", p)
}

func (s store) add(t testing.TB, name string, text []byte) *Derivation {
	t.Helper()
	d, err := ParseDerivation(DefaultStoreDir, name, text)
	if err != nil {
		t.Fatal(err)
	}
	s[d.DrvPath()] = d
	return d
}

// jsonDrv is a derivation as `nix derivation show` prints it.
type jsonDrv struct {
	Args, InputSrcs       []string
	Builder, Name, System string
	Env                   map[string]string
	InputDrvs             map[string]struct{ Outputs []string }
	Outputs               map[string]struct{ Path, HashAlgo, Hash string }
}

// aterm writes the derivation as Nix would, by the format's description
// alone: it shares no code with the package.
func (d jsonDrv) aterm() string {
	q := func(s string) string {
		return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
	}
	list := func(items []string) string {
		out := make([]string, len(items))
		for i, s := range items {
			out[i] = q(s)
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	var outputs, inputs, env []string
	for _, name := range slices.Sorted(maps.Keys(d.Outputs)) {
		o := d.Outputs[name]
		outputs = append(outputs, "("+q(name)+","+q(o.Path)+","+q(o.HashAlgo)+","+q(o.Hash)+")")
	}
	for _, path := range slices.Sorted(maps.Keys(d.InputDrvs)) {
		names := slices.Sorted(slices.Values(d.InputDrvs[path].Outputs))
		inputs = append(inputs, "("+q(path)+","+list(names)+")")
	}
	for _, name := range slices.Sorted(maps.Keys(d.Env)) {
		env = append(env, "("+q(name)+","+q(d.Env[name])+")")
	}
	return "Derive([" + strings.Join(outputs, ",") + "],[" + strings.Join(inputs, ",") + "]," +
		list(slices.Sorted(slices.Values(d.InputSrcs))) + "," + q(d.System) + "," + q(d.Builder) + "," + list(d.Args) +
		",[" + strings.Join(env, ",") + "])"
}

// TestHello is the whole build closure of nixpkgs' hello: every drv path and
// every output path follows.
func TestHello(t *testing.T) {
	var drvs map[string]jsonDrv
	if err := json.Unmarshal(corpus(t, "drv", "hello-ia-recursive-unresolved.drv"), &drvs); err != nil {
		t.Fatal(err)
	}
	s := store{}
	for path, jd := range drvs {
		if d := s.add(t, jd.Name, []byte(jd.aterm())); d.DrvPath().String() != path {
			t.Errorf("drv path %v, want %s", d.DrvPath(), path)
		}
	}
	cache, kinds, outputs := NewModuloCache(s.load), map[DrvKind]int{}, 0
	for path, d := range s {
		if kinds[d.Kind()]++; d.Kind() == InputAddressed {
			outputs += len(d.Outputs)
		}
		if _, err := cache.Match(d); err != nil {
			t.Errorf("%v: %v", path, err)
		}
		m, err1 := cache.Modulo(d, Merge)
		c, err2 := cache.Modulo(d, Clobber)
		if err1 != nil || err2 != nil || m != c {
			t.Errorf("%v: variants differ, %v, %v", path, err1, err2)
		}
	}
	if len(s) != 275 || outputs != 396 || kinds[Fixed] != 101 || kinds[InputAddressed] != 174 {
		t.Errorf("%d derivations, %d input-addressed outputs, %v", len(s), outputs, kinds)
	}
}

// TestHelloCA is the content-addressed variant.
func TestHelloCA(t *testing.T) {
	var drvs map[string]string
	if err := json.Unmarshal(corpus(t, "drv", "hello-ca-recursive-unresolved-aterm.json"), &drvs); err != nil {
		t.Fatal(err)
	}
	s := store{}
	for path, text := range drvs {
		name := strings.TrimSuffix(mustPath(t, path).Name(), ".drv")
		if d := s.add(t, name, []byte(text)); d.DrvPath().String() != path {
			t.Errorf("drv path %v, want %s", d.DrvPath(), path)
		}
	}
	cache, kinds := NewModuloCache(s.load), map[DrvKind]int{}
	for path, d := range s {
		kinds[d.Kind()]++
		if _, err := cache.Match(d); err != nil {
			t.Errorf("%v: %v", path, err)
		}
	}
	if len(s) != 275 || kinds[Fixed] != 101 || kinds[FloatingCA] != 174 {
		t.Errorf("%d derivations, %v", len(s), kinds)
	}
}

// hashModuloCorpus loads the derivations of the known answers.
func hashModuloCorpus(t *testing.T) (store, map[string]*Derivation) {
	s, byFile := store{}, map[string]*Derivation{}
	for file, name := range map[string]string{
		"source-first": "source", "source-second": "source",
		"intermediate-first": "intermediate", "intermediate-second": "intermediate",
		"parent-joined": "parent", "parent-split": "parent",
	} {
		byFile[file] = s.add(t, name, corpus(t, "nix", "derivation", "hash-modulo", file+".drv"))
	}
	return s, byFile
}

// TestHashModuloKnownAnswers compares with the unparsed texts of Nix's test
// suite, where two inputs coincide.
func TestHashModuloKnownAnswers(t *testing.T) {
	s, byFile := hashModuloCorpus(t)
	cache := NewModuloCache(s.load)
	for _, file := range []string{"intermediate-first", "intermediate-second", "parent-joined", "parent-split"} {
		want := Hash(sha256Sum(string(corpus(t, "nix", "derivation", "hash-modulo", file+"-modulo.drv"))))
		if got, err := cache.Modulo(byFile[file], Merge); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", file, got, err, want)
		}
	}
	// Clobbering keeps only the outputs of the input that comes last: dev.
	text := strings.Replace(string(corpus(t, "nix", "derivation", "hash-modulo", "parent-split-modulo.drv")), `["dev","out"]`, `["dev"]`, 1)
	if got, err := cache.Modulo(byFile["parent-split"], Clobber); err != nil || got != Hash(sha256Sum(text)) {
		t.Errorf("clobbered: %v, %v", got, err)
	}
}

// TestMatchSaysVariant gives a derivation the path that follows under each
// variant.
func TestMatchSaysVariant(t *testing.T) {
	s, byFile := hashModuloCorpus(t)
	cache := NewModuloCache(s.load)
	for _, v := range []Variant{Merge, Clobber} {
		h, err := cache.Modulo(byFile["parent-split"], v)
		if err != nil {
			t.Fatal(err)
		}
		p, err := OutputPath(DefaultStoreDir, h, "parent", "out")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(byFile["parent-split"].Raw), `("out","",`, `("out","`+p.String()+`",`, 1)
		d, err := ParseDerivation(DefaultStoreDir, "parent", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := cache.Match(d); err != nil || got != (Modulo{h, v}) {
			t.Errorf("%v: %v, %v", v, got, err)
		}
	}
}

func TestModuloRefuses(t *testing.T) {
	s, byFile := hashModuloCorpus(t)
	missing := NewModuloCache(store{}.load)
	if _, err := missing.Modulo(byFile["parent-joined"], Merge); err == nil || !strings.Contains(err.Error(), "intermediate.drv") {
		t.Errorf("missing input: %v", err)
	}
	lying := NewModuloCache(func(p StorePath) (*Derivation, error) {
		if p.Name() == "source.drv" {
			return byFile["source-first"], nil
		}
		return s.load(p)
	})
	if _, err := lying.Modulo(byFile["intermediate-second"], Merge); !errors.Is(err, ErrWrongDrvPath) {
		t.Errorf("input of another path: %v", err)
	}
}

// A chain of inputs may be as long as it may be, whatever was asked before.
func TestModuloBoundsTheDepth(t *testing.T) {
	s := store{}
	var chain []*Derivation // from what needs nothing up
	input := ""
	for len(chain) <= MaxDrvDepth {
		d := s.add(t, "x", []byte(`Derive([("out","","","")],[`+input+`],[],"s","b",[],[])`))
		chain = append(chain, d)
		input = `("` + d.DrvPath().String() + `",["out"])`
	}
	long, longest := chain[MaxDrvDepth], chain[MaxDrvDepth-1]
	cache := NewModuloCache(s.load)
	if _, err := cache.Modulo(long, Merge); !errors.Is(err, ErrDrvDepth) {
		t.Errorf("one more than the bound: %v", err)
	}
	want, err := cache.Modulo(longest, Merge)
	if err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if _, err := cache.Modulo(long, Merge); !errors.Is(err, ErrDrvDepth) {
		t.Errorf("one more, when all the others are known: %v", err)
	}
	for _, d := range chain[:MaxDrvDepth] { // never deep
		if _, err := cache.Modulo(d, Clobber); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := cache.Modulo(longest, Clobber); err != nil || got != want {
		t.Errorf("step by step: %v, %v, want %v", got, err, want)
	}
	if _, err := cache.Modulo(long, Clobber); !errors.Is(err, ErrDrvDepth) {
		t.Errorf("one more, step by step: %v", err)
	}
}

func TestModuloCacheConcurrently(t *testing.T) {
	s, byFile := hashModuloCorpus(t)
	cache := NewModuloCache(s.load)
	var wg sync.WaitGroup
	for range 8 {
		for _, d := range byFile {
			wg.Go(func() {
				if _, err := cache.Modulo(d, Merge); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

func TestOutputPathRefuses(t *testing.T) {
	for name, output := range map[string]string{"empty": "", "slash": "a/b", "bang": "a!b", "too long": strings.Repeat("o", 212)} {
		if p, err := OutputPath(DefaultStoreDir, Hash{}, "n", output); !errors.Is(err, ErrStorePath) {
			t.Errorf("output %s: %v, %v", name, p, err)
		}
	}
	if p, err := OutputPath("relative", Hash{}, "n", "out"); !errors.Is(err, ErrStoreDir) {
		t.Errorf("bad store: %v, %v", p, err)
	}
	if p, err := OutputPath(DefaultStoreDir, Hash{}, filepath.Join("a", "b"), "out"); !errors.Is(err, ErrStorePath) {
		t.Errorf("bad name: %v, %v", p, err)
	}
}

// IsOutputPath says of a path what OutputPath says.
func TestIsOutputPath(t *testing.T) {
	modulo := Hash{1, 2, 3}
	for _, output := range []string{"out", "dev", "bin-out", "outt"} {
		p, err := OutputPath("/srv/store", modulo, "hello-2.12", output)
		if err != nil {
			t.Fatal(err)
		}
		if !IsOutputPath(p, modulo, "hello-2.12", output) {
			t.Errorf("output %s: %s is not the path", output, p)
		}
		other, _ := DefaultStoreDir.FromBase(p.Base())
		digit := "0"
		if strings.HasSuffix(p.HashPart(), digit) {
			digit = "1"
		}
		wrong, _ := p.Dir().FromBase(p.HashPart()[:HashPartLen-1] + digit + "-" + p.Name())
		longer, _ := p.Dir().FromBase(p.Base() + "-out")
		if IsOutputPath(other, modulo, "hello-2.12", output) || IsOutputPath(wrong, modulo, "hello-2.12", output) || IsOutputPath(longer, modulo, "hello-2.12", output) ||
			IsOutputPath(p, Hash{1, 2}, "hello-2.12", output) || IsOutputPath(p, modulo, "hello", output) || IsOutputPath(p, modulo, "hello-2.12", "doc") || IsOutputPath(StorePath{}, modulo, "", output) {
			t.Errorf("output %s: a path that does not follow is accepted", output)
		}
	}
	empty, _ := DefaultStoreDir.FromBase(strings.Repeat("0", HashPartLen) + "-n-")
	hash := hashPart(DefaultStoreDir, "output:", modulo, "n-")
	made, _ := DefaultStoreDir.FromBase(string(hash[:]) + "-n-")
	if IsOutputPath(empty, modulo, "n", "") || IsOutputPath(made, modulo, "n", "") {
		t.Error("an output without a name has a path")
	}
	p, _ := OutputPath(DefaultStoreDir, modulo, "hello-2.12", "dev")
	if n := testing.AllocsPerRun(10, func() { IsOutputPath(p, modulo, "hello-2.12", "dev") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHelloModulo(b *testing.B) {
	var drvs map[string]jsonDrv
	if err := json.Unmarshal(corpus(b, "drv", "hello-ia-recursive-unresolved.drv"), &drvs); err != nil {
		b.Fatal(err)
	}
	s := store{}
	for _, jd := range drvs {
		s.add(b, jd.Name, []byte(jd.aterm()))
	}
	for b.Loop() {
		cache := NewModuloCache(s.load)
		for _, d := range s {
			if _, err := cache.Match(d); err != nil {
				b.Fatal(err)
			}
		}
	}
}

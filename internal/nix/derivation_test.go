package nix

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const sampleDrv = `Derive([("out","/nix/store/w4bk7hpyxzgy2gx8fsa8f952435pll3i-filled-in-already","","")],[],[],"x86_64-linux","/bin/sh",[],[("__doc","Correct path stays unchanged"),("out","/nix/store/w4bk7hpyxzgy2gx8fsa8f952435pll3i-filled-in-already")])`

// noInputs is a cache for derivations without inputs.
func noInputs() *ModuloCache {
	return NewModuloCache(func(p StorePath) (*Derivation, error) { return nil, errors.New("no input " + p.String()) })
}

// TestFilledIn are known answers of Nix's test suite
// (corpus/nix/derivation/invariants).
func TestFilledIn(t *testing.T) {
	for name, text := range map[string]string{
		"filled-in-already": sampleDrv,
		"filled-in-deferred-empty-env-var": `Derive([("out","/nix/store/bilpz1nq8qi9r3bzsp72n34yjgqg43ws-filled-in-deferred-empty-env-var","","")],[],[],"x86_64-linux","/bin/sh",[],` +
			`[("__doc","Fill in deferred output with empty env var"),("out","/nix/store/bilpz1nq8qi9r3bzsp72n34yjgqg43ws-filled-in-deferred-empty-env-var")])`,
	} {
		d, err := ParseDerivation(DefaultStoreDir, name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if d.Kind() != InputAddressed {
			t.Errorf("%s is %v", name, d.Kind())
		}
		if m, err := noInputs().Match(d); err != nil || m.Variant != Merge || m.Hash.IsZero() {
			t.Errorf("%s: %v, %v", name, m, err)
		}
		bad := strings.Replace(text, `"x86_64-linux"`, `"aarch64-linux"`, 1)
		if d, err = ParseDerivation(DefaultStoreDir, name, []byte(bad)); err != nil {
			t.Fatal(err)
		}
		if _, err := noInputs().Match(d); !errors.Is(err, ErrOutputPath) {
			t.Errorf("%s for another system: %v", name, err)
		}
	}
}

func TestParseDerivationKinds(t *testing.T) {
	for _, tt := range []struct {
		outputs string
		kind    DrvKind
	}{
		{`("out","/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-n","","")`, InputAddressed},
		{`("dev","/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-n-dev","",""),("out","/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-n","","")`, InputAddressed},
		{`("out","","r:sha256","")`, FloatingCA},
		{`("out","","text:sha256","")`, FloatingCA},
		{`("a","","sha256",""),("b","","r:sha256","")`, FloatingCA},
		{`("out","","","")`, Deferred},
	} {
		text := `Derive([` + tt.outputs + `],[],[],"s","b",["\"\\\n\r\t"],[("a","1"),("b","2")])`
		d, err := ParseDerivation(DefaultStoreDir, "n", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", tt.outputs, err)
			continue
		}
		if d.Kind() != tt.kind || d.System != "s" || d.Builder != "b" || d.Args[0] != "\"\\\n\r\t" {
			t.Errorf("%s: %v %+v", tt.outputs, d.Kind(), d)
		}
		if v, ok := d.LookupEnv("b"); v != "2" || !ok {
			t.Errorf("b is %q, %v", v, ok)
		}
		if _, ok := d.LookupEnv("c"); ok {
			t.Error("c is set")
		}
		if got := d.unparse(d.pathInputs(), false); !bytes.Equal(got, []byte(text)) {
			t.Errorf("written back as %s", got)
		}
		if _, ok := d.ContentAddress(); ok {
			t.Errorf("%s declares its content", tt.outputs)
		}
	}
}

func TestFixedDerivations(t *testing.T) {
	const hexHash = "894517c9163c896ec31a2adbd33c0681fd5f45b2c0ef08a64c92a03fb97f390f"
	for algo, method := range map[string]Method{"sha256": Flat, "r:sha256": Recursive, "text:sha256": Text, "git:sha256": Git} {
		ca := ContentAddress{method, "sha256", unhex(t, hexHash)}
		p, err := FixedOutputPath(DefaultStoreDir, "n", ca, Refs{})
		if err != nil {
			t.Fatal(err)
		}
		text := `Derive([("out","` + p.String() + `","` + algo + `","` + hexHash + `")],[],[],"","",[],[])`
		d, err := ParseDerivation(DefaultStoreDir, "n", []byte(text))
		if err != nil || d.Kind() != Fixed {
			t.Errorf("%s: %v", algo, err)
			continue
		}
		upper := strings.Replace(text, hexHash, strings.ToUpper(hexHash), 1)
		if _, err := ParseDerivation(DefaultStoreDir, "n", []byte(upper)); !errors.Is(err, ErrDerivation) {
			t.Errorf("%s in upper case: %v", algo, err)
		}
		if got, ok := d.ContentAddress(); !ok || got.String() != ca.String() {
			t.Errorf("%s: declares %v", algo, got)
		}
		masked, err := noInputs().Modulo(d, Merge)
		if want := Hash(sha256Sum("fixed:out:" + algo + ":" + hexHash + ":" + p.String())); err != nil || masked != want {
			t.Errorf("%s: modulo %v, %v", algo, masked, err)
		}
	}
}

func TestParseDerivationRefuses(t *testing.T) {
	const (
		in  = `("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv",["out"])`
		in2 = `("/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-b.drv",["out"])`
		src = `"/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a"`
		hx  = "894517c9163c896ec31a2adbd33c0681fd5f45b2c0ef08a64c92a03fb97f390f"
	)
	drv := func(outputs, inputs, srcs, rest string) string {
		return `Derive([` + outputs + `],[` + inputs + `],[` + srcs + `],` + rest + `)`
	}
	const out, rest = `("out","","","")`, `"s","b",[],[]`
	if _, err := ParseDerivation(DefaultStoreDir, "n", []byte(drv(out, in+","+in2, src, rest))); err != nil {
		t.Fatalf("the pattern: %v", err)
	}
	bad := map[string]string{
		"empty":                    "",
		"no derivation":            "hello",
		"unknown version":          `DrvWithVersion("invalid-version",[],[],[],"s","b",[],[])`,
		"trailing line feed":       drv(out, "", "", rest) + "\n",
		"trailing bytes":           drv(out, "", "", rest) + ")",
		"cut off":                  strings.TrimSuffix(drv(out, "", "", rest), ")"),
		"white space":              drv(out, "", "", `"s", "b",[],[]`),
		"no outputs":               drv("", "", "", rest),
		"outputs out of order":     drv(`("out","","",""),("dev","","","")`, "", "", rest),
		"output twice":             drv(out+","+out, "", "", rest),
		"output without a name":    drv(`("","","","")`, "", "", rest),
		"output named a/b":         drv(`("a/b","","","")`, "", "", rest),
		"output name too long":     drv(`("`+strings.Repeat("o", 210)+`","","","")`, "", "", rest),
		"kinds mixed":              drv(`("a","","",""),("b","","r:sha256","")`, "", "", rest),
		"floating with a path":     drv(`("out",`+src+`,"r:sha256","")`, "", "", rest),
		"hash without algorithm":   drv(`("out",`+src+`,"","`+hx+`")`, "", "", rest),
		"fixed without a path":     drv(`("out","","r:sha256","`+hx+`")`, "", "", rest),
		"fixed, another path":      drv(`("out",`+src+`,"r:sha256","`+hx+`")`, "", "", rest),
		"fixed, upper-case hash":   drv(`("out",`+src+`,"r:sha256","`+strings.ToUpper(hx)+`")`, "", "", rest),
		"unknown algorithm":        drv(`("out","","r:sha3","")`, "", "", rest),
		"text of SHA-1":            drv(`("out","","text:sha1","")`, "", "", rest),
		"path of another name":     drv(`("out","/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-m","","")`, "", "", rest),
		"path of another store":    drv(`("out","/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-n","","")`, "", "", rest),
		"inputs out of order":      drv(out, in2+","+in, "", rest),
		"input twice":              drv(out, in+","+in, "", rest),
		"input of no outputs":      drv(out, `("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv",[])`, "", rest),
		"input outputs disordered": drv(out, `("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv",["out","dev"])`, "", rest),
		"input is no derivation":   drv(out, `("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a",["out"])`, "", rest),
		"input of another store":   drv(out, `("/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv",["out"])`, "", rest),
		"source twice":             drv(out, "", src+","+src, rest),
		"source below a path":      drv(out, "", `"/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a/b"`, rest),
		"variables out of order":   drv(out, "", "", `"s","b",[],[("b","1"),("a","2")]`),
		"variable twice":           drv(out, "", "", `"s","b",[],[("a","1"),("a","2")]`),
		"comma at a list's end":    drv(out, "", "", `"s","b",["x",],[]`),
		"comma in an empty list":   drv(out, "", "", `"s","b",[,],[]`),
		"missing comma":            drv(out, "", "", `"s","b",["x""y"],[]`),
		"needless escape":          drv(out, "", "", `"\s","b",[],[]`),
		"raw line feed":            drv(out, "", "", "\"\n\",\"b\",[],[]"),
		"raw tab after an escape":  drv(out, "", "", "\"\\n\t\",\"b\",[],[]"),
		"backslash at the end":     `Derive([],[],[],"\`,
		"unterminated string":      `Derive([],[],[],"x`,
	}
	for name, text := range bad {
		if d, err := ParseDerivation(DefaultStoreDir, "n", []byte(text)); !errors.Is(err, ErrDerivation) {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	publish(t, "derivation-reject", "spec/nix.md#derivations: the text of n.drv in /nix/store", rejects(bad))
	impure := drv(`("out","","r:sha256","impure")`, "", "", rest)
	if _, err := ParseDerivation(DefaultStoreDir, "n", []byte(impure)); !errors.Is(err, ErrImpureDerivation) {
		t.Errorf("impure: %v", err)
	}
	dynamic := drv(out, `("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv",(["out"],[("x",["y"])]))`, "", rest)
	if _, err := ParseDerivation(DefaultStoreDir, "n", []byte(dynamic)); !errors.Is(err, ErrDynamicDerivation) {
		t.Errorf("dynamic: %v", err)
	}
	for name, call := range map[string]func() (*Derivation, error){
		"bad store": func() (*Derivation, error) {
			return ParseDerivation("/nix/store/", "n", []byte(drv(out, "", "", rest)))
		},
		"no name": func() (*Derivation, error) {
			return ParseDerivation(DefaultStoreDir, "", []byte(drv(out, "", "", rest)))
		},
		"long name": func() (*Derivation, error) {
			return ParseDerivation(DefaultStoreDir, strings.Repeat("n", 208), []byte(drv(out, "", "", rest)))
		},
	} {
		if _, err := call(); !errors.Is(err, ErrDerivation) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCorpusDerivations: files of Nix's test suite that are not proper
// derivations are refused for the right reason.
func TestCorpusDerivations(t *testing.T) {
	for name, want := range map[string]error{
		"dyn-dep-derivation":       ErrDynamicDerivation,
		"bad-old-version-dyn-deps": ErrDynamicDerivation,
		"bad-version":              ErrDerivation,
		"bad-ca-fixed-path":        ErrDerivation,
		"simple-derivation":        ErrDerivation, // no outputs
		"hello":                    ErrDerivation, // made anonymous: inputs out of order
		"firefox":                  ErrDerivation,
	} {
		b := corpus(t, "nix", "derivation", name+".drv")
		if _, err := ParseDerivation(DefaultStoreDir, name, b); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	// The syntax of simple-derivation is fine.
	b := corpus(t, "nix", "derivation", "simple-derivation.drv")
	d, err := parseATerm(DefaultStoreDir, "simple-derivation", b)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.unparse(d.pathInputs(), false); !bytes.Equal(got, b) {
		t.Errorf("written back as %s", got)
	}
}

func TestStructuredAttrs(t *testing.T) {
	text := `Derive([("out","","","")],[],[],"s","b",[],[("__json","{\"a\":[1,\"\\n\"]}"),("out","")])`
	d, err := ParseDerivation(DefaultStoreDir, "n", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if json, ok := d.StructuredAttrs(); !ok || json != `{"a":[1,"\n"]}` {
		t.Errorf("%q, %v", json, ok)
	}
}

func FuzzDerivation(f *testing.F) {
	f.Add([]byte(sampleDrv))
	f.Add([]byte(`Derive([("out","","r:sha256","")],[("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv",["dev","out"])],["/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a"],"s","b",["\"\\\n\r\t"],[("a","1"),("b","2")])`))
	f.Add([]byte(`Derive([("out","/nix/store/i00sflxqsj37lfmf95m8mn0grv615hpj-source","r:sha256","894517c9163c896ec31a2adbd33c0681fd5f45b2c0ef08a64c92a03fb97f390f")],[],[],"x86_64-linux","/bin/first",[],[("out","/nix/store/i00sflxqsj37lfmf95m8mn0grv615hpj-source")])`))
	corpusSeeds(f, "nix/derivation/*.drv")
	corpusSeeds(f, "nix/derivation/hash-modulo/*.drv")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"source", "filled-in-already"} {
			d, err := ParseDerivation(DefaultStoreDir, name, b)
			if err != nil {
				continue
			}
			if got := d.unparse(d.pathInputs(), false); !bytes.Equal(got, b) {
				t.Errorf("%q\nwritten back as %q", b, got)
			}
			if d.DrvPath().IsZero() {
				t.Error("no drv path")
			}
		}
	})
}

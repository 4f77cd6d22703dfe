package nix

import (
	"errors"
	"testing"
)

func TestContentAddress(t *testing.T) {
	for _, s := range []string{
		"text:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh",
		"fixed:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh",
		"fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh",
		"fixed:r:sha1:143xibwh31h9bvxzalr0sjvbbvpa6ffs",
		"fixed:git:sha1:143xibwh31h9bvxzalr0sjvbbvpa6ffs",
	} {
		ca, err := ParseContentAddress(s)
		if err != nil || ca.String() != s {
			t.Errorf("%q: %v, %v", s, ca, err)
		}
	}
	for name, s := range map[string]string{
		"empty":          "",
		"no method":      "sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh",
		"unknown method": "fixed:x:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh",
		"text of SHA-1":  "text:sha1:143xibwh31h9bvxzalr0sjvbbvpa6ffs",
		"git of MD5":     "fixed:git:md5:3y8bwfr609h3lh9ch0izcqq7fl",
		"text:r:":        "text:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh",
		"SRI":            "fixed:r:sha256-EMIJ+giQ/gLIWoxmPKjno3zHZrxbGymgzGGyZvZBIdM=",
		"wrong length":   "fixed:r:sha256:143xibwh31h9bvxzalr0sjvbbvpa6ffs",
	} {
		if ca, err := ParseContentAddress(s); !errors.Is(err, ErrContentAddress) {
			t.Errorf("%s: %v, %v", name, ca, err)
		}
	}
}

func TestFixedOutputPathRefuses(t *testing.T) {
	sha256 := make([]byte, 32)
	other := Refs{Others: []StorePath{mustPath(t, somePath+"x")}}
	for name, tt := range map[string]struct {
		name string
		ca   ContentAddress
		refs Refs
	}{
		"flat with references":        {"n", ContentAddress{Flat, "sha256", sha256}, other},
		"flat that refers to itself":  {"n", ContentAddress{Flat, "sha256", sha256}, Refs{Self: true}},
		"SHA-1 NAR with references":   {"n", ContentAddress{Recursive, "sha1", sha256[:20]}, other},
		"text that refers to itself":  {"n", ContentAddress{Text, "sha256", sha256}, Refs{Self: true}},
		"reference in another store":  {"n", ContentAddress{Recursive, "sha256", sha256}, Refs{Others: []StorePath{mustPath(t, "/s/"+somePath[11:]+"x")}}},
		"hash of another length":      {"n", ContentAddress{Recursive, "sha256", sha256[:20]}, Refs{}},
		"no method":                   {"n", ContentAddress{0, "sha256", sha256}, Refs{}},
		"name that is no name":        {"a b", ContentAddress{Recursive, "sha256", sha256}, Refs{}},
		"algorithm that Nix does not": {"n", ContentAddress{Recursive, "sha3", sha256}, Refs{}},
	} {
		if p, err := FixedOutputPath(DefaultStoreDir, tt.name, tt.ca, tt.refs); err == nil {
			t.Errorf("%s: %v", name, p)
		}
	}
}

// TestFixedOutputPathRefs: order and repetition of references do not matter,
// each of them does.
func TestFixedOutputPathRefs(t *testing.T) {
	ca := ContentAddress{Recursive, "sha256", make([]byte, 32)}
	a, b := mustPath(t, somePath+"a"), mustPath(t, somePath+"b")
	path := func(r Refs) StorePath {
		p, err := FixedOutputPath(DefaultStoreDir, "n", ca, r)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if path(Refs{Others: []StorePath{a, b}}) != path(Refs{Others: []StorePath{b, a, b}}) {
		t.Error("the order of references matters")
	}
	seen := map[StorePath]bool{}
	for _, r := range []Refs{{}, {Self: true}, {Others: []StorePath{a}}, {Others: []StorePath{a}, Self: true}, {Others: []StorePath{a, b}}} {
		seen[path(r)] = true
	}
	if len(seen) != 5 {
		t.Errorf("5 sets of references gave %d paths", len(seen))
	}
}

func FuzzContentAddress(f *testing.F) {
	f.Add("fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh")
	f.Add("text:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh")
	f.Fuzz(func(t *testing.T, s string) {
		ca, err := ParseContentAddress(s)
		if err != nil {
			return
		}
		again, err := ParseContentAddress(ca.String())
		if err != nil || again.String() != ca.String() {
			t.Errorf("%q: %v, %v", s, again, err)
		}
		m, algo, err := parseMethodAlgo(ca.MethodAlgo())
		if err != nil || m != ca.Method || algo != ca.Algo {
			t.Errorf("%q: %v %v %v", ca.MethodAlgo(), m, algo, err)
		}
	})
}

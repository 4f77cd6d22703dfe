package hydra

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

func TestNothingSecretIsInAnInput(t *testing.T) {
	for uri, want := range map[string]string{
		"https://git.example/nixpkgs.git":            "https://git.example/nixpkgs.git",
		"https://u:hunter2@git.example/x":            "https://git.example/x",
		"https://hunter2@git.example":                "https://git.example",
		"git:hunter2@git.example/x":                  "git.example/x",
		"git+ssh://git@git.example/x?token=hunter2":  "git+ssh://git@git.example/x",
		"https://a@hunter2@git.example/x":            "https://git.example/x",
		"git@git.example:x/y.git":                    "git@git.example:x/y.git",
		"hunter2@git.example:x":                      "git.example:x",
		"github:NixOS/nixpkgs?token=hunter2":         "github:NixOS/nixpkgs",
		"https://git.example/x#hunter2":              "https://git.example/x",
		"https://git.example/x master hunter2":       "https://git.example/x",
		"svn:///u:hunter2@git.example/":              "",
		"https://mirror/https://u:hunter2@x.example": "",
		"git::https://u:hunter2@git.example/x":       "git::https://git.example/x",
	} {
		if got := bareURI(uri); got != want || strings.Contains(got, "hunter2") {
			t.Errorf("%s becomes %q, want %q", uri, got, want)
		}
	}
	const rev = "0123456789012345678901234567890123456789"
	for flake, want := range map[string]string{"github:NixOS/nixpkgs/" + rev: rev, "git+https://h/x?rev=" + rev + "&token=1": rev, "github:NixOS/nixpkgs": ""} {
		in := inputsOf(&wireEval{Flake: &flake})
		if len(in) != 1 || in[0].Name != "flake" || in[0].Revision != want {
			t.Errorf("%s: %+v", flake, in)
		}
	}
	// What no statement holds is left out: a name, a long address, a long revision.
	p := func(s string) *string { return &s }
	in := inputsOf(&wireEval{Inputs: map[string]wireInput{
		"a b": {p("git"), p("https://h/x"), p(rev)}, "long": {p("git"), p("https://h/" + strings.Repeat("x", 300)), p(rev)},
		"rev": {p("git"), p("https://h/x"), p(strings.Repeat("x", 200))}, "value": {p("string"), nil, nil}, "empty": {},
	}})
	if fmt.Sprint(in) != "[{long git  "+rev+"} {rev git https://h/x }]" {
		t.Errorf("%v", in)
	}
	many := make(map[string]wireInput)
	for i := range 50 {
		many[fmt.Sprintf("i%02d", i)] = wireInput{p("git"), p("https://h/x"), nil}
	}
	if in := inputsOf(&wireEval{Inputs: many}); len(in) != maxInputs || in[31].Name != "i31" {
		t.Errorf("%d inputs", len(in))
	}
}

// A list that does not fit in a leaf goes beside it, whatever its length.
func TestLongListsAreBlobs(t *testing.T) {
	s := logtest.Signer(t, "importer")
	blobs := 0
	for _, n := range []int{1, 200, 900, 1700, 3000} {
		var paths, drvs []nix.StorePath
		for i := range n {
			paths, drvs = append(paths, storePath(t, fmt.Sprintf("p%d", i))), append(drvs, storePath(t, fmt.Sprintf("p%d.drv", i)))
		}
		paths, drvs = sorted(paths), sorted(drvs)
		e, err := evalItem(t.Context(), s, &statement.Eval{Name: "a.b", StoreDir: nix.DefaultStoreDir}, drvs)
		if err != nil {
			t.Fatal(err)
		}
		c, err := closureItem(t.Context(), s, &statement.Closure{Name: "a.b-1", StoreDir: nix.DefaultStoreDir}, paths)
		if err != nil {
			t.Fatal(err)
		}
		eval, closure := e.Of.(*statement.Statement).Body.(*statement.Eval), c.Of.(*statement.Statement).Body.(*statement.Closure)
		if eval.Count != uint64(n) || (eval.Drvs == nil) != (len(e.Blobs) == 1) || e.Blobs != nil && !bytes.Equal(e.Blobs[0], statement.PathsBlob(drvs)) {
			t.Errorf("%d: eval with %d, %d blobs", n, len(eval.Drvs), len(e.Blobs))
		}
		if closure.Count != uint64(n) || (closure.Paths == nil) != (len(c.Blobs) == 1) || c.Blobs != nil && !bytes.Equal(c.Blobs[0], statement.PathsBlob(paths)) {
			t.Errorf("%d: closure with %d, %d blobs", n, len(closure.Paths), len(c.Blobs))
		}
		blobs += len(e.Blobs) + len(c.Blobs)
	}
	if blobs < 3 || blobs > 7 {
		t.Errorf("%d lists beside their leaves", blobs)
	}
}

func TestJobsetNames(t *testing.T) {
	for _, good := range []string{"nixpkgs/trunk", "nixos/release-24.05", "p/.jobsets"} {
		n, err := ParseJobsetName(good)
		if err != nil || n.String() != good || nix.CheckName(closureName(n, 1<<53)) != nil {
			t.Errorf("%s: %v %v", good, n, err)
		}
	}
	for _, bad := range []string{"", "nixpkgs", "a/", "/a", "a/b/c", "a/..", "../a", "a.b/c", "a/b?c", "a/b%2f", "a/" + strings.Repeat("x", 200)} {
		if n, err := ParseJobsetName(bad); err == nil {
			t.Errorf("%s is %v", bad, n)
		}
	}
}

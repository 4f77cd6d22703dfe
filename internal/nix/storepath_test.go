package nix

import (
	"errors"
	"strings"
	"testing"
)

const somePath = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-"

func TestParseStorePath(t *testing.T) {
	p := mustPath(t, somePath+"hello-2.12.drv")
	if p.Dir() != DefaultStoreDir || p.HashPart() != "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q" ||
		p.Name() != "hello-2.12.drv" || p.Base() != "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-hello-2.12.drv" || !p.IsDerivation() {
		t.Errorf("parts of %v are wrong", p)
	}
	var vectors []vector
	for _, s := range []string{
		somePath + "x",
		somePath + "0+-._?=azAZ",
		somePath + ".hidden",
		somePath + "..x",
		somePath + strings.Repeat("n", 211),
		"/s/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
		"/home/some.body_1/~store@x/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	} {
		p, err := ParseStorePath(s)
		if err != nil || p.String() != s {
			t.Errorf("%q: %v, %v", s, p, err)
		}
		vectors = append(vectors, vector{s, s, true, map[string]string{"storeDir": string(p.Dir()), "hashPart": p.HashPart(), "name": p.Name()}})
	}
	for name, s := range badStorePaths {
		if p, err := ParseStorePath(s); !errors.Is(err, ErrStorePath) && !errors.Is(err, ErrStoreDir) {
			t.Errorf("%s: %q gave %v, %v", name, s, p, err)
		}
	}
	publish(t, "store-path", "spec/nix.md#store-paths", append(vectors, rejects(badStorePaths)...))
}

var badStorePaths = map[string]string{
	"empty":               "",
	"relative":            "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"below a store path":  somePath + "x/bin/x",
	"trailing slash":      somePath + "x/",
	"no name":             strings.TrimSuffix(somePath, "-"),
	"empty name":          somePath,
	"name of one dot":     somePath + ".",
	"name of two dots":    somePath + "..",
	"name .-x":            somePath + ".-x",
	"name ..-x":           somePath + "..-x",
	"212 bytes":           somePath + strings.Repeat("n", 212),
	"letter e in hash":    "/nix/store/e1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"upper case in hash":  "/nix/store/G1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"31 characters":       "/nix/store/1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"33 characters":       "/nix/store/0g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"no hyphen":           "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3qxx",
	"space":               somePath + "a b",
	"colon":               somePath + "a:b",
	"line feed":           somePath + "a\n",
	"NUL":                 somePath + "a\x00",
	"not ASCII":           somePath + "ä",
	"unclean directory":   "/nix//store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"directory with ..":   "/nix/../store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"the root":            "/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"relative directory":  "nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"directory with ;":    "/nix;x/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"directory with :":    "/nix:x/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"directory with ,":    "/nix,x/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"directory too long":  "/" + strings.Repeat("d", MaxStoreDirLen) + "/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
	"control in the path": "/nix\x1b/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
}

func TestStoreDirParse(t *testing.T) {
	for _, s := range []string{
		"/nix/storeX/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
		"/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
		"/nix/store/.links/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x",
		"/nix/store",
	} {
		if p, err := DefaultStoreDir.Parse(s); !errors.Is(err, ErrStorePath) {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	if _, err := StoreDir("/nix/store/").FromBase("g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x"); !errors.Is(err, ErrStoreDir) {
		t.Errorf("store directory with a slash at its end: %v", err)
	}
	if !(StorePath{}).IsZero() || (StorePath{}).String() != "" || (StorePath{}).Name() != "" || (StorePath{}).HashPart() != "" {
		t.Error("the zero value is not none")
	}
}

func FuzzStorePath(f *testing.F) {
	f.Add(somePath + "hello-2.12.drv")
	f.Add("/s/" + somePath[11:] + "..-x")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseStorePath(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Errorf("%q became %q", s, p)
		}
		if q, err := p.Dir().FromBase(p.HashPart() + "-" + p.Name()); err != nil || q != p {
			t.Errorf("%q from its parts: %v, %v", s, q, err)
		}
	})
}

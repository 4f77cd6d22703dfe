package nix

import (
	"fmt"
	"strings"
	"testing"
)

// TestPublishDerivations publishes derivations of every kind with their paths
// and hashes. That these are right is shown by the corpus and by Nix itself.
func TestPublishDerivations(t *testing.T) {
	s := store{}
	fixed := func(way string) *Derivation {
		ca := ContentAddress{Recursive, "sha256", unhex(t, strings.Repeat("ab", 32))}
		p, err := FixedOutputPath(DefaultStoreDir, "src", ca, Refs{})
		if err != nil {
			t.Fatal(err)
		}
		return s.add(t, "src", fmt.Appendf(nil, `Derive([("out","%s","r:sha256","%s")],[],[],"builtin","%s",[],[("out","%s")])`, p, strings.Repeat("ab", 32), way, p))
	}
	// addressed gives the derivation the output paths that follow under v.
	addressed := func(name, format string, v Variant, inputs ...*Derivation) *Derivation {
		var paths []any
		for _, in := range inputs {
			paths = append(paths, in.DrvPath())
		}
		text := fmt.Sprintf(format, paths...)
		d, err := ParseDerivation(DefaultStoreDir, name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		h, err := NewModuloCache(s.load).Modulo(d, v)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range d.Outputs {
			p, err := OutputPath(DefaultStoreDir, h, name, o.Name)
			if err != nil {
				t.Fatal(err)
			}
			text = strings.Replace(text, `("`+o.Name+`","","","")`, `("`+o.Name+`","`+p.String()+`","","")`, 1)
			text = strings.Replace(text, `("`+o.Name+`","")`, `("`+o.Name+`","`+p.String()+`")`, 1)
		}
		return s.add(t, name, []byte(text))
	}
	const mid = `Derive([("dev","","",""),("out","","","")],[("%s",["out"])],[],"x86_64-linux","/bin/sh",["-c","echo \"a\\b\"\n\t"],[("dev",""),("name","mid"),("out","")])`
	a, b := addressed("mid", mid, Merge, fixed("curl")), addressed("mid", mid, Merge, fixed("wget"))
	if a.DrvPath().Compare(b.DrvPath()) > 0 {
		a, b = b, a
	}
	const two = `Derive([("out","","","")],[("%s",["dev"]),("%s",["out"])],[],"x86_64-linux","/bin/sh",[],[("out","")])`
	for _, v := range []Variant{Merge, Clobber} {
		addressed("two", two, v, a, b)
	}
	const floating = `Derive([("out","","r:sha256","")],[("%s",["out"])],["/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-builder.sh"],"x86_64-linux","/bin/sh",[],[("__json","{\"a\":1}"),("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9")])`
	f := s.add(t, "floating", fmt.Appendf(nil, floating, a.DrvPath()))
	s.add(t, "deferred", fmt.Appendf(nil, `Derive([("out","","","")],[("%s",["out"])],[],"x86_64-linux","/bin/sh",[],[("out","")])`, f.DrvPath()))

	var vectors []vector
	cache := NewModuloCache(s.load)
	for p, d := range s {
		match, err := cache.Match(d)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"kind": d.Kind().String(), "follows": match.Variant.String()}
		for _, v := range []Variant{Merge, Clobber} {
			h, err := cache.Modulo(d, v)
			if err != nil {
				t.Fatal(err)
			}
			want["masked "+v.String()] = h.Hex()
		}
		vectors = append(vectors, vector{p.String(), string(d.Raw), true, want})
	}
	publish(t, "derivation", "spec/nix.md#derivations: drv path, text, masked hash modulo in both variants, and the first of them from which the output paths follow", vectors)
}

func TestPublishPaths(t *testing.T) {
	h := strings.Repeat("ab", 32)
	a, b := mustPath(t, somePath+"a"), mustPath(t, somePath+"b")
	var vectors []vector
	for _, tt := range []struct {
		ca   string
		refs Refs
	}{
		{"text:sha256:" + h, Refs{}},
		{"text:sha256:" + h, Refs{Others: []StorePath{a, b}}},
		{"fixed:r:sha256:" + h, Refs{}},
		{"fixed:r:sha256:" + h, Refs{Others: []StorePath{b}}},
		{"fixed:r:sha256:" + h, Refs{Others: []StorePath{a, b}, Self: true}},
		{"fixed:r:sha256:" + h, Refs{Self: true}},
		{"fixed:r:sha512:" + h + h, Refs{}},
		{"fixed:sha256:" + h, Refs{}},
		{"fixed:md5:" + h[:32], Refs{}},
		{"fixed:git:sha1:" + h[:40], Refs{}},
	} {
		ca, err := ParseContentAddress(tt.ca)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []StoreDir{DefaultStoreDir, "/srv/other/store"} {
			var refs []string
			r := Refs{Self: tt.refs.Self}
			for _, p := range tt.refs.Others {
				q, err := dir.FromBase(p.Base())
				if err != nil {
					t.Fatal(err)
				}
				r.Others, refs = append(r.Others, q), append(refs, q.Base())
			}
			if r.Self {
				refs = append(refs, "self")
			}
			p, err := FixedOutputPath(dir, "name", ca, r)
			if err != nil {
				t.Fatal(err)
			}
			vectors = append(vectors, vector{p.String(), ca.String(), true, map[string]string{"storeDir": string(dir), "references": strings.Join(refs, " ")}})
		}
	}
	for _, output := range []string{"out", "dev"} {
		p, err := OutputPath(DefaultStoreDir, Hash(unhex(t, h)), "drv", output)
		if err != nil {
			t.Fatal(err)
		}
		vectors = append(vectors, vector{p.String(), "sha256:" + h + "!" + output, true, map[string]string{"storeDir": "/nix/store", "references": ""}})
	}
	publish(t, "path", "spec/nix.md#store-path-hash: content address or masked hash modulo, and what follows; names are \"name\" and \"drv\"", vectors)
}

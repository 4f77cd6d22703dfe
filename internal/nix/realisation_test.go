package nix

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// realisationKey is the key that Nix's test suite signs its known answers
// with.
const realisationKey = "test-key:tU7tTvLcScf8pmz/eTV0BEtLmRsPpZfKaRcd0nCN+pysBZPHSeg61/u2oc7mIOewfuAY1V1BiX32homTaDJ2Jw=="

func TestRealisationKnownAnswers(t *testing.T) {
	sk, err := ParseSecretKey(realisationKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"simple", "with-signature"} {
		r, err := ParseRealisation(DefaultStoreDir, corpus(t, "nix", "realisation", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.TrimSuffix(corpus(t, "nix", "realisation", name+"-fingerprint.txt"), []byte("\n"))
		if !bytes.Equal(r.Fingerprint(), want) {
			t.Errorf("%s: fingerprint %s\nwant %s", name, r.Fingerprint(), want)
		}
		if r.Form != ByDrvPath || r.Output != "foo" || r.DrvPath.Name() != "bar.drv" {
			t.Errorf("%s: %+v", name, r)
		}
		var sig struct{ KeyName, Sig string }
		if err := json.Unmarshal(corpus(t, "nix", "realisation", name+"-sig.json"), &sig); err != nil {
			t.Fatal(err)
		}
		if r.Verify(sk.Public()) {
			t.Errorf("%s: verified before it was signed", name)
		}
		signed := *r
		signed.Sigs = append(signed.Sigs, sig.KeyName+":"+sig.Sig)
		if !signed.Verify(sk.Public()) {
			t.Errorf("%s: the known signature is refused", name)
		}
		if r.Sign(sk); r.Sigs[len(r.Sigs)-1] != sig.KeyName+":"+sig.Sig {
			t.Errorf("%s: signed as %v", name, r.Sigs)
		}
		signed.Output = "bar"
		if signed.Verify(sk.Public()) {
			t.Errorf("%s: verified for another output", name)
		}
	}
	// Both ways to write signatures, and the value alone.
	a, err1 := ParseRealisation(DefaultStoreDir, corpus(t, "nix", "realisation", "with-signature.json"))
	b, err2 := ParseRealisation(DefaultStoreDir, corpus(t, "nix", "realisation", "with-signature-unstructured.json"))
	c, err3 := ParseRealisationValue(DefaultStoreDir, mustPath(t, somePath+"bar.drv"), "foo", corpus(t, "nix", "realisation", "unkeyed-with-signature.json"))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b, comparePaths) + cmp.Diff(a, c, comparePaths); diff != "" {
		t.Error(diff)
	}
	if len(a.Sigs) != 1 || !strings.HasPrefix(a.Sigs[0], "asdf:AAAA") {
		t.Errorf("signatures %v", a.Sigs)
	}
}

const (
	sampleModulo = "sha256:42cfa58bf5a281911b6c9471c67cf64f70a820b033415190db3da91710c5ff2c!"
	sampleV1     = `{"dependentRealisations":{"` + sampleModulo + `dev":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo-dev"},"id":"` + sampleModulo + `out","outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo","signatures":["a:b64","c:d"]}`
	sampleV3     = `{"key":{"drvPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv","outputName":"foo"},"value":{"outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo","signatures":[{"keyName":"a","sig":"b"}]}}`
)

func TestRealisationForms(t *testing.T) {
	r, err := ParseRealisation(DefaultStoreDir, []byte(sampleV1))
	if err != nil {
		t.Fatal(err)
	}
	if r.Form != ByModulo || r.Output != "out" || r.ID() != sampleModulo+"out" || r.OutPath != mustPath(t, somePath+"foo") ||
		len(r.Dependent) != 1 || r.Dependent[0].OutPath != mustPath(t, somePath+"foo-dev") || len(r.Sigs) != 2 {
		t.Errorf("%+v", r)
	}
	if got := string(r.Marshal()); got != sampleV1 {
		t.Errorf("written back as %s", got)
	}
	if want := strings.Replace(sampleV1, `,"signatures":["a:b64","c:d"]`, "", 1); string(r.Fingerprint()) != want {
		t.Errorf("fingerprint %s", r.Fingerprint())
	}
	// 2.34 writes no dependent realisations, and old files may lack the field: both sign {}.
	for _, text := range []string{
		`{"dependentRealisations": {}, "id":"` + sampleModulo + `out","outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo","signatures":[]}`,
		` {"id":"` + sampleModulo + `out", "outPath" : "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo"}` + "\n",
	} {
		r, err := ParseRealisation(DefaultStoreDir, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"dependentRealisations":{},"id":"` + sampleModulo + `out","outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo"}`; string(r.Fingerprint()) != want {
			t.Errorf("fingerprint %s", r.Fingerprint())
		}
	}
	r, err = ParseRealisation(DefaultStoreDir, []byte(sampleV3))
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Marshal()) != sampleV3 || r.ID() != somePath+"bar.drv!foo" {
		t.Errorf("%s written back as %s", r.ID(), r.Marshal())
	}
	again, err := ParseRealisationValue(DefaultStoreDir, r.DrvPath, r.Output, r.MarshalValue())
	if err != nil || !bytes.Equal(again.Marshal(), r.Marshal()) {
		t.Errorf("value: %v", err)
	}
}

func TestRealisationRefuses(t *testing.T) {
	replace := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("no %q in the sample", old)
		}
		return strings.Replace(s, old, new, 1)
	}
	const path = `"outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo"`
	bad := map[string]string{
		"empty":                  "",
		"no object":              "[]",
		"null":                   "null",
		"empty object":           "{}",
		"bytes after it":         sampleV1 + "x",
		"second object":          sampleV1 + sampleV1,
		"NUL after it":           sampleV1 + "\x00",
		"cut off":                sampleV1[:len(sampleV1)-1],
		"unknown key":            replace(sampleV1, `"id"`, `"x":"y","id"`),
		"key in another case":    replace(sampleV1, `"outPath"`, `"OutPath"`),
		"key twice":              replace(sampleV1, path, path+","+path),
		"no outPath":             replace(sampleV1, ","+path, ""),
		"no id":                  replace(sampleV1, `"id":"`+sampleModulo+`out",`, ""),
		"id in nixbase32":        replace(sampleV1, sampleModulo+"out", "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73!out"),
		"id in upper case":       replace(sampleV1, sampleModulo+"out", strings.ToUpper(sampleModulo[7:])+"out"),
		"id without output":      replace(sampleV1, sampleModulo+"out", strings.TrimSuffix(sampleModulo, "!")),
		"id with empty output":   replace(sampleV1, sampleModulo+"out", sampleModulo),
		"output with a bang":     replace(sampleV1, sampleModulo+"out", sampleModulo+"a!b"),
		"full path":              replace(sampleV1, `"outPath":"`, `"outPath":"/nix/store/`),
		"bad dependent id":       replace(sampleV1, `{"`+sampleModulo+"dev", `{"x!dev`),
		"escape":                 replace(sampleV1, "-foo-dev", `-foo\u002ddev`),
		"escaped solidus":        replace(sampleV1, "a:b64", `a:b\/4`),
		"signature without name": replace(sampleV1, "a:b64", ":b64"),
		"signature of one word":  replace(sampleV1, "a:b64", "ab64"),
		"signature is a number":  replace(sampleV1, `"a:b64"`, "1"),
		"two forms":              replace(sampleV1, `"id"`, `"key":{"drvPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv","outputName":"foo"},"id"`),
		"path beside the value":  replace(sampleV3, `"key"`, path+`,"key"`),
		"trailing comma":         replace(sampleV3, `"foo"}`, `"foo",}`),
		"key without output":     replace(sampleV3, `,"outputName":"foo"`, ""),
		"key without drv":        replace(sampleV3, `"drvPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv",`, ""),
		"drv that is none":       replace(sampleV3, "-bar.drv", "-bar"),
		"value without path":     replace(sampleV3, path+",", ""),
		"unknown key in key":     replace(sampleV3, `"outputName"`, `"x":"y","outputName"`),
		"unknown key in value":   replace(sampleV3, `"signatures"`, `"x":"y","signatures"`),
		"unknown key in sig":     replace(sampleV3, `"sig"`, `"x":"y","sig"`),
		"too long":               sampleV1 + strings.Repeat(" ", MaxRealisationLen),
	}
	for name, s := range bad {
		if r, err := ParseRealisation(DefaultStoreDir, []byte(s)); !errors.Is(err, ErrRealisation) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	vectors := rejects(bad)
	for name, s := range map[string]string{"by modulo": sampleV1, "by drv path": sampleV3} {
		r, err := ParseRealisation(DefaultStoreDir, []byte(s))
		if err != nil {
			t.Fatal(err)
		}
		vectors = append(vectors, vector{name, s, true, map[string]string{"id": r.ID(), "fingerprint": string(r.Fingerprint())}})
	}
	publish(t, "realisation", "spec/nix.md#realisations, of /nix/store", vectors)
	value := []byte(`{` + path + `,"signatures":[]}`)
	if _, err := ParseRealisationValue(DefaultStoreDir, mustPath(t, somePath+"bar"), "out", value); !errors.Is(err, ErrRealisation) {
		t.Errorf("value for no derivation: %v", err)
	}
	if _, err := ParseRealisationValue(DefaultStoreDir, mustPath(t, somePath+"bar.drv"), "a/b", value); !errors.Is(err, ErrRealisation) {
		t.Errorf("value for a bad output: %v", err)
	}
}

func FuzzRealisation(f *testing.F) {
	f.Add([]byte(sampleV1))
	f.Add([]byte(sampleV3))
	f.Add([]byte(`{"outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo","signatures":["a:b"]}`))
	corpusSeeds(f, "nix/realisation/*.json")
	drv, err := ParseStorePath(somePath + "bar.drv")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRealisation(DefaultStoreDir, b); err == nil {
			text := r.Marshal()
			if !json.Valid(text) || !json.Valid(r.Fingerprint()) {
				t.Fatalf("wrote no JSON: %q", text)
			}
			again, err := ParseRealisation(DefaultStoreDir, text)
			if err != nil || !bytes.Equal(again.Marshal(), text) {
				t.Errorf("%q: %v", text, err)
			}
			// Whatever was read is what the JSON says to others.
			var v1, v2 any
			if json.Unmarshal(b, &v1) != nil || json.Unmarshal(text, &v2) != nil {
				t.Errorf("%q is not JSON for others", b)
			}
		}
		if r, err := ParseRealisationValue(DefaultStoreDir, drv, "out", b); err == nil {
			if again, err := ParseRealisationValue(DefaultStoreDir, drv, "out", r.MarshalValue()); err != nil || !bytes.Equal(again.Marshal(), r.Marshal()) {
				t.Errorf("value %q: %v", b, err)
			}
		}
	})
}

package nixdb

import (
	"bytes"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
)

func TestParseDumpRefuses(t *testing.T) {
	good := makeDump(t, store)
	app := pathOf(t, "app").String()
	for name, text := range map[string]string{
		"text that ends early":     good[:len(good)-60],
		"a line without an end":    strings.TrimSuffix(good, "\n"),
		"a path twice":             good + good,
		"another store":            strings.ReplaceAll(good, string(testDir), "/nix/store"),
		"a short hash":             strings.Replace(good, hashOf("app").Hex(), hashOf("app").Hex()[1:], 1),
		"a size that is no number": strings.Replace(good, "\n3\n", "\n3x\n", 1),
		"a size with a zero":       strings.Replace(good, "\n3\n", "\n03\n", 1),
		"references beyond reason": strings.Replace(good, "\n0\n", "\n99999999\n", 1),
		"a reference to nothing":   app + "\n" + hashOf("app").Hex() + "\n3\n\n1\n" + pathOf(t, "lib").String() + "\n",
		"a reference twice":        app + "\n" + hashOf("app").Hex() + "\n3\n\n2\n" + app + "\n" + app + "\n",
		"a long line":              strings.Repeat("x", 2*maxDumpLine) + "\n",
		"a deriver elsewhere":      app + "\n" + hashOf("app").Hex() + "\n3\n/tmp/x.drv\n0\n",
	} {
		if _, err := ParseDump(strings.NewReader(text), testDir); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := ParseDump(strings.NewReader(good), "relative"); err == nil {
		t.Error("a store dir that is not absolute: accepted")
	}
}

func FuzzParseDump(f *testing.F) {
	f.Add(makeDump(f, store))
	f.Add(makeDump(f, store[:0]))
	f.Add(makeDump(f, store[2:4]))
	f.Add(strings.ReplaceAll(makeDump(f, store), "\n", "\n\n"))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDump(strings.NewReader(text), testDir)
		if err != nil {
			return
		}
		var once, twice bytes.Buffer
		if _, err := d.WriteTo(&once); err != nil {
			t.Fatal(err)
		}
		d2, err := ParseDump(bytes.NewReader(once.Bytes()), testDir)
		if err != nil {
			t.Fatalf("what was written does not parse: %v", err)
		}
		d2.WriteTo(&twice)
		if !bytes.Equal(once.Bytes(), twice.Bytes()) || once.Len() != len(text) {
			t.Fatalf("%d bytes became %d and %d", len(text), once.Len(), twice.Len())
		}
		var roots []nix.StorePath
		for p := range d.infos {
			roots = append(roots, p)
		}
		if all, err := d.Closure(t.Context(), roots); err != nil || len(all) != len(roots) {
			t.Fatalf("closure of everything: %d of %d, %v", len(all), len(roots), err)
		}
	})
}

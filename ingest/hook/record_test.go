package hook

import (
	"bytes"
	"strings"
	"testing"
)

var full = Record{
	Drv: "/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-app-2.3.drv", Time: 1732540000, BuildID: [16]byte{1, 2, 3},
	Nix: "/usr/bin/nix-daemon", System: "x86_64-linux", Sandbox: "true", SandboxFallback: "false", Note: "outputs not held: x",
}

func TestRecordRoundTrip(t *testing.T) {
	for _, r := range []Record{full, {Drv: "x", Time: 1}, {Drv: "x", Time: 1, Note: "n"}} {
		got, err := ParseRecord(r.Marshal())
		if err != nil || *got != r {
			t.Errorf("%q: got %+v, %v", r.Marshal(), got, err)
		}
	}
	odd := Record{Drv: "/nix/store/x\ny\x00\xff ", Time: 1, Note: strings.Repeat("n", 5000)}
	if got, err := ParseRecord(odd.Marshal()); err != nil || got.Drv != "/nix/store/x?y??" || len(got.Note) != maxValue {
		t.Errorf("odd characters: %+v, %v", got, err)
	}
}

func TestParseRecordRefuses(t *testing.T) {
	good := string(full.Marshal())
	for name, text := range map[string]string{
		"nothing":                 "",
		"another version":         strings.Replace(good, "v1", "v2", 1),
		"a last line without end": strings.TrimSuffix(good, "\n"),
		"an unknown word":         good + "token x\n",
		"a word twice":            good + "note x\n",
		"words out of order":      strings.Replace(good, "system x86_64-linux\nsandbox true\n", "sandbox true\nsystem x86_64-linux\n", 1),
		"no derivation":           strings.Replace(good, "drv "+full.Drv+"\n", "", 1),
		"no build id":             Magic + "\ndrv x\ntime 1\n",
		"an empty value":          strings.Replace(good, "sandbox true", "sandbox ", 1),
		"a word without value":    strings.Replace(good, "sandbox true", "sandbox", 1),
		"two spaces":              strings.Replace(good, "sandbox true", "sandbox  true", 1),
		"control characters":      strings.Replace(good, "sandbox true", "sandbox tr\x1bue", 1),
		"time zero":               strings.Replace(good, "time 1732540000", "time 0", 1),
		"time with a sign":        strings.Replace(good, "time 1", "time +1", 1),
		"time below zero":         strings.Replace(good, "time 1", "time -1", 1),
		"a short build id":        strings.Replace(good, "id 01", "id ", 1),
		"a long build id":         strings.Replace(good, "id 01", "id 0101", 1),
		"an upper-case build id":  strings.Replace(good, "id 010203", "id 0A0203", 1),
		"too long":                good + strings.Repeat("x", MaxRecord),
	} {
		if text == good {
			t.Fatalf("%s: the test does not change the record", name)
		}
		if r, err := ParseRecord([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, r)
		}
	}
}

func TestNamesOfRecords(t *testing.T) {
	if name := full.Name(); name != "1732540000-01020300000000000000000000000000" || !ValidName(name) {
		t.Errorf("name %q", name)
	}
	for _, bad := range []string{
		"", "-", "1-", "0-01020300000000000000000000000000", "01-01020300000000000000000000000000",
		"1-0102030000000000000000000000000", "1-0102030000000000000000000000000G", "1-0A020300000000000000000000000000", ".1-01020300000000000000000000000000",
	} {
		if ValidName(bad) {
			t.Errorf("%q is taken for a record's name", bad)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(full.Marshal())
	f.Add((&Record{Drv: "x", Time: 1}).Marshal())
	f.Add([]byte(Magic + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err == nil && !bytes.Equal(r.Marshal(), b) {
			t.Fatalf("%q became %q", b, r.Marshal())
		}
	})
}

func TestSettingsAreAWhitelist(t *testing.T) {
	for _, c := range []struct {
		config string
		want   settings
	}{
		{"", settings{}},
		{"access-tokens = github.com=ghp_SECRET\nsystem = x86_64-linux\nsandbox = relaxed\nsandbox-fallback = false\n", settings{"x86_64-linux", "relaxed", "false"}},
		{"sandbox = true\nsandbox = false", settings{sandbox: "false"}},
		{"sandbox = true # not false", settings{sandbox: "true"}},
		{"sandbox = ghp_SECRET\nsystem = a b\nsandbox-fallback = 1", settings{}},
		{"extra-sandbox-paths = /x\nsandbox-paths = true\nsandboxes = true", settings{}},
		{"system = " + strings.Repeat("x", 65), settings{}},
		{"system\nsandbox\n= true", settings{}},
	} {
		if got := readSettings(c.config); got != c.want {
			t.Errorf("%q: got %+v, want %+v", c.config, got, c.want)
		}
	}
}

package substituter

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// caPackages are content-addressed derivations: second needs first; lone and contra stand alone.
const caPackages = `
let
  bb = builtins.path { path = ./bb; name = "bb"; };
  sh = name: script: derivation {
    inherit name; system = builtins.currentSystem; builder = "${bb}/bin/busybox"; args = [ "sh" "-euc" script ];
    __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";
  };
in rec {
  first = sh "first" "echo first > $out";
  second = sh "second" "echo ${first} > $out";
  lone = sh "lone" "echo lone > $out";
  contra = sh "contra" "echo contra > $out";
}
`

func (m *machine) usesCA(conf ...string) {
	m.write("src/ca.nix", caPackages, 0o644)
	m.configure(append(conf, "extra-experimental-features = ca-derivations")...)
}

// caPublished builds caPackages, puts them with their realisations into the cache of w, and has operators
// say what they got: a and b of first and second; a of lone; a of contra, of which b and c got another path.
func (w *world) caPublished() {
	t := w.t
	t.Helper()
	builder := newMachine(t, 1)
	builder.usesCA("substituters =")
	builder.write("key", cacheKeyText(), 0o600)
	cacheDir := filepath.Join(builder.root, "cache")
	builder.run(`nix copy --impure --to "file://` + cacheDir + `?compression=zstd&secret-key=` + builder.root + `/key" -f ca.nix first second lone contra`)
	srv := httptest.NewServer(http.FileServer(http.Dir(cacheDir)))
	t.Cleanup(srv.Close)
	w.caches[0].url = srv.URL
	files, err := filepath.Glob(filepath.Join(cacheDir, "realisations/*.doi"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d realisations: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := nix.ParseRealisation(storeDir, text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		narinfo, err := os.ReadFile(filepath.Join(cacheDir, r.OutPath.HashPart()+".narinfo"))
		if err != nil {
			t.Fatal(err)
		}
		n, err := nix.ParseNarInfo(storeDir, narinfo)
		if err != nil {
			t.Fatal(err)
		}
		b := buildBody(t, n)
		b.Modulo, b.Outputs[0].CA = r.Modulo, n.CA
		switch n.Path.Name() {
		case "lone":
			w.logBody("a", b)
		case "contra":
			w.logBody("a", b)
			other := *b
			other.Outputs = []statement.BuildOutput{b.Outputs[0]}
			o := &other.Outputs[0]
			o.Path, o.NarHash, o.CA = caPath(t, "contra", "another")
			w.logBody("b c", &other)
		default:
			w.logBody("a b", b)
		}
	}
	w.log.Publish()
	w.log.Revise()
}

const caRules = "group two 2 a b c\nrule contra name contra need two else refuse\nrule default need two else rebuild\n"

// Stock Nix takes what operators realised, with what it needs, builds what only one of them did, and stops at what
// they contradict.
func TestStockNixTakesRealisationsThatAgree(t *testing.T) {
	w := newWorld(t)
	w.caPublished()
	w.start(caRules)
	newMachine(t, 1).realises(w)
}

func TestOtherVersionsOfNixTakeRealisationsThatAgree(t *testing.T) {
	eachOtherNix(t, func(t *testing.T, root string) {
		w := newWorld(t)
		w.caPublished()
		w.start(caRules)
		user := newMachine(t, 1)
		user.other = root
		user.realises(w)
	})
}

func (m *machine) realises(w *world) {
	m.t.Helper()
	m.usesCA("substituters = "+w.url, "trusted-public-keys = "+localKey.Public().String(), "narinfo-cache-negative-ttl = 0")
	words, err := m.buildCA("second")
	if err != nil || strings.Contains(words, "building '") {
		m.t.Errorf("second: %v\n%s", err, words)
	}
	m.run("nix-store --verify --check-contents")
	if c := w.s.Counts(); c.Realised == 0 || c.Nars != 2 {
		m.t.Errorf("%+v", c)
	}
	words, err = m.buildCA("lone")
	if err != nil || !strings.Contains(words, "building '") {
		m.t.Errorf("lone: %v\n%s", err, words)
	}
	words, err = m.buildCA("contra")
	if err == nil || strings.Contains(words, "building '") || !strings.Contains(words, " is refused: contradicted, 2 of 3 needed, 1 found; b claims another path") {
		m.t.Errorf("contra: %v\n%s", err, words)
	}
}

// buildCA builds a package. While it waits for a realisation Nix 2.8 may close a file twice and abort, whatever
// cache it asks: then it is asked again.
func (m *machine) buildCA(name string) (words string, err error) {
	m.t.Helper()
	for range 20 {
		if _, words, err = m.try("nix-build ca.nix -A " + name + " --no-out-link"); err == nil || !strings.Contains(words, "Bad file descriptor") {
			break
		}
	}
	return words, err
}

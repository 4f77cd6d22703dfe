package submit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// realisations returns those in the log, by what they are about.
func (w *world) realisations() map[string]*statement.Realisation {
	w.t.Helper()
	all := make(map[string]*statement.Realisation)
	for _, s := range w.loggedAny() {
		if r, ok := s.Body.(*statement.Realisation); ok {
			if all[r.ID()] != nil {
				w.t.Errorf("%s is stated twice", r.ID())
			}
			if err := r.VerifyNixSigs(); err != nil {
				w.t.Errorf("%s: %v", r.ID(), err)
			}
			all[r.ID()] = r
		}
	}
	return all
}

// What stock Nix says of content-addressed outputs to a binary cache is what is
// stated beside their builds, with its signatures.
func TestRealRealisationsAreStatedBesideBuilds(t *testing.T) {
	m := newMachine(t)
	key := filepath.Join(m.root, "etc/key")
	m.run("nix-store --generate-binary-cache-key builder-1 " + key + " " + key + ".pub")
	conf, err := os.ReadFile(filepath.Join(m.root, "etc/nix.conf"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("etc/nix.conf", string(conf)+"secret-key-files = "+key+"\n", 0o644)
	m.run("nix-build pkgs.nix -A caUser --no-out-link")
	dir := filepath.Join(m.root, "cache")
	m.run("nix copy --to file://" + dir + " -f pkgs.nix caUser")
	m.write("public", m.drv("caUser")+"\n", 0o644)
	pub, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	w := onMachine(t, m)
	w.conf.PublicFrom, w.conf.TrustedKeys = []string{filepath.Join(m.root, "public")}, []string{strings.TrimSpace(string(pub))}
	if err := w.conf.Check(); err != nil {
		t.Fatal(err)
	}
	w.once(w.realOptions())
	stated := w.realisations()

	files, err := filepath.Glob(filepath.Join(dir, "realisations/*.doi"))
	if err != nil || len(files) < 2 {
		t.Fatalf("Nix wrote %v, %v", files, err)
	}
	dependent := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := nix.ParseRealisation(nix.DefaultStoreDir, b)
		if err != nil {
			t.Fatal(err)
		}
		got := stated[r.ID()]
		if got == nil {
			t.Errorf("%s is not stated", r.ID())
			continue
		}
		dependent += len(got.Deps)
		if string(got.Fingerprint()) != string(r.Fingerprint()) || got.Builder.Implementation != "nix" {
			t.Errorf("%s: stated\n%s, Nix has\n%s", r.ID(), got.Fingerprint(), r.Fingerprint())
		}
		if len(got.NixSigs) != 1 || got.NixSigs[0].KeyName != "builder-1" || len(r.Sigs) == 0 {
			t.Errorf("%s: %d signatures, Nix has %q", r.ID(), len(got.NixSigs), r.Sigs)
		}
	}
	if dependent == 0 {
		t.Error("no realisation rests on another one")
	}

	// That cache is imported by who does not know which Nix made it.
	c, err := bincache.Open(t.Context(), "file://"+dir, bincache.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := cache.ParseKeys(w.conf.TrustedKeys)
	if err != nil {
		t.Fatal(err)
	}
	var ids []bincache.RealisationID
	for id := range stated {
		parsed, err := bincache.ParseRealisationID(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "realisations", id+".doi")); err == nil {
			ids = append(ids, parsed)
		}
	}
	sum := cache.NewSummary(c)
	to := send.Open(&send.Config{}, send.Options{Client: w.log.Client("")})
	if err := cache.ImportRealisations(t.Context(), c, ids, w.signer, cache.Options{Keys: keys, Log: to}, sum); err != nil || sum.Accepted != len(files) || len(sum.Problems) != 0 {
		t.Errorf("%d of %d, %+v: %v", len(ids), len(files), sum, err)
	}
}

const floatingText = `Derive([("out","","r:sha256","")],[INPUT],[],"x86_64-linux","/bin/sh",[],[("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9")])`

// floating puts a content-addressed derivation into the store that was realised here,
// and returns its path, its hash modulo and its output.
func (w *world) floating(name, input string) (nix.StorePath, nix.Hash, nix.StorePath) {
	w.t.Helper()
	text := strings.Replace(floatingText, "INPUT", input, 1)
	drv := w.addDrv(name, text)
	d, err := nix.ParseDerivation(nix.DefaultStoreDir, name, []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	modulo, err := newStore(w.src, w.root).modulo.Modulo(d, nix.Merge)
	if err != nil {
		w.t.Fatal(err)
	}
	ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: make([]byte, 32)}
	out, err := nix.FixedOutputPath(nix.DefaultStoreDir, name, ca, nix.Refs{})
	if err != nil {
		w.t.Fatal(err)
	}
	info := w.addPath(out, true)
	info.CA, info.NarHash = ca.String(), nix.Hash{}
	w.src.realised[modulo] = map[string]nix.StorePath{"out": out}
	return drv, modulo, out
}

// A realisation goes the way of its build: it is not sent while that is private, nor
// twice, and what was not built here is not stated.
func TestRealisationsGoTheWayOfTheirBuild(t *testing.T) {
	w := newWorld(t)
	drv, modulo, out := w.floating("floating", "")
	w.src.realised[modulo]["dev"] = mustParse(t, "/nix/store/00000000000000000000000000000000-floating-dev")
	w.spooled(drv)
	if out := w.once(w.options()); out.Sent != 0 || len(w.realisations()) != 0 {
		t.Fatalf("a private one: %+v", out)
	}
	w.public(drv)
	if out := w.once(w.options()); out.Sent != 2 || len(w.realisations()) != 1 {
		t.Fatalf("%+v, %v", out, w.realisations())
	}
	// The build is resolved once more, as after a crash before its record was removed.
	w.time--
	w.spooled(drv)
	if w.once(w.options()); len(w.realisations()) != 1 {
		t.Errorf("again: %v", w.realisations())
	}
	r := w.realisations()["sha256:"+modulo.Hex()+"!out"]
	if r == nil || r.Path != out || r.Builder != (statement.Builder{Implementation: "nix", Version: "2.8.0"}) || len(r.NixSigs) != 0 {
		t.Errorf("%+v", r)
	}
}

// What Nix from 2.35 records is about the resolved derivation, so it is stated of no other.
func TestRealisationsByDerivationAreOfResolvedOnes(t *testing.T) {
	w := newWorld(t)
	w.src.byDrv = true
	drv, _, out := w.floating("floating", "")
	unresolved, _, _ := w.floating("user", `("`+drv.String()+`",["out"])`)
	w.public(drv, unresolved)
	w.spooled(drv)
	w.spooled(unresolved)
	if out := w.once(w.options()); out.Sent != 3 {
		t.Errorf("%+v", out)
	}
	stated := w.realisations()
	if r := stated[drv.String()+"!out"]; len(stated) != 1 || r == nil || r.Path != out {
		t.Errorf("%v", stated)
	}
}

func mustParse(t *testing.T, text string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePath(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

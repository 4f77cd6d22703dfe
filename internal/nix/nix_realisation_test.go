package nix

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const floating = `derivation {
  name = "floating"; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "echo doc > $doc; echo see $doc > $out" ];
  __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputs = [ "out" "doc" ];
}`

// TestRealisationsAgainstNix lets Nix build a content-addressed derivation
// and sign what came out: ids, paths and signatures follow.
func TestRealisationsAgainstNix(t *testing.T) {
	dir, env := privateStore(t)
	tmp := t.TempDir()
	secret, public := filepath.Join(tmp, "secret"), filepath.Join(tmp, "public")
	runNix(t, env, "nix-store", "--generate-binary-cache-key", "test.example-1", secret, public)
	pb, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePublicKey(string(pb))
	if err != nil {
		t.Fatal(err)
	}
	drv := runNix(t, env, "nix-instantiate", "--expr", floating)
	runNix(t, env, "nix-store", "--realise", drv, "--option", "secret-key-files", secret)
	cache := filepath.Join(tmp, "cache")
	runNix(t, env, "nix", "copy", "--impure", "--to", "file://"+cache+"?compression=none", "--expr", floating)

	text, err := os.ReadFile(drv)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDerivation(dir, "floating", text)
	if err != nil {
		t.Fatal(err)
	}
	m, err := noInputs().Match(d)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(cache + "/realisations/*.doi")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseRealisation(dir, b)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if r.ID() != "sha256:"+hex.EncodeToString(m.Hash[:])+"!"+r.Output || !strings.HasSuffix(file, "/"+r.ID()+".doi") {
			t.Errorf("id %s of modulo %s in %s", r.ID(), m.Hash.Hex(), file)
		}
		if !r.Verify(key) {
			t.Errorf("%s: signature refused: %s", r.ID(), b)
		}
		if string(r.Marshal()) != strings.TrimSpace(string(b)) {
			t.Errorf("written back as %s\nfrom %s", r.Marshal(), b)
		}
		checkFloatingPath(t, dir, cache, r.OutPath)
	}
}

// checkFloatingPath recomputes a path from the narinfo's content address and
// references, and that address from the NAR.
func checkFloatingPath(t *testing.T, dir StoreDir, cache string, p StorePath) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(cache, p.HashPart()+".narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseNarInfo(dir, b)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ParseContentAddress(n.CA)
	if err != nil || ca.Method != Recursive || Hash(ca.Hash) != n.NarHash {
		t.Errorf("%v: content address %q, NAR %v, %v", p, n.CA, n.NarHash, err)
	}
	if got, err := FixedOutputPath(dir, p.Name(), ca, Refs{Others: n.References}); err != nil || got != p {
		t.Errorf("path %v, %v, want %v", got, err, p)
	}
}

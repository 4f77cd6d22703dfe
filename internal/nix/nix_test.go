package nix

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// exprs are derivations of every kind. The two sources are one content by two
// ways, so that the two mids have one hash modulo and the last derivation has
// inputs that coincide.
const exprs = `
let
  drv = name: attrs: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; } // attrs);
  source = way: drv "source" {
    args = [ way ]; outputHashMode = "recursive"; outputHashAlgo = "sha256";
    outputHash = "sha256-iUUXyRY8iW7DGirb0zwGgf1fRbLA7wimTJKgP7l/OQ8=";
  };
  flat = drv "flat" { outputHashMode = "flat"; outputHashAlgo = "sha1"; outputHash = "da39a3ee5e6b4b0d3255bfef95601890afd80709"; };
  mid = way: drv "mid" { outputs = [ "out" "dev" ]; src = source way; };
  text = builtins.toFile "text" "escapes \" \\ \n \t \${x} $ ä";
  script = builtins.toFile "script" "uses ${text}";
  ca = drv "floating" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputs = [ "out" "doc" ]; };
in [
  (source "first") (source "second") flat (mid "first") (mid "second")
  (drv "parent" { a = (mid "first").dev; b = (mid "second").out; })
  (drv "structured" { __structuredAttrs = true; outputs = [ "out" "man" ]; list = [ 1 "two" { three = flat; } ]; inherit script; })
  (drv "escapes" { args = [ text script "a\"b\\c\nd\te\rf" ]; x = builtins.readFile text; })
  (drv "deep" { drvOf = (mid "first").drvPath; })
  ca (drv "deferred" { inherit ca; doc = ca.doc; })
]`

// privateStore returns Nix's environment for a store of the test's own.
func privateStore(t *testing.T) (StoreDir, []string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "etc")
	if err := os.Mkdir(conf, 0o755); err != nil {
		t.Fatal(err)
	}
	settings := "experimental-features = nix-command ca-derivations\nsandbox = false\nbuild-users-group =\nsubstituters =\n"
	if err := os.WriteFile(filepath.Join(conf, "nix.conf"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "NIX_") })
	return StoreDir(dir + "/store"), append(env, "HOME="+dir, "NIX_STORE_DIR="+dir+"/store", "NIX_STATE_DIR="+dir+"/var",
		"NIX_LOG_DIR="+dir+"/log", "NIX_CONF_DIR="+conf, "NIX_REMOTE=", "NIX_USER_CONF_FILES=/dev/null")
}

func runNix(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(testreq.Command(t, "nix", name), args...)
	var stderr bytes.Buffer
	cmd.Env, cmd.Stderr = env, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// TestDerivationsAgainstNix lets Nix make derivations in a store of another
// prefix, and computes every path again.
func TestDerivationsAgainstNix(t *testing.T) {
	dir, env := privateStore(t)
	roots := strings.Fields(runNix(t, env, "nix-instantiate", "--expr", exprs))
	if len(roots) != 11 {
		t.Errorf("%d roots: %v", len(roots), roots)
	}
	load := func(p StorePath) (*Derivation, error) {
		b, err := os.ReadFile(p.String())
		if err != nil {
			return nil, err
		}
		return ParseDerivation(p.Dir(), strings.TrimSuffix(p.Name(), ".drv"), b)
	}
	cache, kinds := NewModuloCache(load), map[DrvKind]int{}
	files, err := filepath.Glob(string(dir) + "/*.drv")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		p, err := dir.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := load(p)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		kinds[d.Kind()]++
		if d.DrvPath() != p {
			t.Errorf("%v: drv path %v", p, d.DrvPath())
		}
		if got := d.unparse(d.pathInputs(), false); !bytes.Equal(got, d.Raw) {
			t.Errorf("%v: written back as %s", p, got)
		}
		m, err := cache.Match(d)
		if err != nil || m.Variant != Merge {
			t.Errorf("%v: %v, %v", p, m, err)
		}
		switch d.Name {
		case "parent": // where the variants differ; Nix 2.8 merges
			if c, err := cache.Modulo(d, Clobber); err != nil || c == m.Hash {
				t.Errorf("the inputs of %v do not coincide: %v", p, err)
			}
		case "structured":
			if json, ok := d.StructuredAttrs(); !ok || !strings.Contains(json, `"list":[1,"two",{"three":`) {
				t.Errorf("structured attributes %q", json)
			}
		}
	}
	if kinds[Fixed] != 3 || kinds[FloatingCA] != 1 || kinds[Deferred] != 1 || kinds[InputAddressed] != 6 {
		t.Errorf("kinds: %v", kinds)
	}
	text, err := filepath.Glob(string(dir) + "/*-script")
	if err != nil || len(text) != 1 {
		t.Fatal(text, err)
	}
	checkTextPath(t, dir, text[0])
}

// checkTextPath recomputes the path of the file that refers to one other.
func checkTextPath(t *testing.T, dir StoreDir, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	ref := mustPath(t, strings.TrimPrefix(string(b), "uses "))
	p, err := FixedOutputPath(dir, "script", ContentAddress{Text, "sha256", sum[:]}, Refs{Others: []StorePath{ref}})
	if err != nil || p.String() != path {
		t.Errorf("text file: %v, %v, want %s", p, err, path)
	}
}

// TestAddedPathsAgainstNix recomputes the paths of files added to a store.
func TestAddedPathsAgainstNix(t *testing.T) {
	dir, env := privateStore(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("contents"), 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("contents"))
	nar, _, err := HashPath(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		ca   ContentAddress
	}{
		{[]string{"--add"}, ContentAddress{Recursive, "sha256", nar[:]}},
		{[]string{"--add-fixed", "sha256"}, ContentAddress{Flat, "sha256", sum[:]}},
		{[]string{"--add-fixed", "sha256", "--recursive"}, ContentAddress{Recursive, "sha256", nar[:]}},
	} {
		path := runNix(t, env, "nix-store", append(tt.args, file)...)
		if p, err := FixedOutputPath(dir, "file", tt.ca, Refs{}); err != nil || p.String() != path {
			t.Errorf("nix-store %v: %v, %v, want %s", tt.args, p, err, path)
		}
		if got := runNix(t, env, "nix-store", "--query", "--hash", path); got != nar.String() {
			t.Errorf("NAR hash %v, Nix says %s", nar, got)
		}
	}
}

// TestKeysAgainstNix: a key of nix-store --generate-binary-cache-key signs
// what Nix then accepts, and what Nix signs is accepted.
func TestKeysAgainstNix(t *testing.T) {
	dir, env := privateStore(t)
	tmp := t.TempDir()
	secret, public, file := filepath.Join(tmp, "secret"), filepath.Join(tmp, "public"), filepath.Join(tmp, "file")
	runNix(t, env, "nix-store", "--generate-binary-cache-key", "test.example-1", secret, public)
	sb, err1 := os.ReadFile(secret)
	pb, err2 := os.ReadFile(public)
	err3 := os.WriteFile(file, []byte("contents"), 0o644)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	sk, err1 := ParseSecretKey(string(sb))
	pk, err2 := ParsePublicKey(string(pb))
	if err1 != nil || err2 != nil || sk.Public().String() != pk.String() || pk.String() != string(pb) {
		t.Fatal(err1, err2)
	}
	path := runNix(t, env, "nix-store", "--add", file)
	runNix(t, env, "nix", "store", "sign", "--key-file", secret, path)
	cache := filepath.Join(tmp, "cache")
	runNix(t, env, "nix", "copy", "--to", "file://"+cache+"?compression=none", path)
	p, err := dir.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(cache, p.HashPart()+".narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseNarInfo(dir, b)
	if err != nil || n.Path != p || len(n.Sigs) != 1 || !pk.Verify(n.Fingerprint(), n.Sigs[0]) {
		t.Fatalf("%v, %+v", err, n)
	}
	if n.Sigs[0] != sk.Sign(n.Fingerprint()) {
		t.Errorf("Nix signed %s, we %s", n.Sigs[0], sk.Sign(n.Fingerprint()))
	}
	if diff := bytes.Compare(n.Marshal(), b); diff != 0 {
		t.Errorf("written back differently:\n%s\n%s", b, n.Marshal())
	}
	nar, err := os.Open(filepath.Join(cache, n.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer nar.Close()
	if h, size, err := CopyNar(nil, nar); err != nil || h != n.NarHash || size != n.NarSize {
		t.Errorf("NAR of the cache: %v, %d, %v", h, size, err)
	}
}

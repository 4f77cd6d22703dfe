package submit

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// machine is a private /nix of stock Nix with firn-hook as post-build hook.
type machine struct {
	t    testing.TB
	root string // holds nix/, etc/, spool/, src/
}

// packages is what the machines build. Its builders are a copy of a static
// busybox.
const packages = `
let
  bb = builtins.path { path = ./bb; name = "bb"; };
  sh = name: script: attrs: derivation ({
    inherit name; system = builtins.currentSystem; builder = "${bb}/bin/busybox";
    args = [ "sh" "-euc" "export PATH=${bb}/bin; ${script}" ];
  } // attrs);
in rec {
  lib = sh "lib-1.0" "busybox mkdir $out $dev; echo lib $out > $out/lib; echo $out > $dev/h" { outputs = [ "out" "dev" ]; };
  app = sh "app-2.3" "busybox mkdir $out; echo ${lib} $out > $out/app; busybox cat ${lib.dev}/h >> $out/app" { };
  fod = sh "fod" "echo fixed > $out" { outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = builtins.hashString "sha256" "fixed\n"; };
  usesfod = sh "usesfod" "busybox cat ${fod} > $out" { };
  ca = sh "ca" "echo content > $out" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  caUser = sh "ca-user" "busybox cat ${ca} > $out; echo ${ca} >> $out" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  iaUser = sh "ia-user" "busybox cat ${ca} > $out" { };
  private = sh "private" "echo secret > $out" { };
}
`

// hookProgram is built once for all tests.
var hookProgram string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "firn-submit-*")
	if err != nil {
		panic(err)
	}
	hookProgram = filepath.Join(dir, "firn-hook")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func newMachine(t testing.TB, conf ...string) *machine {
	t.Helper()
	testreq.Command(t, "nix", "nix-build")
	testreq.Command(t, "nix", "bwrap")
	busybox := testreq.Command(t, "nix", "busybox")
	m := &machine{t: t, root: testreq.StoreRoot(t)}
	if _, err := os.Stat(hookProgram); err != nil {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", hookProgram, "./cmd/firn-hook")
		build.Dir = testreq.Root()
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, d := range []string{"nix", "etc", "src/bb/bin"} {
		if err := os.MkdirAll(filepath.Join(m.root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bin, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	m.write("src/bb/bin/busybox", string(bin), 0o755)
	m.write("src/pkgs.nix", packages, 0o644)
	m.write("etc/nix.conf", strings.Join(append([]string{
		"experimental-features = nix-command ca-derivations", "sandbox = false", "build-users-group =", "substituters =",
		"post-build-hook = " + hookProgram, "access-tokens = github.com=ghp_PLANTED_SECRET",
	}, conf...), "\n")+"\n", 0o644)
	return m
}

func (m *machine) write(name, text string, perm os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, name), []byte(text), perm); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) spool() string { return filepath.Join(m.root, "spool") }

// run runs a script with the machine's /nix and returns its standard output.
func (m *machine) run(script string) string {
	m.t.Helper()
	cmd := exec.Command("bwrap", "--dev-bind", "/", "/", "--bind", filepath.Join(m.root, "nix"), "/nix", "--die-with-parent",
		"--chdir", filepath.Join(m.root, "src"), "sh", "-euc", script)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "NIX_") })
	cmd.Env = append(cmd.Env, "NIX_CONF_DIR="+filepath.Join(m.root, "etc"), "HOME="+m.root, "FIRN_SPOOL="+m.spool(), "PLANTED=PLANTED_SECRET")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// drv returns the path of the derivation of one attribute.
func (m *machine) drv(attr string) string {
	m.t.Helper()
	return m.run("nix-instantiate pkgs.nix -A " + attr + " 2>/dev/null")
}

// config returns a configuration for the machine's spool and store.
func (m *machine) config() *Config {
	c := DefaultsOnly(func(string) string { return "" })
	c.Spool, c.Store, c.State = m.spool(), m.root, filepath.Join(m.root, "state")
	return c
}

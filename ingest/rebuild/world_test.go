package rebuild

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/statement"
)

func TestMain(m *testing.M) {
	Inside()
	if conf := os.Getenv("FIRN_REBUILD_TEST"); conf != "" {
		helper(conf)
	}
	os.Exit(m.Run())
}

// packages is what the machines of the tests build.
const packages = `
let
  bb = builtins.path { path = ./bb; name = "bb"; };
  sh = name: script: attrs: derivation ({
    inherit name; system = builtins.currentSystem; builder = "${bb}/bin/busybox";
    args = [ "sh" "-euc" "export PATH=${bb}/bin; ${script}" ];
  } // attrs);
in rec {
  src = builtins.toFile "src.txt" "source\n";
  lib = sh "lib-1.0" "busybox mkdir $out $dev; echo lib $out > $out/lib; echo $out > $dev/h" { outputs = [ "out" "dev" ]; };
  app = sh "app-2.3" "busybox mkdir $out; echo ${lib} $out > $out/app; busybox cat ${lib.dev}/h ${src} >> $out/app" { };
  irr = sh "irr-1" "busybox mkdir $out $doc $man; echo same > $out/s; for o in $doc $man; do busybox head -c 8 /dev/urandom > $o/random; echo same > $o/stable; done; busybox head -c 3 /dev/urandom | busybox hexdump -e '\"%x\"' > $man/second" { outputs = [ "out" "doc" "man" ]; };
  evil = sh "evil" "busybox chmod u+w ${lib} 2>/dev/null && echo changed > ${lib}/lib; echo done > $out" { };
  fod = sh "fod" "echo fixed > $out" { outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = builtins.hashString "sha256" "fixed\n"; };
  exit3 = sh "exit3" "echo it is broken; exit 3" { };
  nothing = sh "nothing" "true" { };
  slow = sh "slow" "echo here; busybox sleep 1000; echo > $out" { };
  spam = sh "spam" "busybox yes" { };
  fodbad = sh "fodbad" "echo wrong > $out" { outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = builtins.hashString "sha256" "right\n"; };
  big = sh "big" "busybox mkdir $out; i=0; while true; do i=$((i+1)); busybox dd if=/dev/zero of=$out/$i bs=256k count=1; busybox sleep 0.01; done" { };
  flood = sh "flood" "busybox dd if=/dev/zero of=$out bs=1M count=256" { };
  attrs = sh "attrs" "o=${builtins.placeholder "out"}; busybox cat .attrs.json > $o; busybox sed 's/^/# /' .attrs.sh >> $o" {
    __structuredAttrs = true; nested = { a = [ 1 true null "two" ]; b = lib; }; exportReferencesGraph.graph = [ app ];
  };
  graph = sh "graph" "busybox cat graph $longPath > $out; echo $short >> $out" {
    exportReferencesGraph = [ "graph" app ]; passAsFile = [ "long" ]; long = "a long text\nof two lines"; short = "$PATH \\ \t'";
  };
  hungry = sh "hungry" "x=$(busybox head -c 300000000 /dev/zero | busybox tr '\\000' a); echo done > $out" { };
  ca = sh "ca" "echo content > $out" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
}
`

// machine is a private /nix of stock Nix.
type machine struct {
	t    testing.TB
	root string // holds nix/, etc/, src/
}

func newMachine(t testing.TB, conf ...string) *machine {
	t.Helper()
	testreq.Command(t, "nix", "nix-build")
	testreq.Command(t, "nix", "bwrap")
	m := &machine{t: t, root: testreq.StoreRoot(t)}
	for _, d := range []string{"nix", "etc", "src/bb/bin"} {
		if err := os.MkdirAll(filepath.Join(m.root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bin, err := os.ReadFile(testreq.Command(t, "nix", "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("src/bb/bin/busybox", string(bin), 0o755)
	m.write("src/pkgs.nix", packages, 0o644)
	m.write("etc/nix.conf", strings.Join(append([]string{
		"experimental-features = nix-command ca-derivations", "sandbox = true", "build-users-group =", "substituters =",
	}, conf...), "\n")+"\n", 0o644)
	return m
}

func (m *machine) write(name, text string, perm os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, name), []byte(text), perm); err != nil {
		m.t.Fatal(err)
	}
}

// environ is that of Nix on the machine, and of nobody else's.
func (m *machine) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "NIX_") })
	return append(env, "NIX_CONF_DIR="+filepath.Join(m.root, "etc"), "HOME="+m.root)
}

// run runs a script with the machine's /nix and returns its standard output.
func (m *machine) run(script string) string {
	m.t.Helper()
	cmd := exec.Command("bwrap", "--dev-bind", "/", "/", "--bind", filepath.Join(m.root, "nix"), "/nix", "--die-with-parent",
		"--chdir", filepath.Join(m.root, "src"), "sh", "-euc", script)
	cmd.Env = m.environ()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// drv returns the derivation of an attribute, which is then in the store.
func (m *machine) drv(attr string) nix.StorePath {
	m.t.Helper()
	p, err := nix.ParseStorePath(m.run("nix-instantiate pkgs.nix -A " + attr + " 2>/dev/null"))
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// build builds attributes.
func (m *machine) build(attrs ...string) {
	m.t.Helper()
	m.run("nix-build pkgs.nix --no-out-link -A " + strings.Join(attrs, " -A "))
}

// world is a rebuilder beside a machine.
type world struct {
	t    testing.TB
	m    *machine
	conf Config
	o    Options

	mu   sync.Mutex // guards what follows
	puts map[string][]byte
	said []string
}

func newWorld(t testing.TB, m *machine) *world {
	w := &world{t: t, m: m, puts: make(map[string][]byte)}
	w.conf = Config{Work: filepath.Join(m.root, "work"), Store: m.root, MinFree: 1 << 20, Timeout: time.Hour}
	w.o = Options{
		Put: func(name string, payload []byte, _ ...[]byte) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.puts[name] = payload
			return nil
		},
		Say: func(format string, args ...any) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.said = append(w.said, fmt.Sprintf(format, args...))
		},
		Environ: m.environ(),
		watch:   10 * time.Millisecond,
	}
	return w
}

// run rebuilds and returns what the run found.
func (w *world) run(drvs ...nix.StorePath) (*Report, error) {
	w.t.Helper()
	r, err := Open(w.t.Context(), w.conf, w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	return r.Run(w.t.Context(), drvs)
}

// one rebuilds one attribute.
func (w *world) one(attr string) *Result {
	w.t.Helper()
	report, err := w.run(w.m.drv(attr))
	if err != nil || len(report.Results) != 1 {
		w.t.Fatalf("%s: %v, %d results", attr, err, len(report.Results))
	}
	return report.Results[0]
}

// bodies returns what was put, by kind.
func (w *world) bodies() map[statement.Kind][]statement.Body {
	w.t.Helper()
	found := make(map[statement.Kind][]statement.Body)
	for name, payload := range w.puts {
		b, err := statement.ParsePayload(payload)
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		found[b.Kind()] = append(found[b.Kind()], b)
	}
	return found
}

// helper is another process that rebuilds: it prints what came of each derivation.
func helper(file string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	var in struct {
		Conf Config
		Drvs []string
	}
	b, err := os.ReadFile(file)
	fail(err)
	fail(json.Unmarshal(b, &in))
	ctx := context.Background()
	r, err := Open(ctx, in.Conf, Options{Say: func(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }})
	fail(err)
	drvs, _, err := r.Select(ctx, in.Drvs)
	fail(err)
	report, err := r.Run(ctx, drvs)
	for _, res := range report.Results {
		fmt.Println(res.Name, res.Status, res.Why)
		for _, o := range res.Outputs {
			fmt.Println(res.Name, o.Name, o.Status)
		}
	}
	fail(err)
	fail(r.Close())
	os.Exit(0)
}

// helper returns a process that rebuilds in the same world.
func (w *world) helper(drvs ...nix.StorePath) *exec.Cmd {
	w.t.Helper()
	in := map[string]any{"Conf": w.conf, "Drvs": drvs}
	texts := make([]string, len(drvs))
	for i, p := range drvs {
		texts[i] = p.String()
	}
	in["Drvs"] = texts
	b, err := json.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	w.m.write("helper.json", string(b), 0o644)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args[:1]
	cmd.Env = append(w.m.environ(), "FIRN_REBUILD_TEST="+filepath.Join(w.m.root, "helper.json"))
	return cmd
}

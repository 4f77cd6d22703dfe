package substituter

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// closurePaths is how many paths the closure has that stock Nix installs.
const closurePaths = 300

// packages are one derivation with many outputs that refer to each other, and two more.
const packages = `
let
  bb = builtins.path { path = ./bb; name = "bb"; };
  names = builtins.genList (n: "o${toString (n + 1)}") %d;
  sh = name: script: attrs: derivation ({
    inherit name; system = builtins.currentSystem; builder = "${bb}/bin/busybox";
    args = [ "sh" "-euc" script ];
  } // attrs);
in {
  many = sh "many" ''
    n=%[1]d
    while [ $n -gt 0 ]; do
      eval p=\$o$n
      echo "this is $n" > $p
      for m in $((2*n)) $((2*n+1)); do
        if [ $m -le %[1]d ]; then eval "echo \$o$m >> $p"; fi
      done
      n=$((n-1))
    done
  '' { outputs = names; };
  one = sh "one" "echo one > $out" { };
  contra = sh "contra" "echo contra > $out" { };
}
`

// machine is a private /nix of stock Nix.
type machine struct {
	t     testing.TB
	root  string // holds nix/, etc/, src/
	other string // a root with another Nix; "" for the Nix of this machine
}

// enterRoot runs a command in another root, whose /nix is the machine's: $1 the root, $2 the
// machine's folder, then the command.
const enterRoot = `
mount --make-rprivate /
mount --bind "$1" "$1"
mkdir -p "$1/proc" "$1/dev" "$1/nix" "$1/$2" "$1/old-root"
mount --rbind /proc "$1/proc"; mount --rbind /dev "$1/dev"; mount --bind "$2" "$1/$2"; mount --bind "$2/nix" "$1/nix"
cd "$1"; pivot_root . old-root; umount -l /old-root
cd "$2/src"; shift 2; exec "$@"
`

func newMachine(t testing.TB, paths int) *machine {
	t.Helper()
	for _, name := range []string{"nix-build", "nix", "bwrap", "busybox"} {
		testreq.Command(t, "nix", name)
	}
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
	m.write("src/pkgs.nix", fmt.Sprintf(packages, paths), 0o644)
	m.configure("substituters =")
	return m
}

func (m *machine) configure(conf ...string) {
	m.write("etc/nix.conf", "experimental-features = nix-command\nsandbox = false\nbuild-users-group =\n"+strings.Join(conf, "\n")+"\n", 0o644)
}

func (m *machine) write(name, text string, perm os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, name), []byte(text), perm); err != nil {
		m.t.Fatal(err)
	}
}

// try runs a script with the machine's /nix.
func (m *machine) try(script string) (stdout, stderr string, err error) {
	m.t.Helper()
	cmd := exec.Command("bwrap", "--dev-bind", "/", "/", "--bind", filepath.Join(m.root, "nix"), "/nix", "--die-with-parent",
		"--chdir", filepath.Join(m.root, "src"), "sh", "-euc", script)
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "NIX_") })
	env = append(env, "NIX_CONF_DIR="+filepath.Join(m.root, "etc"), "HOME="+m.root)
	if m.other != "" {
		cmd = exec.Command("unshare", "-m", "sh", "-euc", enterRoot, "sh", m.other, m.root, "sh", "-euc", script)
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR=/tmp")
	}
	cmd.Env = env
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), words.String(), err
}

func (m *machine) run(script string) string {
	m.t.Helper()
	out, words, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, words)
	}
	return out
}

// published is a closure of so many paths that was built, signed and put into the cache of w, and
// that a and b say they built; but one is of a alone, and about contra b and c say something else.
// It returns the path that needs all others.
func (w *world) published(paths int) nix.StorePath {
	t := w.t
	t.Helper()
	builder := newMachine(t, paths)
	cacheDir := filepath.Join(builder.root, "cache")
	builder.write("key", cacheKeyText(), 0o600)
	builder.run("nix-build pkgs.nix -A many -A one -A contra --no-out-link")
	drvs := builder.run("nix-instantiate pkgs.nix -A many -A one -A contra 2>/dev/null | sed 's/!.*//'")
	all := builder.run("nix-store -q --outputs " + strings.ReplaceAll(drvs, "\n", " ") + " >../paths\n" +
		`nix copy --to "file://` + cacheDir + `?compression=zstd&secret-key=` + builder.root + `/key" $(cat ../paths); cat ../paths`)
	bodies := builder.bodies(strings.Fields(drvs))
	srv := httptest.NewServer(http.FileServer(http.Dir(cacheDir)))
	t.Cleanup(srv.Close)
	w.caches[0].url = srv.URL
	var top nix.StorePath
	for _, text := range strings.Fields(all) {
		p, err := nix.ParseStorePath(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(cacheDir, p.HashPart()+".narinfo"))
		if err != nil {
			t.Fatal(err)
		}
		n, err := nix.ParseNarInfo(storeDir, b)
		if err != nil {
			t.Fatal(err)
		}
		body := bodies[p]
		o := &body.Outputs[0]
		o.NarHash, o.NarSize, o.References = n.NarHash, n.NarSize, n.References
		switch p.Name() {
		case "one":
			w.logBody("a", body)
		case "contra":
			w.logBody("a", body)
			o.NarHash[0] ^= 1
			w.logBody("b c", body)
		case "many-o1":
			top = p
			fallthrough
		default:
			w.logBody("a b", body)
		}
	}
	w.log.Publish()
	w.log.Revise()
	return top
}

const nixRules = "group two 2 a b c\nrule contra name contra need two else refuse\nrule default need two else rebuild\n"

// uses makes Nix take what comes from a URL, signed by a key.
func (m *machine) uses(url string, key nix.SecretKey) {
	m.configure("substituters = "+url, "trusted-public-keys = "+key.Public().String(), "narinfo-cache-negative-ttl = 0", "require-sigs = true")
}

// Stock Nix installs a closure through the substituter, builds here what only one operator built,
// and shows our sentence about what is contradicted.
func TestStockNixObeys(t *testing.T) {
	w := newWorld(t)
	top := w.published(closurePaths)
	w.start(nixRules)
	newMachine(t, closurePaths).obeys(w, top)
}

// So do newer versions, each in a root of its own (deploy/nixes.sh).
func TestOtherVersionsOfNixObey(t *testing.T) {
	eachOtherNix(t, func(t *testing.T, root string) {
		w := newWorld(t)
		top := w.published(closurePaths)
		w.start(nixRules)
		user := newMachine(t, closurePaths)
		user.other = root
		user.obeys(w, top)
	})
}

// eachOtherNix runs a test with each root that has a newer Nix.
func eachOtherNix(t *testing.T, test func(t *testing.T, root string)) {
	for part, env := range map[string]string{"nix226": "FIRN_NIX226", "nix234": "FIRN_NIX234"} {
		t.Run(part, func(t *testing.T) {
			root := os.Getenv(env)
			if root == "" || os.Getuid() != 0 {
				testreq.Missing(t, part, env+" names no root with that Nix, or this is not root")
			}
			test(t, root)
		})
	}
}

// A log that is down stops stock Nix with a sentence; it does not make it build everything, although the
// rule says `else rebuild`.
func TestStockNixShowsWhatIsMissing(t *testing.T) {
	const paths = 3
	w := newWorld(t, logtest.Witnesses(1, 1))
	top := w.published(paths)
	w.start(nixRules)
	w.log.Lie(func(l *logtest.Lies) { l.Down = true })
	m := newMachine(t, paths)
	m.uses(w.url, localKey)
	for _, script := range []string{"nix-store -r " + top.String(), "nix-build pkgs.nix -A one --no-out-link"} {
		_, words, err := m.try(script)
		if err == nil || strings.Contains(words, "building '") || !strings.Contains(words, " is refused: inconclusive, 2 of 3 needed, 0 found; log main did not answer and nothing is remembered (rule default") {
			t.Errorf("%s: %v\n%s", script, err, words)
		}
	}
}

func (m *machine) obeys(w *world, top nix.StorePath) {
	m.t.Helper()
	m.uses(w.url, localKey)
	m.run("nix-store -r " + top.String())
	if got := strings.Fields(m.run("nix-store -qR " + top.String())); len(got) != closurePaths {
		m.t.Errorf("%d paths were installed, want %d", len(got), closurePaths)
	}
	m.run("nix-store --verify --check-contents")
	if c := w.s.Counts(); c.Served != closurePaths || c.Nars != closurePaths || c.Batches > closurePaths/10 {
		m.t.Errorf("%+v", c)
	}
	_, words, err := m.try("nix-build pkgs.nix -A one --no-out-link")
	if err != nil || !strings.Contains(words, "building '/nix/store/") {
		m.t.Errorf("one: %v\n%s", err, words)
	}
	_, words, err = m.try("nix-build pkgs.nix -A contra --no-out-link")
	if err == nil || !strings.Contains(words, "-contra is refused: contradicted") || !strings.Contains(words, "claims another hash") {
		m.t.Errorf("contra: %v\n%s", err, words)
	}
}

// BenchmarkStockNix installs a closure of 500 paths from the cache directly, and through the
// substituter without and with decisions. The cache and the substituter are in one process.
func BenchmarkStockNix(b *testing.B) {
	const paths = 500
	w := newWorld(b)
	top := w.published(paths)
	install := func(url string, key nix.SecretKey) time.Duration {
		user := newMachine(b, 1)
		user.uses(url, key)
		user.run("nix-store -qR /nix 2>/dev/null || true") // makes its database
		begin := time.Now()
		user.run("nix-store -r " + top.String())
		return time.Since(begin)
	}
	var direct, cold, warm []time.Duration
	for b.Loop() {
		w.o.State = b.TempDir()
		w.start(nixRules)
		cold = append(cold, install(w.url, localKey))
		direct = append(direct, install(w.caches[0].url, cacheKey))
		warm = append(warm, install(w.url, localKey))
	}
	for name, all := range map[string][]time.Duration{"direct": direct, "cold": cold, "warm": warm} {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2].Seconds(), name+"-s")
	}
}

// bodies are statements about each output of derivations, still without what it is.
func (m *machine) bodies(drvs []string) map[nix.StorePath]*statement.Build {
	m.t.Helper()
	all := make(map[nix.StorePath]*statement.Build)
	for _, text := range drvs {
		path, err := nix.ParseStorePath(text)
		if err != nil {
			m.t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(m.root, text))
		if err != nil {
			m.t.Fatal(err)
		}
		d, err := nix.ParseDerivation(storeDir, strings.TrimSuffix(path.Name(), ".drv"), b)
		if err != nil {
			m.t.Fatal(err)
		}
		modulo, err := nix.NewModuloCache(nil).Match(d)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, o := range d.Outputs {
			out, err := nix.ParseStorePath(o.Path)
			if err != nil {
				m.t.Fatal(err)
			}
			all[out] = &statement.Build{
				DrvPath: path, DrvHash: sha256.Sum256(b), Modulo: modulo.Hash, System: "x86_64-linux", StoreDir: storeDir, Partial: true,
				Outputs: []statement.BuildOutput{{Name: o.Name, Path: out}},
				How:     statement.HowBuilt, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0", Sandbox: true},
				Started: 1_700_000_000, Finished: 1_700_000_001,
			}
		}
	}
	return all
}

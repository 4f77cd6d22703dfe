package rebuild

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// enterRoot runs a command in another root, whose /nix is the machine's: $1 the root,
// $2 the machine's folder, then the command. Nix's sandbox wants a real root, which
// bwrap does not make.
const enterRoot = `
mount --make-rprivate /
mount --bind "$1" "$1"
mkdir -p "$1/proc" "$1/dev" "$1/nix" "$1/$2" "$1/old-root"
mount --rbind /proc "$1/proc"; mount --rbind /dev "$1/dev"; mount --bind "$2" "$1/$2"; mount --bind "$2/nix" "$1/nix"
cd "$1"; pivot_root . old-root; umount -l /old-root
cd "$2/src"; shift 2; exec "$@"
`

// Newer versions of Nix, each in a root of its own, for instance made with debootstrap
// --include=libdbi-perl,nix-bin,busybox-static (trixie has 2.26, sid 2.34).
func TestOtherVersionsOfNix(t *testing.T) {
	for part, env := range map[string]string{"nix226": "FIRN_NIX226", "nix234": "FIRN_NIX234"} {
		t.Run(part, func(t *testing.T) {
			root := os.Getenv(env)
			if root == "" || os.Getuid() != 0 {
				testreq.Missing(t, part, env+" names no root with that Nix, or this is not root")
			}
			onOtherNix(t, root)
		})
	}
}

func onOtherNix(t *testing.T, root string) {
	m := newMachine(t)
	in := func(args ...string) *exec.Cmd {
		cmd := exec.Command("unshare", append([]string{"-m", "sh", "-euc", enterRoot, "sh", root, m.root}, args...)...)
		cmd.Env = append(m.environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR=/tmp")
		return cmd
	}
	run := func(args ...string) string {
		t.Helper()
		var stderr bytes.Buffer
		cmd := in(args...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
	t.Log(run("nix-store", "--version"))
	run("nix-build", "pkgs.nix", "--no-out-link", "-A", "app", "-A", "irr", "-A", "attrs", "-A", "graph")

	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	b, err := io.ReadAll(exe)
	if err != nil {
		t.Fatal(err)
	}
	m.write("rebuild.test", string(b), 0o755)
	w := newWorld(t, m)
	w.conf.Store = ""
	names := []string{"app", "irr", "evil", "exit3", "lib", "attrs", "graph"}
	w.helper() // writes the configuration
	var drvs []string
	for _, name := range names {
		drvs = append(drvs, `"`+run("nix-instantiate", "pkgs.nix", "-A", name)+`"`)
	}
	conf, err := os.ReadFile(filepath.Join(m.root, "helper.json"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("helper.json", strings.Replace(string(conf), `"Drvs":[]`, `"Drvs":[`+strings.Join(drvs, ",")+"]", 1), 0o644)
	got := run("env", "FIRN_REBUILD_TEST="+filepath.Join(m.root, "helper.json"), filepath.Join(m.root, "rebuild.test"))
	want := "app-2.3 agree \napp-2.3 out agree\nirr-1 differ \nirr-1 doc differ\nirr-1 man differ\nirr-1 out agree\nevil missing \nevil out missing\nexit3 failed \nlib-1.0 agree \nlib-1.0 dev agree\nlib-1.0 out agree\nattrs agree \nattrs out agree\ngraph agree \ngraph out agree"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

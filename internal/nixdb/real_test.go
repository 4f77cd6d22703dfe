package nixdb

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
)

// A real store of stock Nix, private to the test: both sources must say the same
// about it, and what Nix itself says.
func TestSourcesAgreeOnARealStore(t *testing.T) {
	testreq.Command(t, "nix", "nix-store")
	testreq.Command(t, "nix", "bwrap")
	root := testreq.StoreRoot(t)
	dump := filepath.Join(root, "dump")
	for _, d := range []string{"nix", "etc", "src"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("src/file", "content\n")
	write("etc/nix.conf", "sandbox = false\nbuild-users-group =\nsubstituters =\n")
	write("two.nix", `derivation { name = "two"; system = builtins.currentSystem; builder = "/bin/sh"; outputs = [ "out" "dev" ];
		args = [ "-c" "echo ${./src} $out > $out; echo $out > $dev" ]; }`)
	write("nix-store", "#!/bin/sh\ncat "+dump+"\n")
	run := func(script string) string {
		t.Helper()
		cmd := exec.Command("bwrap", "--dev-bind", "/", "/", "--bind", filepath.Join(root, "nix"), "/nix", "--die-with-parent", "--chdir", root, "sh", "-euc", script)
		cmd.Env = append(os.Environ(), "NIX_CONF_DIR="+filepath.Join(root, "etc"), "HOME="+root, "NIX_REMOTE=", "NIX_CONFIG=", "NIX_STATE_DIR=", "NIX_PATH=")
		cmd.Env = slices.DeleteFunc(cmd.Env, func(s string) bool { return strings.HasSuffix(s, "=") })
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}
	run(`nix-build two.nix --no-out-link; nix-store --dump-db > ` + dump)
	drv := strings.TrimSpace(run(`nix-instantiate two.nix 2>/dev/null`))

	db, err := Open(filepath.Join(root, "nix/var/nix/db/db.sqlite"), nix.DefaultStoreDir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	dumped, err := DumpDB(context.Background(), filepath.Join(root, "nix-store"), nix.DefaultStoreDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(dumped.infos) != 4 {
		t.Errorf("%d paths, want a source, a derivation and two outputs", len(dumped.infos))
	}
	built := 0
	for p, want := range dumped.infos {
		got, err := db.PathInfo(t.Context(), p)
		if err != nil || got.Fingerprint() != want.Fingerprint() || got.Deriver != want.Deriver {
			t.Errorf("%s: database %+v (%v), dump %+v", p, got, err, want)
			continue
		}
		hash, size, err := nix.HashPath(t.Context(), filepath.Join(root, p.String()), nil)
		if err != nil || hash != got.NarHash || size != got.NarSize {
			t.Errorf("%s: hashed %v %d (%v), database %v %d", p, hash, size, err, got.NarHash, got.NarSize)
		}
		if got.Ultimate {
			built++
		}
		for _, src := range []Source{db, dumped} {
			closure, err := src.Closure(t.Context(), []nix.StorePath{p})
			var lines []string
			for _, info := range closure {
				lines = append(lines, info.Path.String())
			}
			if want := strings.Fields(run("nix-store -qR " + p.String() + " | LC_ALL=C sort")); err != nil || !slices.Equal(lines, want) {
				t.Errorf("closure of %s in %T: %v (%v), Nix says %v", p, src, lines, err, want)
			}
		}
	}
	drvPath, err := nix.ParseStorePath(drv)
	if err != nil {
		t.Fatal(err)
	}
	outs, err := db.DerivationOutputs(t.Context(), drvPath)
	if err != nil || len(outs) != 2 || outs["dev"].Name() != "two-dev" || built != 2 {
		t.Errorf("outputs %v (%v), %d paths built here; want 2", outs, err, built)
	}
}

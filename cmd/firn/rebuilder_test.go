package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/firn-log/firn/internal/testreq"
)

// TestOnStockNix runs testdata/nix/*.txtar: real programs of firn on a machine with
// stock Nix, whose /nix is $WORK/nix in the commands that `machine` runs. Its log
// is to be started at $LOGADDR, which is $LOG.
func TestOnStockNix(t *testing.T) {
	testreq.Command(t, "nix", "nix-build")
	testreq.Command(t, "nix", "bwrap")
	testreq.Command(t, "curl", "curl")
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+"/", "../firn-log", "../firn-hook")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/nix",
		RequireExplicitExec: true,
		WorkdirRoot:         testreq.StoreRoot(t),
		Condition: func(cond string) (bool, error) {
			if cond != "root" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return os.Geteuid() == 0, nil
		},
		Setup: func(env *testscript.Env) error {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer ln.Close()
			env.Setenv("LOGADDR", ln.Addr().String())
			env.Setenv("LOG", "http://"+ln.Addr().String())
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			return os.MkdirAll(filepath.Join(env.WorkDir, "home"), 0o700)
		},
	})
}

func TestBuildersOfNix(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"machines": "# a comment\nssh://one x86_64-linux\n\nssh://two  # another\n",
		"included": "builders = ssh://three i686-linux ; ssh://four\n",
		"endless":  "include endless\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string][]string{
		"builders =\n":                                                     {},
		"# builders = ssh://no\nbuilders =":                                {},
		"builders = @" + dir + "/machines\n":                               {"ssh://one", "ssh://two"},
		"include included\n":                                               {"ssh://three", "ssh://four"},
		"!include none\nbuilders = ssh://a ":                               {"ssh://a"},
		"builders =\nextra-builders = ssh://b\ninclude endless\n":          {"ssh://b"},
		"builders = ssh://a\nbuilders = ssh://b ; @" + dir + "/machines\n": {"ssh://b", "ssh://one", "ssh://two"},
	} {
		conf := filepath.Join(dir, "nix.conf")
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &setup{setupFlags: &setupFlags{json: true}}
		s.hook.nixConf = conf
		s.findBuilders()
		if !slices.Equal(s.out.Builders, want) && len(s.out.Builders)+len(want) > 0 {
			t.Errorf("%q: %q, want %q", text, s.out.Builders, want)
		}
	}
}

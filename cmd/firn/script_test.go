package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/logtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"firn": main, "firn-fixture": verifyWorld, "repro-fixture": reproFixture})
}

// TestScripts runs testdata/script/*.txtar. Each has a log of its own at $LOG
// with the origin $ORIGIN, its policy in $WORK/log.policy, and a HOME that is
// empty; the vectors of the specification are in $VECTORS. At $TRACKER is what is in $WORK/tracker.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			l := logtest.New(t)
			testscript.Run(t, testscript.Params{
				Files:               []string{file},
				RequireExplicitExec: true,
				Setup: func(env *testscript.Env) error {
					home := filepath.Join(env.WorkDir, "home")
					env.Setenv("HOME", home)
					env.Setenv("LOG", l.URL())
					env.Setenv("ORIGIN", l.Origin())
					tracker := serveTracker(env.WorkDir)
					env.Defer(tracker.Close)
					env.Setenv("TRACKER", tracker.URL)
					env.Setenv("VECTORS", filepath.Join(testreq.Root(), "spec", "vectors"))
					if err := os.MkdirAll(home, 0o700); err != nil {
						return err
					}
					return os.WriteFile(filepath.Join(env.WorkDir, "log.policy"), []byte(l.PolicyText()), 0o644)
				},
			})
		})
	}
}

// TestRealPrograms runs testdata/real/*.txtar, with firn-log, firn-peer and firn-auditor in PATH
// and room for two at the addresses $LOGADDR and $PEERADDR, whose URLs are $LOG
// and $PEER.
func TestRealPrograms(t *testing.T) {
	testreq.Command(t, "curl", "curl")
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+"/", "../firn-log", "../firn-peer", "../firn-auditor")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/real",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"LOG", "PEER"} {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer ln.Close()
				env.Setenv(name+"ADDR", ln.Addr().String())
				env.Setenv(name, "http://"+ln.Addr().String())
			}
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			return nil
		},
	})
}

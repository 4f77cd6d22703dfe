package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/firn-log/firn/internal/testreq"
)

// asProgram makes this binary the program, for tests that kill it.
const asProgram = "FIRN_TEST_AUDITOR"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"firn-auditor": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}

// TestRealPrograms runs testdata/real/*.txtar with firn-log and firn in PATH, with room
// for a log and an auditor at $LOGADDR and $AUDITORADDR.
func TestRealPrograms(t *testing.T) {
	testreq.Command(t, "curl", "curl")
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+"/", "../firn-log", "../firn")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/real",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"LOG", "AUDITOR"} {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer ln.Close()
				env.Setenv(name+"ADDR", ln.Addr().String())
				env.Setenv(name, "http://"+ln.Addr().String())
			}
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			return os.MkdirAll(home, 0o700)
		},
	})
}

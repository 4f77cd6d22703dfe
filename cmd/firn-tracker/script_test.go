package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/firn-log/firn/log/logtest"
)

// programEnv makes the test program firn-tracker, for tests that kill it.
const programEnv = "FIRN_TEST_TRACKER"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){
		"firn-tracker": main,
		// activate PROGRAM ARG… hands a listening socket over as systemd does.
		"activate": func() {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				panic(err)
			}
			f, err := ln.(*net.TCPListener).File()
			if err != nil {
				panic(err)
			}
			if err := syscall.Dup2(int(f.Fd()), 3); err != nil {
				panic(err)
			}
			path, err := exec.LookPath(os.Args[1])
			if err != nil {
				panic(err)
			}
			env := append(os.Environ(), "LISTEN_FDS=1", "LISTEN_PID="+strconv.Itoa(os.Getpid()))
			panic(syscall.Exec(path, os.Args[1:], env))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"get": get},
		Setup: func(e *testscript.Env) error {
			// A log with an operator who has built something, and one that begins otherwise.
			for _, name := range []string{"log", "other"} {
				w := newWorld(t, logtest.Witnesses(1, 1))
				w.register(name)
				w.builds(name, 0, 3)
				w.Publish()
				if err := os.CopyFS(e.WorkDir+"/"+name, os.DirFS(w.Dir())); err != nil {
					return err
				}
				if err := os.WriteFile(e.WorkDir+"/log.policy", []byte(w.PolicyText()), 0o644); err != nil {
					return err
				}
			}
			e.Setenv("HOME", e.WorkDir+"/home")
			return os.Mkdir(e.WorkDir+"/home", 0o755)
		},
	})
}

var address = regexp.MustCompile(`msg=serving address=(\S+)`)

// get WORDS STATUS PATH asks the tracker that says in the file WORDS where it serves, and
// shows the answer as stdout.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: get WORDS STATUS PATH")
	}
	m := address.FindStringSubmatch(ts.ReadFile(args[0]))
	if m == nil {
		ts.Fatalf("%s says no address", args[0])
	}
	resp, err := http.Get("http://" + m[1] + args[2])
	ts.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if strconv.Itoa(resp.StatusCode) != args[1] {
		ts.Fatalf("status %d, want %s: %s", resp.StatusCode, args[1], b)
	}
	_, err = ts.Stdout().Write(b)
	ts.Check(err)
}

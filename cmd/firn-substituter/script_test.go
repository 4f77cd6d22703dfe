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
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"firn-substituter": main,
		// activate ADDRESS PROGRAM ARG… hands a listening socket over as systemd does.
		"activate": func() {
			ln, err := net.Listen("tcp", os.Args[1])
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
			path, err := exec.LookPath(os.Args[2])
			if err != nil {
				panic(err)
			}
			env := append(os.Environ(), "LISTEN_FDS=1", "LISTEN_PID="+strconv.Itoa(os.Getpid()))
			panic(syscall.Exec(path, os.Args[2:], env))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: map[string]func(*testscript.TestScript, bool, []string){"get": get}})
}

var address = regexp.MustCompile(`msg=serving address=(\S+)`)

// get WORDS STATUS PATH asks the substituter that says in the file WORDS where it serves, and
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

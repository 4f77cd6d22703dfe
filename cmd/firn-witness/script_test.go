package main

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"firn-witness": main,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"post": post},
	})
}

var address = regexp.MustCompile(`msg=serving .*address=(\S+)`)

// post WORDS STATUS FILE submits a request to the witness that says in the file
// WORDS where it serves, and shows the answer as stdout.
func post(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: post WORDS STATUS FILE")
	}
	m := address.FindStringSubmatch(ts.ReadFile(args[0]))
	if m == nil {
		ts.Fatalf("%s says no address", args[0])
	}
	resp, err := http.Post("http://"+m[1]+"/add-checkpoint", "", bytes.NewReader([]byte(ts.ReadFile(args[2]))))
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

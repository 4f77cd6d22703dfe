package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A mistyped command must not look like one that did what it should.
func TestEveryGroupRefusesAnUnknownCommand(t *testing.T) {
	var stdout, stderr bytes.Buffer
	a := &app{Stdin: &bytes.Buffer{}, Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" }}
	groups := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if !c.HasSubCommands() {
			return
		}
		groups++
		path := strings.Fields(c.CommandPath())
		stdout.Reset()
		stderr.Reset()
		code := run(context.Background(), a, append(path[1:], "qqqqqq"))
		want := "firn: error: " + c.CommandPath() + " has no command \"qqqqqq\"\n" +
			"firn: hint: run `" + c.CommandPath() + " --help` for the commands\n"
		if code != exitUsage || stdout.Len() > 0 || stderr.String() != want {
			t.Errorf("%s qqqqqq: status %d, stdout %q, stderr\n%s", c.CommandPath(), code, &stdout, &stderr)
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRootCmd(a))
	if groups < 7 {
		t.Errorf("only %d groups were found", groups)
	}
}

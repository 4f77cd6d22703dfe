// Command firn is everything that a person types: verify, submit, key,
// operator, log.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/firn-log/firn/ingest/rebuild"
	"github.com/firn-log/firn/internal/cmdline"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a command ends before its garbage costs more than collecting it
	}
	rebuild.Inside() // does not return where firn started itself to build in a room
	cmdline.Main(func(ctx context.Context) int {
		return run(ctx, &app{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}, os.Args[1:])
	})
}

// Command firn is everything that a person types: verify, submit, key,
// operator, log.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/firn-log/firn/ingest/rebuild"
)

func main() {
	rebuild.Inside() // does not return where firn started itself to build in a room
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, &app{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}, os.Args[1:])
	stop()
	os.Exit(code)
}

// Command firn-substituter is a binary cache for one machine that gives its Nix only what a
// firn.policy lets in (spec/substituter.md).
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	// It runs on every machine, mostly doing nothing: what is left is garbage of requests.
	debug.SetGCPercent(50)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, newApp(), os.Args[1:])
	stop()
	os.Exit(code)
}

// Command firn-substituter is a binary cache for one machine that gives its Nix only what a
// firn.policy lets in (spec/substituter.md).
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/firn-log/firn/internal/cmdline"
)

func main() {
	// It runs on every machine, mostly doing nothing: what is left is garbage of requests.
	debug.SetGCPercent(50)
	cmdline.Main(func(ctx context.Context) int { return run(ctx, newApp(), os.Args[1:]) })
}

// Command firn-witness runs a C2SP tlog-witness: it makes one, serves it, and
// moves it to another place.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/firn-log/firn/internal/cmdline"
)

func main() {
	// A witness is small and stays so: it holds a few hundred bytes per log, and
	// what is left is garbage of requests.
	debug.SetGCPercent(50)
	cmdline.Main(func(ctx context.Context) int {
		return run(ctx, &app{Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:])
	})
}

// Command firn-tracker shows what logs say about packages: who built what, who agrees,
// and since when not (spec/tracker.md).
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/firn-log/firn/internal/cmdline"
)

func main() {
	// Most of what is allocated is entries on their way to the database.
	debug.SetGCPercent(50)
	cmdline.Main(func(ctx context.Context) int { return run(ctx, newApp(), os.Args[1:]) })
}

// Command firn-auditor recomputes the index of a log and cosigns the checkpoints of
// which every revision is right: it makes an auditor and serves it.
package main

import (
	"context"
	"os"

	"github.com/firn-log/firn/internal/cmdline"
)

func main() {
	cmdline.Main(func(ctx context.Context) int {
		return run(ctx, &app{Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:])
	})
}

// Command firn-peer compares the checkpoints that logs, witnesses and other peers
// show, keeps evidence, feeds witnesses and mirrors logs.
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

// Command firn-log runs a firn log: it makes one, and serves it.
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

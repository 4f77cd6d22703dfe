// Command firn-witness runs a C2SP tlog-witness: it makes one, serves it, and
// moves it to another place.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	// A witness is small and stays so: it holds a few hundred bytes per log, and
	// what is left is garbage of requests.
	debug.SetGCPercent(50)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, &app{Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

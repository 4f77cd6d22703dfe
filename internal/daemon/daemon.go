// Package daemon is what programs that serve have in common: what they log to, where
// they listen, and how they stop.
package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Patience bounds how long what is on its way may take when a program stops.
const Patience = 10 * time.Second

// Logger writes what a program says to w, more of it if debug is set.
func Logger(w io.Writer, debug bool) *slog.Logger {
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// Listen returns the socket that systemd handed over (sd_listen_fds), or a new one at an
// address and port. handed says which it is.
func Listen(getenv func(string) string, address string) (ln net.Listener, handed bool, err error) {
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || getenv("LISTEN_FDS") == "" {
		ln, err = net.Listen("tcp", address)
		return ln, false, err
	}
	if n := getenv("LISTEN_FDS"); n != "1" {
		return nil, true, fmt.Errorf("systemd hands over %s sockets, not one", n)
	}
	const first = 3
	syscall.CloseOnExec(first)
	f := os.NewFile(first, "socket of systemd")
	defer f.Close()
	ln, err = net.FileListener(f)
	return ln, true, err
}

// Serve serves on ln until ctx ends, and lets what is on its way come to its end.
func Serve(ctx context.Context, ln net.Listener, srv *http.Server) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), Patience)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		return srv.Close()
	}
	return nil
}

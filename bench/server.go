package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/firn-log/firn/log/server"
	"github.com/firn-log/firn/log/statement"
)

// testLog is a running firn-log with one registered operator.
type testLog struct {
	url    string
	vkey   string
	origin string
	op     *operator
	stop   func()
}

// startLog makes an open log below dir and runs the real program on it.
func startLog(ctx context.Context, dir, bin string) (*testLog, error) {
	return startLogWith(ctx, dir, bin, func(*server.Config) {})
}

// startLogWith is startLog of a log whose configuration change changes.
func startLogWith(ctx context.Context, dir, bin string, change func(*server.Config)) (*testLog, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	home := filepath.Join(dir, fmt.Sprintf("log-%d", ports[0]))
	l := &testLog{url: "http://" + addr}
	l.vkey, err = server.Init(home, server.InitOptions{Name: "bench.firn.example", Mode: statement.ModeOpen, Change: func(c *server.Config) {
		c.Listen = addr
		c.CheckpointInterval.Duration = 100 * time.Millisecond
		change(c)
		l.origin = c.Origin
	}})
	if err != nil {
		return nil, err
	}
	if l.stop, err = start(exec.CommandContext(ctx, filepath.Join(bin, "firn-log"), "serve", home), home+".out"); err != nil {
		return nil, err
	}
	if err := waitFor(ctx, l.url+"/readyz", 20*time.Second); err != nil {
		l.stop()
		return nil, err
	}
	l.op, err = l.register(ctx, "bench")
	if err != nil {
		l.stop()
	}
	return l, err
}

// register makes an operator and enters its people statements.
func (l *testLog) register(ctx context.Context, name string) (*operator, error) {
	op, err := newOperator(ctx, name, l.origin)
	if err != nil {
		return nil, err
	}
	if _, err := post(http.DefaultClient, l.url, op.people, 10*time.Second); err != nil {
		return nil, fmt.Errorf("registering an operator: %w", err)
	}
	return op, nil
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/firn-log/firn/log/server"
	"github.com/firn-log/firn/log/statement"
)

// benchWitnessed measures a single statement from its submission to its proof
// under 3 of 4 witnesses, each a program of its own on this machine.
func benchWitnessed(ctx context.Context, dir, bin string) ([]row, error) {
	l, err := startWitnessedLog(ctx, dir, bin)
	if err != nil {
		return nil, err
	}
	defer l.stop()
	const n = 100
	leaves, err := l.op.buildLeaves(ctx, 100, n)
	if err != nil {
		return nil, err
	}
	r := rate{items: n}
	for i, leaf := range leaves {
		// Arrivals must not fall in step with the interval.
		time.Sleep(time.Duration(i*37%200) * time.Millisecond)
		begin := time.Now()
		if _, err := post(http.DefaultClient, l.url, [][]byte{leaf}, 10*time.Second); err != nil {
			return nil, err
		}
		r.latency = append(r.latency, time.Since(begin))
	}
	p50, p99 := r.quantile(.5), r.quantile(.99)
	return []row{{
		what:   "submit → proof under 3 of 4 local witnesses, interval 200 ms",
		value:  fmt.Sprintf("p50 %s, p99 %s", millis(p50), millis(p99)),
		target: "p50 ≤ 300 ms, p99 ≤ 800 ms", fraction: fmt.Sprintf("%.2f and %.2f of the targets", p50.Seconds()/.3, p99.Seconds()/.8),
		met: p50 <= 300*time.Millisecond && p99 <= 800*time.Millisecond,
	}}, nil
}

// startWitnessedLog runs an open log with four witnesses, of which three must
// cosign, and registers an operator.
func startWitnessedLog(ctx context.Context, dir, bin string) (*testLog, error) {
	const witnesses, quorum = 4, 3
	ports, err := freePorts(1 + witnesses)
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	home := filepath.Join(dir, fmt.Sprintf("log-%d", ports[0]))
	l := &testLog{url: "http://" + addr}
	l.vkey, err = server.Init(home, server.InitOptions{Name: "bench.firn.example", Mode: statement.ModeOpen, Change: func(c *server.Config) {
		c.Listen = addr
		c.Witnessing.Policy = "witness.policy"
		c.Witnessing.Interval.Duration = 200 * time.Millisecond
		l.origin = c.Origin
	}})
	if err != nil {
		return nil, err
	}
	var stops []func()
	l.stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]() // the log first, then its witnesses
		}
	}
	policy := fmt.Sprintf("log %s\n", l.vkey)
	var names []string
	for i, port := range ports[1:] {
		vkey, stop, err := startFirnWitness(ctx, dir, bin, l.vkey, fmt.Sprintf("witness.example/w%d", i), port)
		if err != nil {
			l.stop()
			return nil, err
		}
		stops = append(stops, stop)
		names = append(names, fmt.Sprintf("w%d", i))
		policy += fmt.Sprintf("witness w%d %s http://127.0.0.1:%d\n", i, vkey, port)
	}
	policy += fmt.Sprintf("group g %d %s\nquorum g\n", quorum, strings.Join(names, " "))
	err = os.WriteFile(filepath.Join(home, "witness.policy"), []byte(policy), 0o644)
	if err == nil {
		var stop func()
		if stop, err = start(exec.CommandContext(ctx, filepath.Join(bin, "firn-log"), "serve", home), home+".out"); err == nil {
			stops = append(stops, stop)
			err = waitFor(ctx, l.url+"/readyz", 20*time.Second)
		}
	}
	if err == nil {
		l.op, err = l.register(ctx, "bench")
	}
	if err != nil {
		l.stop()
	}
	return l, err
}

// startFirnWitness makes a witness of the log and runs the real program on it.
func startFirnWitness(ctx context.Context, dir, bin, logVKey, name string, port int) (vkey string, stop func(), err error) {
	program := filepath.Join(bin, "firn-witness")
	home := filepath.Join(dir, fmt.Sprintf("witness-%d", port))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	out, err := exec.CommandContext(ctx, program, "init", "--name", name, "--listen", addr, "--log", logVKey, home).Output()
	if err != nil {
		return "", nil, fmt.Errorf("making a witness: %w", err)
	}
	if stop, err = start(exec.CommandContext(ctx, program, "serve", home), home+".out"); err != nil {
		return "", nil, err
	}
	if err := waitTCP(ctx, addr); err != nil {
		stop()
		return "", nil, err
	}
	return string(bytes.TrimSpace(out)), stop, nil
}

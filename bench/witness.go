package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/firn-log/firn/witness/sample"
	"github.com/firn-log/firn/witness/server"
)

const (
	witnessLogs   = 8
	witnessFor    = 5 * time.Second
	witnessTarget = 2000.0    // add-checkpoint/s
	witnessMemory = 32 << 20  // bytes, resident
	witnessStart  = 1_000     // entries before the measurement: proofs have about ten hashes
	witnessGrowth = 3         // entries between two checkpoints
	witnessMost   = 1_000_000 // requests of one run
)

// witnessLoad is growing logs whose requests were made beforehand: what is
// measured is the witness and not the logs.
type witnessLoad struct {
	logs   []*sample.Log
	bodies [][][]byte
}

// newWitnessLoad makes requests for a rate per second and the whole run.
func newWitnessLoad(perSecond float64) *witnessLoad {
	l := &witnessLoad{bodies: make([][][]byte, witnessLogs)}
	each := int(min(witnessMost, perSecond*witnessFor.Seconds()) / witnessLogs)
	var wg sync.WaitGroup
	for i := range witnessLogs {
		log := sample.New(fmt.Sprintf("log%d.bench.example/%08x", i, i))
		l.logs = append(l.logs, log)
		wg.Go(func() {
			log.Grow(witnessStart + uint64(each)*witnessGrowth)
			old := uint64(0)
			for size := uint64(witnessStart); size <= log.Size(); size += witnessGrowth {
				l.bodies[i] = append(l.bodies[i], log.Request(old, size))
				old = size
			}
		})
	}
	wg.Wait()
	return l
}

// drive lets every log submit its checkpoints, one after the other, over one
// connection each.
func (l *witnessLoad) drive(ctx context.Context, url string) (rate, error) {
	ctx, cancel := context.WithTimeout(ctx, witnessFor)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: witnessLogs}}
	defer client.CloseIdleConnections()
	var r rate
	var mu sync.Mutex // guards r and failed
	var failed error
	var left atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for _, bodies := range l.bodies {
		wg.Go(func() {
			var latency []time.Duration
			for _, b := range bodies {
				t := time.Now()
				resp, err := client.Post(url, "text/plain", bytes.NewReader(b))
				if err == nil {
					err = drain(resp)
				}
				if err == nil && resp.StatusCode != http.StatusOK {
					err = fmt.Errorf("the witness answered %s", resp.Status)
				}
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					cancel()
				}
				if ctx.Err() != nil {
					left.Add(1)
					break
				}
				latency = append(latency, time.Since(t))
			}
			mu.Lock()
			defer mu.Unlock()
			r.latency = append(r.latency, latency...)
			r.elapsed = max(r.elapsed, time.Since(begin))
		})
	}
	wg.Wait()
	r.items = len(r.latency)
	if failed == nil && left.Load() == 0 {
		failed = fmt.Errorf("the requests were used up after %v", r.elapsed)
	}
	return r, failed
}

// benchWitness measures add-checkpoint with growing logs and real proofs, and
// litewitness beside it if its path is given.
func benchWitness(ctx context.Context, dir, bin, litewitness string, cal calibration) ([]row, error) {
	rows, ours, err := benchFirnWitness(ctx, dir, bin, cal)
	if err != nil || litewitness == "" {
		return rows, err
	}
	theirs, row, err := benchLitewitness(ctx, dir, litewitness)
	if err != nil {
		return nil, err
	}
	rows[0].fraction += fmt.Sprintf("; %.1f × litewitness", ours/theirs)
	return append(rows, row), nil
}

func benchFirnWitness(ctx context.Context, dir, bin string, cal calibration) ([]row, float64, error) {
	load := newWitnessLoad(4 * witnessTarget)
	ports, err := freePorts(1)
	if err != nil {
		return nil, 0, err
	}
	home, addr := filepath.Join(dir, "witness"), fmt.Sprintf("127.0.0.1:%d", ports[0])
	_, err = server.Init(home, server.InitOptions{Name: "witness.bench.example/w1", Change: func(c *server.Config) {
		c.Listen = addr
		for _, l := range load.logs {
			c.Logs = append(c.Logs, server.LogConfig{VKey: l.Key.String()})
		}
	}})
	if err != nil {
		return nil, 0, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "firn-witness"), "serve", home)
	stop, err := start(cmd, home+".out")
	if err != nil {
		return nil, 0, err
	}
	defer stop()
	if err := waitFor(ctx, "http://"+addr+"/readyz", 20*time.Second); err != nil {
		return nil, 0, err
	}
	r, err := load.drive(ctx, "http://"+addr+"/add-checkpoint")
	if err != nil {
		return nil, 0, err
	}
	rss, err := peakMemory(cmd.Process.Pid)
	if err != nil {
		return nil, 0, err
	}
	stop()
	cpu := childCPU(cmd) / time.Duration(max(r.items, 1))
	limit := witnessLogs * cal.fsyncPerSecond
	target := min(witnessTarget, 0.6*limit)
	return []row{
		{
			what:     fmt.Sprintf("add-checkpoint, %d growing logs, real proofs", witnessLogs),
			value:    fmt.Sprintf("%s/s, p50 %s, p99 %s", count(r.perSecond()), millis(r.quantile(0.5)), millis(r.quantile(0.99))),
			target:   "≥ " + count(target) + "/s",
			fraction: fmt.Sprintf("%.0f %% of %d × fsync", 100*r.perSecond()/limit, witnessLogs),
			met:      r.perSecond() >= target,
		},
		{
			what:     "firn-witness, processor time of one add-checkpoint",
			value:    fmt.Sprintf("%d µs", cpu.Microseconds()),
			fraction: fmt.Sprintf("%.1f × an ed25519 verify", cpu.Seconds()*cal.verifyPerSecond),
		},
		{
			what:   "firn-witness, memory at most",
			value:  fmt.Sprintf("%.1f MiB", float64(rss)/(1<<20)),
			target: "< 32 MB", met: rss < witnessMemory,
		},
	}, r.perSecond(), nil
}

// peakMemory returns the largest resident set that a process had, in bytes.
func peakMemory(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("the memory of process %d is not told", pid)
}

// benchLitewitness runs litewitness with a key in an agent of its own.
func benchLitewitness(ctx context.Context, dir, path string) (float64, row, error) {
	load := newWitnessLoad(2 * witnessTarget)
	home := filepath.Join(dir, "lw")
	if err := os.Mkdir(home, 0o700); err != nil {
		return 0, row{}, err
	}
	key, sock, db := filepath.Join(home, "key"), filepath.Join(home, "agent"), filepath.Join(home, "lw.db")
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+sock)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return string(out), err
	}
	if _, err := run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key); err != nil {
		return 0, row{}, err
	}
	agent := exec.CommandContext(ctx, "ssh-agent", "-D", "-a", sock)
	stopAgent, err := start(agent, filepath.Join(home, "agent.out"))
	if err != nil {
		return 0, row{}, err
	}
	defer stopAgent()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := run("ssh-add", "-q", key); err == nil {
			break
		} else if time.Now().After(deadline) {
			return 0, row{}, err
		}
	}
	fingerprint, err := run("ssh-keygen", "-lf", key+".pub")
	if err != nil {
		return 0, row{}, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return 0, row{}, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	serve := func() (func(), error) {
		cmd := exec.CommandContext(ctx, path, "-db", db, "-name", "witness.bench.example/lw", "-key", strings.Fields(fingerprint)[1], "-ssh-agent", sock, "-listen", addr)
		return start(cmd, filepath.Join(home, "lw.out"))
	}
	if err := litewitnessLogs(ctx, db, load, run, serve, addr); err != nil {
		return 0, row{}, err
	}
	stop, err := serve()
	if err != nil {
		return 0, row{}, err
	}
	defer stop()
	if err := waitTCP(ctx, addr); err != nil {
		return 0, row{}, err
	}
	r, err := load.drive(ctx, "http://"+addr+"/add-checkpoint")
	return r.perSecond(), row{
		what:  fmt.Sprintf("litewitness, the same %d logs", witnessLogs),
		value: fmt.Sprintf("%s/s, p50 %s, p99 %s", count(r.perSecond()), millis(r.quantile(0.5)), millis(r.quantile(0.99))),
	}, err
}

// litewitnessLogs makes litewitness's database, by letting it start once, and
// adds the logs with the sqlite3 command.
func litewitnessLogs(ctx context.Context, db string, load *witnessLoad, run func(string, ...string) (string, error), serve func() (func(), error), addr string) error {
	stop, err := serve()
	if err != nil {
		return err
	}
	err = waitTCP(ctx, addr)
	stop()
	if err != nil {
		return err
	}
	var sql strings.Builder
	for _, l := range load.logs {
		fmt.Fprintf(&sql, "INSERT INTO log(origin,tree_size,tree_hash) VALUES('%s',0,'47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=');", l.Origin)
		fmt.Fprintf(&sql, "INSERT INTO key(origin,key) VALUES('%s','%s');", l.Origin, l.Key)
	}
	_, err = run("sqlite3", db, sql.String())
	return err
}

// waitTCP waits until something listens at addr.
func waitTCP(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		resp, err := http.Get("http://" + addr + "/")
		if err == nil {
			return drain(resp)
		}
		if ctx.Err() != nil || !isRefused(err) {
			return fmt.Errorf("%s does not listen: %w", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func isRefused(err error) bool { return strings.Contains(err.Error(), syscall.ECONNREFUSED.Error()) }

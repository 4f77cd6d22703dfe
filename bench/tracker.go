package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// statements is the size of the logs that firn-tracker replays. At full size, 1,000,000,
// there are 100,000 attributes in each of 3 channels.
var statements = flag.Int("statements", 50_000, "number of statements of the logs that firn-tracker replays; 1,000,000 is full size")

const (
	trackerRSS = 200 << 20
	replayRate = 6000  // statements a second, verifying
	knownRate  = 10000 // that are known to verify
)

// benchTracker replays a log of made-up builds, served as static tiles, with the real
// firn-tracker: verifying, and again when it knows what verifies.
func benchTracker(ctx context.Context, dir, bin string, cal calibration) ([]row, error) {
	dir = filepath.Join(dir, "tracker")
	g := &trackerLog{dir: filepath.Join(dir, "log")}
	if err := g.generate(ctx, *statements); err != nil {
		return nil, fmt.Errorf("making a log: %w", err)
	}
	t := &trackerRun{bin: bin, policy: filepath.Join(dir, "log.policy")}
	stop, err := g.serve(t.policy)
	if err != nil {
		return nil, err
	}
	defer stop()
	what := fmt.Sprintf("firn-tracker, %s statements into ", count(float64(*statements)))
	limit := cal.verifyPerSecond * float64(runtime.NumCPU())
	one := filepath.Join(dir, "sqlite")
	var rows []row
	add := func(what string, r replayed, target float64) {
		rows = append(rows, row{
			what: what, value: fmt.Sprintf("%s/s, %d MiB", count(r.rate), r.rss>>20), target: fmt.Sprintf("≥ %s/s, < %d MiB", count(target), trackerRSS>>20),
			fraction: fmt.Sprintf("%.2f × the signatures that all cores check; %d µs of one core each", r.rate/limit, r.cpu.Microseconds()), met: r.rate >= target && r.rss < trackerRSS,
		})
	}
	first, err := t.run(ctx, one)
	if err != nil {
		return nil, err
	}
	add(what+"SQLite, verifying", first, replayRate)
	again, err := t.run(ctx, one)
	if err != nil {
		return nil, err
	}
	add(what+"SQLite, known to verify", again, knownRate)
	if first.dump != again.dump {
		return nil, errors.New("the second replay gives another database")
	}
	pg, err := startPostgres(ctx, filepath.Join(dir, "pg"))
	if err != nil || pg == nil {
		return rows, err
	}
	defer pg.stop()
	beside, err := t.run(ctx, filepath.Join(dir, "postgres"), "--database", pg.dsn)
	if err != nil {
		return nil, err
	}
	if beside.dump != first.dump {
		return nil, errors.New("PostgreSQL has another database than SQLite")
	}
	return append(rows, row{
		what: what + "PostgreSQL, verifying", value: fmt.Sprintf("%s/s, %d MiB", count(beside.rate), beside.rss>>20),
		fraction: fmt.Sprintf("%.2f × SQLite; %d µs of one core each, without PostgreSQL's own", beside.rate/first.rate, beside.cpu.Microseconds()),
	}), nil
}

// trackerRun runs firn-tracker rebuild.
type trackerRun struct{ bin, policy string }

// replayed is what a rebuild said and took.
type replayed struct {
	rate        float64 // entries a second
	evaluations time.Duration
	rss         int64         // bytes, at most
	cpu         time.Duration // of one core, for each entry, with the evaluations
	dump        string
}

var rebuilt = regexp.MustCompile(`(\d+) entries of \d+ logs? in (\S+), \d+ evaluations? in (\S+)`)

func (t *trackerRun) run(ctx context.Context, dir string, args ...string) (replayed, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(t.bin, "firn-tracker"), append([]string{"rebuild", "--log-policy", t.policy, dir}, args...)...)
	var stdout, said strings.Builder
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return replayed{}, err
	}
	if err := cmd.Start(); err != nil {
		return replayed{}, err
	}
	var m []string
	var r replayed
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if found := rebuilt.FindStringSubmatch(lines.Text()); found != nil { // what it dumps does not count
			m, r.rss, r.cpu = found, peak(cmd.Process.Pid), processCPU(cmd.Process.Pid)
		}
	}
	if err := cmd.Wait(); err != nil || m == nil {
		return replayed{}, fmt.Errorf("%s: %w\n%s", cmd, err, said.String())
	}
	n, err1 := strconv.ParseFloat(m[1], 64)
	took, err2 := time.ParseDuration(m[2])
	evals, err3 := time.ParseDuration(m[3])
	r.rate, r.evaluations, r.dump, r.cpu = n/took.Seconds(), evals, stdout.String(), time.Duration(float64(r.cpu)/n)
	return r, errors.Join(err1, err2, err3)
}

// peak is the most memory that a process has had so far, in bytes; 0 if it cannot be seen.
func peak(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	var kib int64
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			fmt.Sscan(v, &kib)
		}
	}
	return kib << 10
}

// processCPU is how long a process has computed so far; 0 if it cannot be seen.
func processCPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	const utime, tick = 11, 10 * time.Millisecond // fields behind the name; USER_HZ is 100
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < utime+2 {
		return 0
	}
	user, err1 := strconv.ParseInt(f[utime], 10, 64)
	system, err2 := strconv.ParseInt(f[utime+1], 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return time.Duration(user+system) * tick
}

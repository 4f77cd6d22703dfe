package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const clusterTime = 5 * time.Second

// benchCluster has the helper of tests make a PostgreSQL of its own with a database, and remove it.
func benchCluster(ctx context.Context, dir string) ([]row, error) {
	test := filepath.Join(dir, "pgtest.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", test, "github.com/firn-log/firn/internal/pgtest")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	const runs = 3
	worst := time.Duration(0)
	for range runs {
		cmd := exec.CommandContext(ctx, test, "-test.run", "^TestADatabaseOfItsOwn$")
		cmd.Env = append(os.Environ(), "FIRN_TEST_REQUIRE=postgres")
		begin := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		worst = max(worst, time.Since(begin))
	}
	as := "a user"
	if os.Getuid() == 0 {
		as = "root"
	}
	return []row{{
		what:  fmt.Sprintf("PostgreSQL for a test, started as %s: cluster, server, database, removal; the worst of %d", as, runs),
		value: millis(worst), target: fmt.Sprintf("≤ %v", clusterTime), fraction: fmt.Sprintf("%.2f of the target", worst.Seconds()/clusterTime.Seconds()), met: worst <= clusterTime,
	}}, nil
}

// cluster is a PostgreSQL of this run.
type cluster struct {
	dsn  string
	stop func()
}

// startPostgres makes a cluster in dir; nil if PostgreSQL is not installed.
func startPostgres(ctx context.Context, dir string) (*cluster, error) {
	bin := ""
	if found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); err == nil && len(found) > 0 {
		bin = filepath.Dir(found[len(found)-1])
	}
	if bin == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	as := func(name string, args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	}
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o777); err != nil {
				return nil, err
			}
		}
		as = func(name string, args ...string) *exec.Cmd {
			return exec.CommandContext(ctx, "setpriv", append([]string{"--reuid=postgres", "--regid=postgres", "--init-groups", filepath.Join(bin, name)}, args...)...)
		}
	}
	data := filepath.Join(dir, "data")
	if out, err := as("initdb", "-D", data, "-U", "firn", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	cmd := as("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=")
	stop, err := start(cmd, filepath.Join(dir, "words"))
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, ".s.PGSQL.5432")
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if as("pg_isready", "-h", dir).Run() == nil {
			break
		}
		if time.Since(begin) > 20*time.Second {
			stop()
			return nil, fmt.Errorf("PostgreSQL does not answer on %s", socket)
		}
	}
	return &cluster{"postgres://firn@/postgres?host=" + dir, stop}, nil
}

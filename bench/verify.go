package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

const (
	closurePaths     = 2000
	closureOperators = 4
	closureRefs      = 8
)

// benchVerify runs the real firn verify on a closure of closurePaths paths that
// closureOperators operators have built, first with nothing remembered and then
// again.
func benchVerify(ctx context.Context, dir, bin string) ([]row, error) {
	l, err := startLog(ctx, dir, bin)
	if err != nil {
		return nil, err
	}
	defer l.stop()
	policy, err := fillClosure(ctx, l, dir, closurePaths)
	if err != nil {
		return nil, err
	}
	root, err := makeClosure(ctx, filepath.Join(dir, "closure"), closurePaths)
	if err != nil {
		return nil, err
	}
	var rows []row
	run := func(what string, n int, target time.Duration, fresh bool) error {
		r := rate{}
		for range n {
			state := filepath.Join(dir, "state")
			if fresh {
				if err := os.RemoveAll(state); err != nil {
					return err
				}
			}
			cmd := exec.CommandContext(ctx, filepath.Join(bin, "firn"), "verify", "--policy", policy, "--store", filepath.Join(dir, "closure"), "--state", state, root)
			begin := time.Now()
			out, err := cmd.CombinedOutput()
			r.latency = append(r.latency, time.Since(begin))
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", cmd, err, out)
			}
			if !bytes.Contains(out, []byte(fmt.Sprintf("%d trusted", closurePaths))) {
				return fmt.Errorf("not all of %d paths were trusted:\n%s", closurePaths, out)
			}
		}
		rows = append(rows, latencyRow(what, r, target))
		return nil
	}
	what := fmt.Sprintf("firn verify, %s paths × %d operators, ", count(closurePaths), closureOperators)
	err = errors.Join(
		run(what+"cold", 3, 3*time.Second, true),
		run(what+"remembered", 7, 300*time.Millisecond, false),
	)
	return rows, err
}

// fillClosure registers the operators, submits their claims about the first of the made-up
// paths and writes the policy, whose file name it returns.
func fillClosure(ctx context.Context, l *testLog, dir string, paths int) (string, error) {
	var text, members strings.Builder
	fmt.Fprintf(&text, "log bench file bench.policy url %s\ncompleteness off\n", l.url)
	for n := range closureOperators {
		name := fmt.Sprintf("op%d", n)
		op, err := l.register(ctx, name)
		if err != nil {
			return "", err
		}
		leaves := make([][]byte, paths)
		for i := range leaves {
			if leaves[i], err = op.buildLeaf(ctx, i, closureRefs); err != nil {
				return "", err
			}
		}
		for at := 0; at < len(leaves); at += 1000 {
			if _, err := post(http.DefaultClient, l.url, leaves[at:min(at+1000, len(leaves))], 10*time.Second); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(&text, "operator %s id %s\n", name, op.id)
		members.WriteString(" " + name)
	}
	fmt.Fprintf(&text, "group builders 2%s\nrule default need builders\n", members.String())
	policy := filepath.Join(dir, "firn.policy")
	return policy, errors.Join(
		os.WriteFile(policy, []byte(text.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "bench.policy"), []byte("log "+l.vkey+"\nquorum none\n"), 0o644),
	)
}

// nixSchema is the part of Nix's schema (version 10) that readers use.
const nixSchema = `
create table ValidPaths (id integer primary key autoincrement not null, path text unique not null, hash text not null,
  registrationTime integer not null, deriver text, narSize integer, ultimate integer, sigs text, ca text);
create table Refs (referrer integer not null, reference integer not null, primary key (referrer, reference));
create index IndexReferrer on Refs(referrer);
create index IndexReference on Refs(reference);
create table DerivationOutputs (drv integer not null, id text not null, path text not null, primary key (drv, id));
`

// makeClosure writes the database of a store that holds the first of the made-up paths below
// root, and returns the path that needs all.
func makeClosure(ctx context.Context, root string, paths int) (string, error) {
	infos := make([]*nix.PathInfo, paths)
	for i := range infos {
		info, _, err := pathInfo(i, closureRefs)
		if err != nil {
			return "", err
		}
		infos[i] = info
	}
	return infos[paths-1].Path.String(), makeDatabase(ctx, root, infos)
}

// makeDatabase writes the database of a store below root that holds infos, each of which
// refers to earlier ones only, with the sqlite3 program.
func makeDatabase(ctx context.Context, root string, infos []*nix.PathInfo) error {
	db := filepath.Join(root, "nix/var/nix/db")
	if err := errors.Join(os.MkdirAll(db, 0o755), os.MkdirAll(filepath.Join(root, "nix/store"), 0o755)); err != nil {
		return err
	}
	var sql strings.Builder
	sql.WriteString("begin;" + nixSchema)
	ids := make(map[nix.StorePath]int)
	for i, info := range infos {
		ids[info.Path] = i + 1
		fmt.Fprintf(&sql, "insert into ValidPaths values (%d,'%s','sha256:%s',0,null,%d,1,null,null);\n", i+1, info.Path, info.NarHash.Hex(), info.NarSize)
		for _, ref := range info.References {
			fmt.Fprintf(&sql, "insert into Refs values (%d,%d);\n", i+1, ids[ref])
		}
	}
	sql.WriteString("commit;\n")
	if err := os.WriteFile(filepath.Join(db, "schema"), []byte("10"), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "sqlite3", filepath.Join(db, "db.sqlite"))
	cmd.Stdin = strings.NewReader(sql.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a database: %w: %s", err, out)
	}
	return nil
}

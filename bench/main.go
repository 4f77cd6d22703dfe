// Command bench measures firn against its targets, beside peers and limits of
// this machine in the same run, prints a table and writes it to
// bench/RESULTS.md.
//
// It runs the programs in -bin, on loopback and in a temporary folder, and ends
// everything that it started. Absolute numbers depend on the machine and on
// its other guests, so every row is also given as a fraction of a calibration
// line or of a peer.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/firn-log/firn/ingest/rebuild"
)

func main() {
	rebuild.Inside()
	if serveFolder() {
		return
	}
	bin := flag.String("bin", "bin", "folder with the programs")
	rekor := flag.String("rekor", "", "Rekor's POSIX server, measured beside firn-log; empty leaves it out")
	litewitness := flag.String("litewitness", "", "litewitness, measured beside firn-witness; empty leaves it out")
	torchtrie := flag.String("torchtrie", "", "torchwood's prefix tree (internal/peers), measured beside the index; empty leaves it out")
	keys := flag.Int("keys", 10_000_000, "number of keys of the index that is measured")
	only := flag.String("only", "", "run only this part: submit, verify, system, substituter, hash, diff, hook, hooked, rebuild, witness, witnessed, gossip, proven, index, import, eval, tracker, pages, intervals or postgres; writes no file")
	var tree evalTree
	flag.StringVar(&tree.dir, "tree", "", "with -only eval: a real tree, in place of the generated one")
	flag.StringVar(&tree.allow, "allow", "", "with -tree: another folder that the tree reads")
	attrs := flag.String("attrs", "", "with -tree: `FILE` with the attribute paths that are evaluated, separated by spaces; all are without it")
	out := flag.String("out", "bench/RESULTS.md", "file for the table; empty writes none")
	flag.Parse()
	if *attrs != "" {
		text, err := os.ReadFile(*attrs)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: error: %v\n", err)
			os.Exit(2)
		}
		tree.attrs = strings.Fields(string(text))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, peers{*rekor, *litewitness, *torchtrie}, *keys, tree, *out, *only); err != nil {
		fmt.Fprintf(os.Stderr, "bench: error: %v\n", err)
		stop()
		os.Exit(1)
	}
}

// peers are programs of others; an empty name is not measured.
type peers struct{ rekor, litewitness, torchtrie string }

func run(ctx context.Context, bin string, peer peers, keys int, tree evalTree, out, only string) error {
	dir, err := os.MkdirTemp("", "firn-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	step := func(what string) { fmt.Fprintf(os.Stderr, "bench: %s\n", what) }

	step("calibrating")
	cal, err := calibrate(dir)
	if err != nil {
		return err
	}
	rows := []row{
		{what: "calibration: ed25519 verify, one core", value: count(cal.verifyPerSecond) + "/s"},
		{what: "calibration: 4 KiB write and fsync", value: count(cal.fsyncPerSecond) + "/s"},
		{what: "calibration: SHA-256, one core", value: count(cal.hashPerSecond) + "B/s"},
	}
	for _, part := range []struct {
		what string
		run  func() ([]row, error)
	}{
		{"submit", func() ([]row, error) { return benchSubmit(ctx, dir, bin, peer.rekor, cal) }},
		{"verify", func() ([]row, error) { return benchVerify(ctx, dir, bin) }},
		{"system", func() ([]row, error) { return benchSystem(ctx, dir, bin) }},
		{"substituter", func() ([]row, error) { return benchSubstituter(ctx, dir, bin, cal) }},
		{"hash", func() ([]row, error) { return benchHash(ctx, dir, cal) }},
		{"diff", func() ([]row, error) { return benchDiff(ctx, dir) }},
		{"hook", func() ([]row, error) { return benchHook(ctx, dir, bin) }},
		{"witness", func() ([]row, error) { return benchWitness(ctx, dir, bin, peer.litewitness, cal) }},
		{"witnessed", func() ([]row, error) { return benchWitnessed(ctx, dir, bin) }},
		{"gossip", func() ([]row, error) { return benchGossip(ctx, dir) }},
		{"proven", func() ([]row, error) { return benchProven(ctx, dir, bin) }},
		{"import", func() ([]row, error) { return benchImport(ctx, dir, bin, cal) }},
		{"index", func() ([]row, error) { return benchIndex(ctx, dir, peer.torchtrie, keys) }},
		{"rebuild", func() ([]row, error) { return benchRebuild(ctx, dir) }},
		{"eval", func() ([]row, error) { return benchEval(ctx, dir, tree) }},
		{"tracker", func() ([]row, error) { return benchTracker(ctx, dir, bin, cal) }},
		{"pages", func() ([]row, error) { return benchPages(ctx, dir, bin) }},
		{"intervals", func() ([]row, error) { return benchIntervals(ctx, dir) }},
		{"postgres", func() ([]row, error) { return benchCluster(ctx, dir) }},
		{"hooked", func() ([]row, error) { return benchHooked(ctx, dir, bin) }},
	} {
		if only != "" && only != part.what {
			continue
		}
		step(part.what)
		r, err := part.run()
		if err != nil {
			return fmt.Errorf("%s: %w", part.what, err)
		}
		rows = append(rows, r...)
	}
	var text bytes.Buffer
	fmt.Fprintln(&text, heading(time.Now()))
	writeTable(&text, rows)
	os.Stdout.Write(text.Bytes())
	if out == "" || only != "" {
		return nil
	}
	return os.WriteFile(out, text.Bytes(), 0o644)
}

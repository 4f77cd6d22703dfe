package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/firn-log/firn/tracker/eval"
)

const (
	evalAttrs   = 1500
	evalCrashes = 80
	evalFaster  = 10
	evalChunk   = 400 // as those do who evaluate in pieces
)

// evalTree makes a tree of evalAttrs attributes, evalCrashes of which end an evaluator. Each
// needs a stdenv, whose evaluation takes about as long as that of a real one.
func evalTree(dir string) (names []string, err error) {
	var b strings.Builder
	b.WriteString(`{ system ? builtins.currentSystem }:
let
  stdenv = builtins.foldl' (a: i: derivation { name = "stage-${toString i}"; inherit system; builder = "/bin/sh"; before = a; }) "" (builtins.genList (i: i) 4000);
  make = name: version: derivation { name = "${name}-${version}"; inherit system stdenv; builder = "/bin/sh"; } // { meta.description = "The package ${name}"; };
in
{
`)
	for i := range evalAttrs {
		name := fmt.Sprintf("p%04d", i)
		names = append(names, name)
		if i*evalCrashes/evalAttrs != (i+1)*evalCrashes/evalAttrs {
			fmt.Fprintf(&b, "  %s = builtins.seq stdenv (abort \"on purpose\");\n", name)
			continue
		}
		fmt.Fprintf(&b, "  %s = make %q \"1.%d\";\n", name, name, i)
	}
	b.WriteString("}\n")
	return names, os.WriteFile(filepath.Join(dir, "default.nix"), []byte(b.String()), 0o644)
}

// bisect is what is done without a stream: a piece is evaluated at once, and one that fails in
// halves. It counts the processes.
type bisect struct {
	tree      string
	processes int
	good, bad int
}

func (b *bisect) run(ctx context.Context, names []string) error {
	var list strings.Builder
	for _, n := range names {
		fmt.Fprintf(&list, "%q ", n)
	}
	text := fmt.Sprintf(`let t = import %s { }; in map (n: let p = t.${n}; in { inherit n; inherit (p) name drvPath; d = p.meta.description; o = p.outPath; }) [ %s ]`, b.tree, list.String())
	cmd := exec.CommandContext(ctx, "nix-instantiate", "--eval", "--strict", "--json", "--readonly-mode", "--store", "dummy://", "-")
	cmd.Stdin = strings.NewReader(text)
	var out bytes.Buffer
	cmd.Stdout = &out
	b.processes++
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		b.good += len(names)
		return nil
	case ctx.Err() != nil || !errors.As(err, &exit):
		return errors.Join(ctx.Err(), err)
	case len(names) == 1:
		b.bad++
		return nil
	}
	if err := b.run(ctx, names[:len(names)/2]); err != nil {
		return err
	}
	return b.run(ctx, names[len(names)/2:])
}

// benchEval evaluates a tree with crashing attributes, one evaluator at a time in both ways.
func benchEval(ctx context.Context, dir string) ([]row, error) {
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return nil, err
	}
	names, err := evalTree(tree)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	r, err := eval.Evaluate(ctx, eval.Drvs, eval.Options{Tree: tree, System: eval.System(), Workers: 1})
	if err != nil {
		return nil, err
	}
	ours := time.Since(begin)
	if n := len(r.Attrs) - r.Failed[eval.Crashed]; r.Failed[eval.Crashed] != evalCrashes || n != evalAttrs-evalCrashes {
		return nil, fmt.Errorf("the stream found %d derivations and %v", n, r.Failed)
	}
	b := &bisect{tree: tree}
	begin = time.Now()
	for i := 0; i < len(names); i += evalChunk {
		if err := b.run(ctx, names[i:min(i+evalChunk, len(names))]); err != nil {
			return nil, err
		}
	}
	theirs := time.Since(begin)
	if b.good != evalAttrs-evalCrashes || b.bad != evalCrashes {
		return nil, fmt.Errorf("pieces found %d derivations and %d failures", b.good, b.bad)
	}
	ratio := theirs.Seconds() / ours.Seconds()
	return []row{{
		what:     fmt.Sprintf("evaluate %s attributes with derivations, %d of them crash, one evaluator at a time", count(evalAttrs), evalCrashes),
		value:    fmt.Sprintf("%.1f s, %d processes, %d MiB; in pieces %.1f s, %d processes", ours.Seconds(), r.Processes, r.Peak>>20, theirs.Seconds(), b.processes),
		target:   fmt.Sprintf("≥ %d × faster than pieces of %d, halved on failure", evalFaster, evalChunk),
		fraction: fmt.Sprintf("%.1f × faster", ratio),
		met:      ratio >= evalFaster,
	}}, nil
}

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

// The tree is made after corepkgs of August 2026, evaluated with Nix 2.8: of its 1,502 names about 50 end
// an evaluator and others only throw, and a stream took 51 processes and 5.1 s for all. So 51 times the start
// of an evaluator with its tree and stdenv, and 1,502 attributes, come to 5.1 s; here they are about
// 0.1 s and 0.7 ms of processor.
const (
	evalAttrs  = 1500
	evalFails  = 80
	evalThrows = 30 // of those that fail; the others cannot be caught
	evalFaster = 10
	evalChunk  = 400 // as those do who evaluate in pieces
)

// evalTreeHead is the beginning of the tree: a stdenv of stages, each built with the one before it, and
// a function that does with the arguments of a package what such functions do: they merge
// defaults, flatten and filter lists of inputs, and turn all into the environment of a builder.
const evalTreeHead = `{ system ? builtins.currentSystem }:
let
  inherit (builtins) attrNames concatMap concatStringsSep derivation filter foldl' genList length listToAttrs mapAttrs seq toString;
  stage = before: i: derivation { name = "stage-${toString i}"; inherit system before; builder = "/bin/sh"; flags = genList (k: "--with-${toString k}") 8; };
  stdenv = foldl' stage "" (genList (i: i) 2500);
  defaults = listToAttrs (genList (i: { name = "default${toString i}"; value = i; }) 30);
  merge = foldl' (all: one: all // mapAttrs (_: v: if v == null then "" else v) one) { };
  inputs = name: kind: filter (i: i != null) (concatMap (i: [ "${name}-${kind}-${toString i}" null ]) (genList (i: i) 40));
  make = name: version:
    let
      kinds = [ "depsBuildBuild" "nativeBuildInputs" "depsBuildTarget" "depsHostHost" "buildInputs" "depsTargetTarget" ];
      lists = listToAttrs (map (kind: { name = kind; value = concatStringsSep " " (inputs name kind); }) kinds);
      args = merge (genList (i: defaults // { "phase${toString i}" = "run ${name} ${toString i}"; }) 24);
      env = mapAttrs (k: v: toString v) (lists // args);
    in
    derivation (env // { name = "${name}-${version}"; inherit system stdenv; builder = "/bin/sh"; })
    // { meta.description = "The package ${name}, with ${toString (length (attrNames env))} variables"; };
in
{
`

// The ways in which attributes of the tree end an evaluator.
var evalCrashes = []string{`abort "on purpose"`, `stdenv.missing`, `1 + "text"`, `[ ] ++ { }`}

// evalTree makes a tree of evalAttrs attributes, of which evalFails fail, evenly distributed.
func evalTree(dir string) (names []string, err error) {
	var b strings.Builder
	b.WriteString(evalTreeHead)
	fails := 0
	for i := range evalAttrs {
		name := fmt.Sprintf("p%04d", i)
		names = append(names, name)
		if i*evalFails/evalAttrs == (i+1)*evalFails/evalAttrs {
			fmt.Fprintf(&b, "  %s = make %q \"1.%d\";\n", name, name, i)
			continue
		}
		how := evalCrashes[fails%len(evalCrashes)]
		if fails*evalThrows/evalFails != (fails+1)*evalThrows/evalFails {
			how = `throw "not for this system"`
		}
		fails++
		fmt.Fprintf(&b, "  %s = seq stdenv (%s);\n", name, how)
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
	failed := r.Failed[eval.Crashed] + r.Failed[eval.Throws]
	if failed != evalFails || r.Failed[eval.Throws] != evalThrows || len(r.Attrs) != evalAttrs {
		return nil, fmt.Errorf("the stream found %d attributes and failures %v", len(r.Attrs), r.Failed)
	}
	b := &bisect{tree: tree}
	begin = time.Now()
	for i := 0; i < len(names); i += evalChunk {
		if err := b.run(ctx, names[i:min(i+evalChunk, len(names))]); err != nil {
			return nil, err
		}
	}
	theirs := time.Since(begin)
	if b.good != evalAttrs-evalFails || b.bad != evalFails {
		return nil, fmt.Errorf("pieces found %d derivations and %d failures", b.good, b.bad)
	}
	ratio := theirs.Seconds() / ours.Seconds()
	return []row{{
		what:     fmt.Sprintf("evaluate %s attributes with derivations, of which %d fail and %d of these can be caught, one evaluator at a time", count(evalAttrs), evalFails, evalThrows),
		value:    fmt.Sprintf("%.1f s, %d processes, %d MiB; in pieces %.1f s, %d processes", ours.Seconds(), r.Processes, r.Peak>>20, theirs.Seconds(), b.processes),
		target:   fmt.Sprintf("≥ %d × faster than pieces of %d, halved on failure", evalFaster, evalChunk),
		fraction: fmt.Sprintf("%.1f × faster", ratio),
		met:      ratio >= evalFaster,
	}}, nil
}

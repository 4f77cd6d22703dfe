package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What real trees cost is measured with bench -only eval -tree, in processor time of Nix 2.8, all on one loaded machine:
//
//	                                            corepkgs of August 2026   nixpkgs 17.09   generated
//	an evaluator that evaluates nothing         0.03 s                    0.03 s          0.03 s
//	up to the names of the tree                 0.19 s                    0.10 s          0.20 s
//	up to the first drv path, median of 40      0.31 s                    0.37 s          0.33 s
//	each attribute of a stream, derivations     12 ms                     3 ms            6 ms
//	each attribute of a stream, metadata        4 ms                      not measured    2 ms
//	up to a crash, median and third quartile    0.18 s, 0.20 s            none            0.22 s, 0.25 s
//	crashes among top-level attributes          38 of 1,086, in 16 runs   none            80 of 1,500, in 36 runs
//	pieces of 400, halved, for these            235 processes                             526 processes
//
// All that a start costs is paid by any access, a crash mostly comes right behind it, and names that crash stand side
// by side: packages of several versions. 34 of these 38 end an evaluator before it is known that they are derivations
// with a name, so that both tiers have them; of the generated 60 of 80. Nothing in the language catches a crash, so that it costs a stream a process
// too: the least is a start for each and every attribute once.
const (
	genAttrs   = 1500
	genCrashes = 80
	evalFaster = 10
)

// genRuns are the lengths of runs of crashing attributes, at even distances: those of corepkgs twice, and four more
// of one.
var genRuns = []int{
	1, 1, 15, 1, 2, 1, 1, 5, 1, 1, 3, 1, 1, 2, 1, 1, 1, 1,
	1, 1, 15, 1, 2, 1, 1, 5, 1, 1, 3, 1, 1, 2, 1, 1, 1, 1,
}

// treeHead is a library whose layers are merged before anything is told, as those of a nixpkgs are, a stdenv of stages,
// each built with the one before it, and a function that does with the arguments of a package what such functions
// do: it merges defaults, filters lists of inputs, and turns all into the environment of a builder.
const treeHead = `{ system ? builtins.currentSystem, ... }:
let
  inherit (builtins) attrNames concatMap concatStringsSep deepSeq derivation filter foldl' genList length listToAttrs mapAttrs toString;
  layer = i: listToAttrs (genList (k: { name = "name-${toString (i * 7 + k)}"; value = "${toString i} of ${toString k}"; }) 60);
  library = foldl' (all: i: mapAttrs (_: v: v) (all // layer i)) { } (genList (i: i) 300);
  stage = before: i: derivation { name = "stage-${toString i}"; inherit system before; builder = "/bin/sh"; flags = genList (k: "--with-${toString k}") 8; };
  stdenv = foldl' stage "" (genList (i: i) 300);
  defaults = listToAttrs (genList (i: { name = "default${toString i}"; value = i; }) 30);
  merge = foldl' (all: one: all // mapAttrs (_: v: if v == null then "" else v) one) { };
  lists = name: kind: filter (i: i != null) (concatMap (i: [ "${name}-${kind}-${toString i}" null ]) (genList (i: i) 700));
  make = name: version: inputs:
    let
      kinds = [ "depsBuildBuild" "nativeBuildInputs" "depsBuildTarget" "depsHostHost" "buildInputs" "depsTargetTarget" ];
      texts = listToAttrs (map (kind: { name = kind; value = concatStringsSep " " (lists name kind); }) kinds);
      args = merge (genList (i: defaults // { "phase${toString i}" = "run ${name} ${toString i}"; }) 100);
      env = mapAttrs (k: v: toString v) (texts // args);
    in
    derivation (env // { name = "${name}-${version}"; inherit system stdenv inputs; builder = "/bin/sh"; })
    // { meta.description = "The package ${name}, with ${toString (length (attrNames env))} variables"; };
in
deepSeq library (rec {
`

// genCrash are ways to end an evaluator that cannot be caught. One of four comes only when inputs are looked at.
var genCrash = []string{`abort "called without required argument"`, `library.missing`, `({ missing }: missing) { }`, `make %q "1" [ %s library.missing ]`}

// generateTree writes the tree.
func generateTree(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	crashes := make(map[int]int) // attribute → its number among those that crash
	for i, n := range genRuns {
		for k := range n {
			crashes[(2*i+1)*genAttrs/(2*len(genRuns))+k] = len(crashes)
		}
	}
	name := func(i int) string { return fmt.Sprintf("p%04d", i) }
	// Packages are made of others, and of some much more often than of others.
	input := func(i int) string {
		for _, crash := crashes[i]; crash; _, crash = crashes[i] {
			i--
		}
		return name(i)
	}
	var b strings.Builder
	b.WriteString(treeHead)
	for i := range genAttrs {
		inputs := ""
		if i > 0 {
			inputs = input(i/4) + " " + input(i/9)
		}
		n, crash := crashes[i]
		switch how := genCrash[n%len(genCrash)]; {
		case !crash:
			fmt.Fprintf(&b, "  %s = make %q \"1\" [ %s ];\n", name(i), name(i), inputs)
		case strings.Contains(how, "%"):
			fmt.Fprintf(&b, "  %s = "+how+";\n", name(i), name(i), inputs)
		default:
			fmt.Fprintf(&b, "  %s = %s;\n", name(i), how)
		}
	}
	b.WriteString("})\n")
	return os.WriteFile(filepath.Join(dir, "default.nix"), []byte(b.String()), 0o644)
}

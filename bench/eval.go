package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/firn-log/firn/tracker/eval"
)

// evalChunk is how many attributes those who evaluate in pieces take at once.
const evalChunk = 400

// evalTree is a tree whose evaluation is measured.
type evalTree struct {
	dir   string
	allow string   // another folder that it reads, or ""
	attrs []string // nil for all
}

// evaluated is what a stream and pieces took for the same attributes, one evaluator at a time.
type evaluated struct {
	stream   *eval.Result
	ours     took
	pieces   *bisect
	theirs   took
	attrs    int
	crashing int // that end an evaluator
	throwing int
}

// took is wall time, and the processor time of all evaluators.
type took struct{ wall, cpu time.Duration }

// timed runs what runs evaluators.
func timed(run func() error) (took, error) {
	before, begin := evaluatorTime(), time.Now()
	err := run()
	return took{time.Since(begin), evaluatorTime() - before}, err
}

func evaluatorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// compare evaluates the derivations of a tree in both ways, and fails if they find other ones.
func (t *evalTree) compare(ctx context.Context) (*evaluated, error) {
	o := eval.Options{Tree: t.dir, Attrs: t.attrs, System: eval.System(), Workers: 1, Aliases: true, Timeout: 10 * time.Minute}
	if t.allow != "" {
		o.Allow = []string{t.allow}
	}
	e := &evaluated{}
	var err error
	if e.ours, err = timed(func() (err error) {
		e.stream, err = eval.Evaluate(ctx, eval.Drvs, o)
		return err
	}); err != nil {
		return nil, err
	}
	r := e.stream
	e.attrs, e.crashing, e.throwing = len(r.Attrs), r.Failed[eval.Crashed], r.Failed[eval.Throws]
	if other := len(failed(r.Attrs)) - e.crashing - e.throwing; other != 0 {
		return nil, fmt.Errorf("%d attributes fail in ways that pieces do not know: %v", other, r.Failed)
	}
	e.pieces = &bisect{tree: t.dir, drvs: make(map[string]string)}
	if e.theirs, err = timed(func() error {
		for piece := range slices.Chunk(slices.Sorted(maps.Keys(r.Attrs)), evalChunk) {
			if err := e.pieces.run(ctx, piece); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for attr, a := range r.Attrs {
		if drv := e.pieces.drvs[attr]; drv != a.Drv {
			return nil, fmt.Errorf("%s has the derivation %q in a stream and %q in pieces", attr, a.Drv, drv)
		}
	}
	return e, nil
}

func failed(attrs map[string]eval.Attribute) (names []string) {
	for name, a := range attrs {
		if a.Error != "" {
			names = append(names, name)
		}
	}
	return names
}

// bisect is what is done without a stream: a piece is evaluated at once, and one that crashes in
// halves. What throws is caught, as nix-env does.
type bisect struct {
	tree      string
	processes int
	drvs      map[string]string // attribute → base name of its drv path, "" if it throws
}

const bisectExpr = `
let
  inherit (builtins) deepSeq foldl' functionArgs intersectAttrs isFunction tryEval;
  f = import %s;
  args = { system = "%s"; overlays = [ ]; config = { allowBroken = true; allowUnfree = true; allowUnsupportedSystem = true; checkMeta = false; inHydra = false; }; };
  like = functionArgs f ? overlays || functionArgs f == { };
  tree = if isFunction f then f (intersectAttrs (functionArgs f // (if like then { system = true; config = true; } else { })) args) else f;
  call = if isFunction tree then tree args else tree;
  at = foldl' (v: name: v.${name}) call;
  drv = path: let p = at path; r = { inherit (p) name; out = p.outPath; drv = baseNameOf p.drvPath; }; t = tryEval (deepSeq r r); in if t.success then t.value else { drv = ""; };
in
map drv (builtins.fromJSON (builtins.readFile %s))
`

func (b *bisect) run(ctx context.Context, attrs []string) error {
	var paths [][]string
	for _, a := range attrs {
		paths = append(paths, strings.Split(a, "."))
	}
	list, err := os.CreateTemp("", "firn-bench-")
	if err != nil {
		return err
	}
	defer os.Remove(list.Name())
	defer list.Close()
	if err := json.NewEncoder(list).Encode(paths); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "nix-instantiate", "--eval", "--strict", "--json", "--readonly-mode", "--store", "dummy://", "--option", "allow-import-from-derivation", "false", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(bisectExpr, b.tree, eval.System(), list.Name()))
	var out bytes.Buffer
	cmd.Stdout = &out
	b.processes++
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return b.take(attrs, out.Bytes())
	case ctx.Err() != nil || !errors.As(err, &exit):
		return errors.Join(ctx.Err(), err)
	case len(attrs) == 1:
		b.drvs[attrs[0]] = ""
		return nil
	}
	if err := b.run(ctx, attrs[:len(attrs)/2]); err != nil {
		return err
	}
	return b.run(ctx, attrs[len(attrs)/2:])
}

func (b *bisect) take(attrs []string, out []byte) error {
	var found []struct{ Drv string }
	if err := json.Unmarshal(out, &found); err != nil || len(found) != len(attrs) {
		return fmt.Errorf("a piece of %d attributes came to %d: %w", len(attrs), len(found), err)
	}
	for i, a := range attrs {
		b.drvs[a] = found[i].Drv
	}
	return nil
}

// benchEval evaluates a tree with crashing attributes in both ways: the one that is named, without a target,
// or a generated one.
func benchEval(ctx context.Context, dir string, t evalTree) ([]row, error) {
	real := t.dir != ""
	if !real {
		t.dir = filepath.Join(dir, "tree")
		if err := generateTree(t.dir); err != nil {
			return nil, err
		}
	}
	e, err := t.compare(ctx)
	if err != nil {
		return nil, err
	}
	ratio := e.theirs.wall.Seconds() / e.ours.wall.Seconds()
	r := row{
		what:     fmt.Sprintf("evaluate %s attributes with derivations, of which %d end an evaluator and %d throw, one evaluator at a time", count(float64(e.attrs)), e.crashing, e.throwing),
		value:    fmt.Sprintf("%.1f s, %.1f s of processor, %d processes, %d MiB; in pieces of %d, halved on failure, %.1f s, %.1f s, %d", e.ours.wall.Seconds(), e.ours.cpu.Seconds(), e.stream.Processes, e.stream.Peak>>20, evalChunk, e.theirs.wall.Seconds(), e.theirs.cpu.Seconds(), e.pieces.processes),
		fraction: fmt.Sprintf("%.1f × faster; %.1f × by processor time", ratio, e.theirs.cpu.Seconds()/e.ours.cpu.Seconds()),
	}
	if real {
		r.what += ": " + filepath.Base(t.dir)
		return []row{r}, nil
	}
	if e.attrs != genAttrs || e.crashing != genCrashes {
		return nil, fmt.Errorf("the stream found %d attributes and failures %v", e.attrs, e.stream.Failed)
	}
	r.target, r.met = fmt.Sprintf("≥ %d × faster", evalFaster), ratio >= evalFaster
	return []row{r}, nil
}

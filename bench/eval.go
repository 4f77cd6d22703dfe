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
	"reflect"
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

// evaluated is what the tracker and pieces took for the same attributes, one evaluator at a time.
type evaluated struct {
	reports map[eval.Tier]*eval.Report // of the tracker's first evaluation: metadata, then derivations
	ours    map[eval.Tier]took
	alone   *eval.Result // derivations without metadata before
	lone    took
	pieces  map[eval.Tier]*bisect
	theirs  map[eval.Tier]took
}

// took is wall time, and the processor time of all evaluators.
type took struct{ wall, cpu time.Duration }

func (t took) add(other took) took { return took{t.wall + other.wall, t.cpu + other.cpu} }

func (t took) String() string {
	return fmt.Sprintf("%.1f s of processor, %.1f s", t.cpu.Seconds(), t.wall.Seconds())
}

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

// compare evaluates a tree in both ways, and fails if they find other things.
func (t *evalTree) compare(ctx context.Context) (*evaluated, error) {
	o := eval.Options{Tree: t.dir, Attrs: t.attrs, System: eval.System(), Workers: 1, Aliases: true, Timeout: 10 * time.Minute}
	if t.allow != "" {
		o.Allow = []string{t.allow}
	}
	e := &evaluated{reports: make(map[eval.Tier]*eval.Report), ours: make(map[eval.Tier]took), pieces: make(map[eval.Tier]*bisect), theirs: make(map[eval.Tier]took)}
	dir, err := os.MkdirTemp("", "firn-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	folder := eval.NewFolder(dir)
	for _, tier := range []eval.Tier{eval.Meta, eval.Drvs} {
		if e.ours[tier], err = timed(func() (err error) {
			e.reports[tier], err = folder.Update(ctx, eval.Change{Channel: "c", Tier: tier, Revision: "r", Time: time.Now(), Beside: e.reports[eval.Meta]}, o)
			return err
		}); err != nil {
			return nil, err
		}
	}
	if e.lone, err = timed(func() (err error) {
		e.alone, err = eval.Evaluate(ctx, eval.Drvs, o)
		return err
	}); err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(e.reports[eval.Drvs].Result.Attrs, e.alone.Attrs) {
		return nil, errors.New("derivations behind metadata are not what they are alone")
	}
	for tier, r := range e.reports {
		if err := e.inPieces(ctx, t, tier, r.Result); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// inPieces evaluates in pieces what r says that there is.
func (e *evaluated) inPieces(ctx context.Context, t *evalTree, tier eval.Tier, r *eval.Result) (err error) {
	if other := len(failed(r.Attrs)) - r.Failed[eval.Crashed] - r.Failed[eval.Throws]; other != 0 {
		return fmt.Errorf("%d attributes fail in ways that pieces do not know: %v", other, r.Failed)
	}
	b := &bisect{tree: t.dir, tier: tier, found: make(map[string]string)}
	e.pieces[tier] = b
	if e.theirs[tier], err = timed(func() error {
		for piece := range slices.Chunk(slices.Sorted(maps.Keys(r.Attrs)), evalChunk) {
			if err := b.run(ctx, piece); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for attr, a := range r.Attrs {
		ours := a.Drv
		if tier == eval.Meta {
			ours = a.Name
		}
		if found := b.found[attr]; found != ours {
			return fmt.Errorf("%s: a stream of tier %s found %q, and pieces %q", attr, tier, ours, found)
		}
	}
	return nil
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
	tier      eval.Tier
	processes int
	found     map[string]string // attribute → name, or base name of its drv path; "" if it fails
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
  drvs = p: { inherit (p) name; out = p.outPath; found = baseNameOf p.drvPath; };
  meta = p: { found = p.name; patches = try (map (x: if x ? name then x.name else baseNameOf (toString x)) (p.patches or [ ])); fields = map (n: try (p.meta.${n} or null)) [ %s ]; };
  try = v: let t = tryEval (deepSeq v v); in if t.success then t.value else null;
  tell = path: let r = %s (at path); t = tryEval (deepSeq r r.found); in { found = if t.success then t.value else ""; };
in
map tell (builtins.fromJSON (builtins.readFile %s))
`

// bisectFields are the metadata that pieces tell beside names and patches: what nix-env would, but for a few.
const bisectFields = `"broken" "description" "homepage" "insecure" "knownVulnerabilities" "license" "maintainers" "position" "teams" "unfree"`

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
	cmd.Stdin = strings.NewReader(fmt.Sprintf(bisectExpr, b.tree, eval.System(), bisectFields, b.tier, list.Name()))
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
		b.found[attrs[0]] = ""
		return nil
	}
	if err := b.run(ctx, attrs[:len(attrs)/2]); err != nil {
		return err
	}
	return b.run(ctx, attrs[len(attrs)/2:])
}

func (b *bisect) take(attrs []string, out []byte) error {
	var found []struct{ Found string }
	if err := json.Unmarshal(out, &found); err != nil || len(found) != len(attrs) {
		return fmt.Errorf("a piece of %d attributes came to %d: %w", len(attrs), len(found), err)
	}
	for i, a := range attrs {
		b.found[a] = found[i].Found
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
	meta, drvs := e.reports[eval.Meta].Result, e.reports[eval.Drvs].Result
	if !real && (len(drvs.Attrs) != genAttrs || drvs.Failed[eval.Crashed] != genCrashes) {
		return nil, fmt.Errorf("the stream found %d attributes and failures %v", len(drvs.Attrs), drvs.Failed)
	}
	name := "generated"
	if real {
		name = filepath.Base(t.dir)
	}
	theirs := func(what took, processes int) string {
		return fmt.Sprintf("in pieces of %d, halved on failure, %v, %d processes", evalChunk, what, processes)
	}
	ours, pieces := e.ours[eval.Meta].add(e.ours[eval.Drvs]), e.theirs[eval.Meta].add(e.theirs[eval.Drvs])
	both := row{
		what: fmt.Sprintf("first evaluation of %s attributes (%s), metadata and derivations, one evaluator at a time; %d and %d end an evaluator, %d and %d throw",
			count(float64(len(drvs.Attrs))), name, meta.Failed[eval.Crashed], drvs.Failed[eval.Crashed], meta.Failed[eval.Throws], drvs.Failed[eval.Throws]),
		value: fmt.Sprintf("%v, %d processes, %d MiB; %s", ours, meta.Processes+drvs.Processes, max(meta.Peak, drvs.Peak)>>20,
			theirs(pieces, e.pieces[eval.Meta].processes+e.pieces[eval.Drvs].processes)),
		fraction: faster(ours, pieces),
	}
	if !real {
		both.target, both.met = fmt.Sprintf("≥ %d × faster", evalFaster), pieces.wall >= evalFaster*ours.wall
	}
	return []row{both, {
		what:     "  its metadata",
		value:    fmt.Sprintf("%v, %d processes; %s", e.ours[eval.Meta], meta.Processes, theirs(e.theirs[eval.Meta], e.pieces[eval.Meta].processes)),
		fraction: faster(e.ours[eval.Meta], e.theirs[eval.Meta]),
	}, {
		what:     "  its derivations, behind the metadata",
		value:    fmt.Sprintf("%v, %d processes; pieces as below", e.ours[eval.Drvs], drvs.Processes),
		fraction: faster(e.ours[eval.Drvs], e.theirs[eval.Drvs]),
	}, {
		what:     "  derivations alone",
		value:    fmt.Sprintf("%v, %d processes; %s", e.lone, e.alone.Processes, theirs(e.theirs[eval.Drvs], e.pieces[eval.Drvs].processes)),
		fraction: faster(e.lone, e.theirs[eval.Drvs]),
	}}, nil
}

func faster(ours, theirs took) string {
	return fmt.Sprintf("%.1f × faster; %.1f × by processor time", theirs.wall.Seconds()/ours.wall.Seconds(), theirs.cpu.Seconds()/ours.cpu.Seconds())
}

package rebuild

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

func TestWhatIsReproducibleAgreesInEveryOutput(t *testing.T) {
	m := newMachine(t)
	m.build("app")
	w := newWorld(t, m)
	lib, app := w.one("lib"), w.one("app")
	for _, res := range []*Result{lib, app} {
		if res.Status != Agree || res.Before || res.Started == 0 || res.Finished < res.Started {
			t.Errorf("%+v", res)
		}
	}
	if len(lib.Outputs) != 2 || lib.Outputs[0].Name != "dev" || lib.Outputs[1].Status != Agree {
		t.Errorf("lib: %+v", lib.Outputs)
	}
	builds := w.bodies()[statement.KindBuild]
	if len(builds) != 2 || len(w.puts) != 2 {
		t.Fatalf("%d statements, %d of them builds", len(w.puts), len(builds))
	}
	for _, body := range builds {
		b := body.(*statement.Build)
		if b.How != statement.HowRebuilt || b.Partial || !b.Builder.Sandbox || b.Builder.Implementation != "nix" || b.Builder.Version == "unknown" || b.Inputs == nil {
			t.Errorf("%+v", b)
		}
		for _, o := range b.Outputs {
			hash, size, err := nix.HashPath(t.Context(), filepath.Join(m.root, o.Path.String()), nil)
			if err != nil || hash != o.NarHash || size != o.NarSize {
				t.Errorf("%s: %v %d in the store (%v), %v %d claimed", o.Path, hash, size, err, o.NarHash, o.NarSize)
			}
		}
		// The shell and a source; and for app both outputs of lib.
		if want := map[string]uint64{"lib-1.0.drv": 1, "app-2.3.drv": 4}[b.DrvPath.Name()]; b.Inputs.Count != want {
			t.Errorf("%s has %+v inputs, want %d", b.DrvPath, b.Inputs, want)
		}
		if b.DrvPath.Name() == "app-2.3.drv" && (b.Inputs.Built != 2 || len(b.Outputs[0].References) != 2) {
			t.Errorf("app: inputs %+v, references %v", b.Inputs, b.Outputs[0].References)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(w.conf.Work, roomsDir)); len(left) != 0 {
		t.Errorf("rooms are left: %v", left)
	}
}

// A builder is given the same over the serve protocol as when Nix reads the
// derivation: structured attributes, files, the graph of references.
func TestABuilderIsGivenTheSame(t *testing.T) {
	m := newMachine(t)
	m.build("attrs", "graph")
	w := newWorld(t, m)
	for _, attr := range []string{"attrs", "graph"} {
		if res := w.one(attr); res.Status != Agree {
			t.Errorf("%s: %+v %+v\n%q", attr, res, res.Failure, w.said)
		}
	}
}

// nix-build --check names the first output that differs and stops: doc.
func TestEveryDifferingOutputIsFoundWithItsFiles(t *testing.T) {
	m := newMachine(t)
	m.build("irr")
	w := newWorld(t, m)
	res := w.one("irr")
	if res.Status != Differ || len(res.Outputs) != 3 {
		t.Fatalf("%+v", res)
	}
	want := map[string][]FileDiff{
		"doc": {{"random", "content"}}, "man": {{"random", "content"}, {"second", "content"}}, "out": nil,
	}
	for _, o := range res.Outputs {
		files := want[o.Name]
		c := o.References[0]
		if (o.Status == Differ) != (files != nil) || !slices.Equal(c.Files, files) || c.Total != uint64(len(files)) {
			t.Errorf("%s: %s, %+v", o.Name, o.Status, c)
		}
	}
	bodies := w.bodies()
	if len(bodies[statement.KindBuild]) != 1 || len(bodies[statement.KindDiff]) != 2 {
		t.Fatalf("%v", bodies)
	}
	build := bodies[statement.KindBuild][0].(*statement.Build)
	for _, body := range bodies[statement.KindDiff] {
		d := body.(*statement.Diff)
		i := slices.IndexFunc(build.Outputs, func(o statement.BuildOutput) bool { return o.Path == d.Path })
		if i < 0 || d.B != build.Outputs[i].NarHash || d.A == d.B || *d.Drv != res.Drv || len(d.Files) != len(want[d.Output]) {
			t.Errorf("%+v", d)
		}
	}
	// The second run builds nothing and says the same.
	again := w.one("irr")
	if !again.Before || again.Status != Differ || len(again.Outputs[2].References[0].Files) != 0 || len(again.Outputs[1].References[0].Files) != 2 || len(w.puts) != 3 {
		t.Errorf("%+v, %d statements", again, len(w.puts))
	}
	w.conf.Again = true
	if res := w.one("irr"); res.Before || len(w.puts) != 6 {
		t.Errorf("--again: %+v, %d statements", res, len(w.puts))
	}
}

func TestWhatWasThereBeforeDoesNotMatter(t *testing.T) {
	m := newMachine(t)
	m.build("irr")
	m.run("nix-store --delete $(nix-build pkgs.nix --no-out-link -A irr.doc) $(nix-build pkgs.nix --no-out-link -A irr.man)")
	w := newWorld(t, m)
	res := w.one("irr")
	var got []string
	for _, o := range res.Outputs {
		got = append(got, o.Name+" "+string(o.Status))
	}
	if want := []string{"doc missing", "man missing", "out agree"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if b := w.bodies()[statement.KindBuild]; len(b) != 1 || len(b[0].(*statement.Build).Outputs) != 3 {
		t.Errorf("%+v", b)
	}
}

func TestFailuresSayHow(t *testing.T) {
	m := newMachine(t)
	w := newWorld(t, m)
	w.conf.FOD = true
	three := uint64(3)
	tests := []struct {
		attr, reason string
		exit         *uint64
		set          func(*Config)
	}{
		{"exit3", "exit", &three, nil},
		{"nothing", "exit", nil, nil},
		{"fodbad", "hash-mismatch", nil, nil},
		{"slow", "timeout", nil, func(c *Config) { c.Timeout = 2 * time.Second }},
		{"spam", reasonLog, nil, func(c *Config) { c.MaxLog = 100_000 }},
	}
	for _, tt := range tests {
		conf := w.conf
		if tt.set != nil {
			tt.set(&w.conf)
		}
		clear(w.puts)
		res := w.one(tt.attr)
		w.conf = conf
		if res.Status != Failed || res.Failure.Reason != tt.reason {
			t.Errorf("%s: %+v %+v", tt.attr, res, res.Failure)
			continue
		}
		failed := w.bodies()[statement.KindBuildFailed]
		if tt.reason == reasonLog {
			if fi, err := os.Stat(res.LogFile); err != nil || fi.Size() == 0 || fi.Size() > 100_000 || len(w.puts) != 0 {
				t.Errorf("%s: log %v (%v), %d statements", tt.attr, fi, err, len(w.puts))
			}
			continue
		}
		if len(failed) != 1 || len(w.puts) != 1 {
			t.Errorf("%s: %v", tt.attr, w.puts)
			continue
		}
		b := failed[0].(*statement.BuildFailed)
		if string(b.Reason) != tt.reason || (b.ExitStatus == nil) != (tt.exit == nil) || tt.exit != nil && *b.ExitStatus != *tt.exit || b.LogHash == nil || b.Outputs[0] != "out" {
			t.Errorf("%s: %+v", tt.attr, b)
		}
		if log, err := os.ReadFile(res.LogFile); tt.attr == "exit3" && (err != nil || !strings.Contains(string(log), "it is broken")) {
			t.Errorf("log: %q, %v", log, err)
		}
	}
}

func TestNotEverythingIsRebuilt(t *testing.T) {
	m := newMachine(t)
	m.build("fod")
	w := newWorld(t, m)
	if res := w.one("fod"); res.Status != Fixed || len(w.puts) != 0 {
		t.Errorf("%+v", res)
	}
	if res := w.one("ca"); res.Status != Cannot || !strings.Contains(res.Why, "content-addressed") {
		t.Errorf("%+v", res)
	}
	if res := w.one("app"); res.Status != Cannot || !strings.Contains(res.Why, "input") {
		t.Errorf("without its inputs: %+v", res)
	}
	w.conf.FOD = true
	if res := w.one("fod"); res.Status != Agree || len(w.puts) != 1 {
		t.Errorf("with --fod: %+v", res)
	}
}

// Where Nix builds as the owner of the store, the sandbox alone lets a builder change
// what the next build is made from.
func TestABuilderCannotChangeItsInputs(t *testing.T) {
	m := newMachine(t)
	m.build("lib")
	before, err := os.ReadFile(filepath.Join(m.root, m.run("nix-build pkgs.nix --no-out-link -A lib"), "lib"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, m)
	if res := w.one("evil"); res.Status != Missing {
		t.Errorf("%+v", res)
	}
	after, err := os.ReadFile(filepath.Join(m.root, m.run("nix-build pkgs.nix --no-out-link -A lib"), "lib"))
	if err != nil || string(after) != string(before) {
		t.Errorf("the input is now %q (%v)", after, err)
	}
}

func TestNoHookOfTheMachineRuns(t *testing.T) {
	m := newMachine(t)
	m.write("hook", "#!/bin/sh\ntouch "+m.root+"/hooked\n", 0o755)
	m.build("lib")
	m.write("etc/nix.conf", "sandbox = true\nbuild-users-group =\nsubstituters = http://127.0.0.1:9\npost-build-hook = "+m.root+"/hook\n", 0o644)
	if res := newWorld(t, m).one("lib"); res.Status != Agree {
		t.Errorf("%+v", res)
	}
	if _, err := os.Stat(filepath.Join(m.root, "hooked")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the post-build hook ran")
	}
}

func TestPathsStandForTheDerivationsOfTheirClosure(t *testing.T) {
	m := newMachine(t)
	m.build("app")
	w := newWorld(t, m)
	r, err := Open(t.Context(), w.conf, w.o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	app := m.run("nix-build pkgs.nix --no-out-link -A app")
	drvs, without, err := r.Select(t.Context(), []string{app, m.drv("irr").String(), app})
	var names []string
	for _, p := range drvs {
		names = append(names, p.Name())
	}
	slices.Sort(names)
	if want := []string{"app-2.3.drv", "irr-1.drv", "lib-1.0.drv"}; err != nil || !slices.Equal(names, want) || len(without) != 0 {
		t.Errorf("%q without %v: %v", names, without, err)
	}
	for _, bad := range []string{"/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-gone", "/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-gone.drv", "hello"} {
		if _, _, err := r.Select(t.Context(), []string{bad}); err == nil {
			t.Errorf("%s stands for something", bad)
		}
	}
}

func TestCheckModeIsWeakerAndSaysSo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the private store of the test is another user's")
	}
	m := newMachine(t)
	m.build("app", "irr")
	w := newWorld(t, m)
	w.conf.Check = true
	if res := w.one("app"); res.Status != Agree {
		t.Fatalf("%+v", res)
	}
	b := w.bodies()[statement.KindBuild]
	if len(b) != 1 || b[0].(*statement.Build).How != statement.HowChecked {
		t.Errorf("%+v", b)
	}
	res := w.one("irr")
	if res.Status != Differ || len(res.Outputs) != 1 || len(w.puts) != 1 {
		t.Errorf("%+v, %d statements", res, len(w.puts))
	}
	w.conf.Check = false
	if res := w.one("app"); res.Before || len(w.puts) != 2 {
		t.Errorf("a check stands for a rebuild: %+v, %d statements", res, len(w.puts))
	}
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firn-log/firn/ingest/rebuild"
	"github.com/firn-log/firn/internal/nix"
)

const (
	rebuildInputs = 400 // folders that the build depends on
	rebuildFiles  = 100 // in each of them
	rebuildRounds = 3
)

// rebuildPackages is a build of some seconds that reads many inputs, and compresses
// and writes something.
const rebuildPackages = `
let
  bb = builtins.path { path = ./bb; name = "bb"; };
  inputs = builtins.genList (i: builtins.path { path = ./inputs + "/i${toString i}"; name = "input-${toString i}"; }) %d;
in derivation {
  name = "measured"; system = builtins.currentSystem; builder = "${bb}/bin/busybox"; inherit inputs;
  args = [ "sh" "-euc" ''
    export PATH=${bb}/bin
    busybox mkdir $out
    for i in $inputs; do busybox cat $i/* | busybox sha256sum; done > $out/sums
    for n in 1 2 3; do busybox head -c 40000000 /dev/zero | busybox gzip -9 | busybox sha256sum; done >> $out/sums
    for n in 1 2 3 4 5 6 7 8 9 10 11 12; do busybox head -c 12000000 /dev/zero | busybox bzip2 | busybox sha256sum; done >> $out/sums
  '' ];
}`

// benchRebuild measures a rebuild from clean beside nix-store --realise of the same
// derivation, one after the other.
func benchRebuild(ctx context.Context, dir string) ([]row, error) {
	const atMost = 1.15
	m := &rebuildMachine{ctx: ctx, root: filepath.Join(dir, "rebuild")}
	drv, err := m.make()
	if err != nil {
		return nil, err
	}
	conf := rebuild.Config{Work: filepath.Join(m.root, "work"), Store: m.root, Again: true, Timeout: time.Hour}
	r, err := rebuild.Open(ctx, conf, rebuild.Options{Environ: m.environ()})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var plain, clean []time.Duration
	for range rebuildRounds {
		took, err := m.realise(drv)
		if err != nil {
			return nil, err
		}
		plain = append(plain, took)
		begin := time.Now()
		report, err := r.Run(ctx, []nix.StorePath{drv})
		if err != nil {
			return nil, err
		}
		clean = append(clean, time.Since(begin))
		if res := report.Results[0]; res.Status != rebuild.Agree {
			return nil, fmt.Errorf("the rebuild is not what was built: %+v", res)
		}
	}
	slices.Sort(plain)
	slices.Sort(clean)
	a, b := plain[rebuildRounds/2], clean[rebuildRounds/2]
	ratio := b.Seconds() / a.Seconds()
	return []row{
		{what: fmt.Sprintf("nix-store --realise, %d inputs with %d files", rebuildInputs, rebuildInputs*rebuildFiles), value: millis(a)},
		{
			what: "firn rebuild of the same, from clean, with statements", value: millis(b), target: fmt.Sprintf("≤ %.2f × --realise", atMost),
			fraction: fmt.Sprintf("%.3f × --realise", ratio), met: ratio <= atMost,
		},
	}, nil
}

// rebuildMachine is a private store with what is measured.
type rebuildMachine struct {
	ctx  context.Context
	root string
	nix  string // a root with another Nix; "" for the Nix of this machine
}

func (m *rebuildMachine) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "NIX_") })
	return append(env, "NIX_CONF_DIR="+filepath.Join(m.root, "etc"), "HOME="+m.root)
}

func (m *rebuildMachine) run(script string) (string, error) {
	below := []string{"--dev-bind", "/", "/"}
	if m.nix != "" {
		below = []string{"--bind", m.nix, "/", "--dev", "/dev", "--proc", "/proc", "--bind", m.root, m.root}
	}
	cmd := exec.CommandContext(m.ctx, "bwrap", append(below, "--bind", filepath.Join(m.root, "nix"), "/nix", "--die-with-parent",
		"--chdir", filepath.Join(m.root, "src"), "sh", "-euc", script)...)
	cmd.Env = m.environ()
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// make writes the inputs and evaluates.
func (m *rebuildMachine) make() (nix.StorePath, error) {
	files := map[string]string{
		"etc/nix.conf": "sandbox = true\nbuild-users-group =\nsubstituters =\n",
		"src/pkgs.nix": fmt.Sprintf(rebuildPackages, rebuildInputs),
	}
	for i := range rebuildInputs {
		for n := range rebuildFiles {
			files[fmt.Sprintf("src/inputs/i%d/%d", i, n)] = strings.Repeat(fmt.Sprintf("input %d, file %d\n", i, n), 200)
		}
	}
	if err := m.write(files); err != nil {
		return nix.StorePath{}, err
	}
	out, err := m.run("nix-instantiate pkgs.nix 2>/dev/null")
	if err != nil {
		return nix.StorePath{}, err
	}
	return nix.ParseStorePath(out)
}

// realise builds drv as anybody does, and leaves the output there.
func (m *rebuildMachine) realise(drv nix.StorePath) (time.Duration, error) {
	if _, err := m.run("p=$(nix-store -q --outputs " + drv.String() + "); nix-store --delete $p >/dev/null 2>&1 || true"); err != nil {
		return 0, err
	}
	begin := time.Now()
	_, err := m.run("nix-store --realise " + drv.String() + " 2>&1")
	return time.Since(begin), err
}

// write makes the folders of the machine, with files by name and busybox.
func (m *rebuildMachine) write(files map[string]string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	files["src/bb/bin/busybox"] = string(b)
	if err := os.MkdirAll(filepath.Join(m.root, "nix"), 0o755); err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(m.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

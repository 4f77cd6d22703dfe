package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

// benchHook measures the CPU time of the real firn-hook for a derivation with
// two outputs.
func benchHook(ctx context.Context, dir, bin string) ([]row, error) {
	const rounds = 50
	const atMost = 5 * time.Millisecond
	home := filepath.Join(dir, "hook")
	store := nix.StoreDir(filepath.Join(home, "store"))
	for _, d := range []string{string(store), filepath.Join(home, "state/gcroots/auto")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	path := func(name string) string { return string(store) + "/00000000000000000000000000000000-" + name }
	text := fmt.Sprintf(`Derive([("dev","%s","",""),("out","%s","","")],[],[],"x86_64-linux","/bin/sh",[],[("dev","%s"),("out","%s")])`,
		path("app-dev"), path("app"), path("app-dev"), path("app"))
	if err := os.WriteFile(path("app.drv"), []byte(text), 0o644); err != nil {
		return nil, err
	}
	program := filepath.Join(bin, "firn-hook")
	st, err := os.Stat(program)
	if err != nil {
		return nil, err
	}
	used := make([]time.Duration, rounds)
	for i := range used {
		cmd := exec.CommandContext(ctx, program)
		cmd.Env = []string{"DRV_PATH=" + path("app.drv"), "FIRN_SPOOL=" + filepath.Join(home, "spool"), "NIX_STATE_DIR=" + filepath.Join(home, "state")}
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, err
		}
		used[i] = childCPU(cmd)
	}
	spooled, err := os.ReadDir(filepath.Join(home, "spool/pending"))
	if err != nil || len(spooled) != rounds {
		return nil, fmt.Errorf("firn-hook spooled %d of %d builds: %w", len(spooled), rounds, err)
	}
	slices.Sort(used)
	median := used[rounds/2]
	return []row{{
		what: fmt.Sprintf("firn-hook, CPU per build, median (program of %.2f MB)", float64(st.Size())/1e6), value: millis(median),
		target: "≤ " + millis(atMost), fraction: fmt.Sprintf("%.2f of the target", median.Seconds()/atMost.Seconds()), met: median <= atMost,
	}}, nil
}

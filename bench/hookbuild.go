package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	hookedBuilds = 500
	hookedJobs   = 2
	hookedAtMost = 1.02
)

// hookedPackages is as many derivations, each of which takes a second and none of
// which needs another.
const hookedPackages = `
let bb = builtins.path { path = ./bb; name = "bb"; };
in builtins.genList (i: derivation {
  name = "build-${toString i}"; system = builtins.currentSystem; builder = "${bb}/bin/busybox";
  args = [ "sh" "-c" "${bb}/bin/busybox sleep 1 && echo ${toString i} > $out" ];
}) %d`

// benchHooked builds the same derivations in two stores at the same time, in one of
// them with firn-hook, so that whatever else the machine does slows both.
func benchHooked(ctx context.Context, dir, bin string) ([]row, error) {
	program, err := filepath.Abs(filepath.Join(bin, "firn-hook"))
	if err != nil {
		return nil, err
	}
	var took [2]time.Duration
	g, ctx := errgroup.WithContext(ctx)
	for i := range took {
		m := &rebuildMachine{ctx: ctx, root: filepath.Join(dir, fmt.Sprintf("hooked-%d", i))}
		conf := fmt.Sprintf("sandbox = false\nbuild-users-group =\nsubstituters =\nmax-jobs = %d\n", hookedJobs)
		if i == 1 {
			conf += "post-build-hook = " + program + "\n"
		}
		if err := m.write(map[string]string{"etc/nix.conf": conf, "src/pkgs.nix": fmt.Sprintf(hookedPackages, hookedBuilds)}); err != nil {
			return nil, err
		}
		g.Go(func() error {
			if _, err := m.run("nix-instantiate pkgs.nix >/dev/null 2>&1"); err != nil {
				return err
			}
			begin := time.Now()
			_, err := m.run("FIRN_SPOOL=" + filepath.Join(m.root, "spool") + " nix-build --no-out-link pkgs.nix >/dev/null")
			took[i] = time.Since(begin)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	spooled, err := os.ReadDir(filepath.Join(dir, "hooked-1/spool/pending"))
	if err != nil || len(spooled) != hookedBuilds {
		return nil, fmt.Errorf("firn-hook spooled %d of %d builds: %w", len(spooled), hookedBuilds, err)
	}
	ratio := took[1].Seconds() / took[0].Seconds()
	return []row{{
		what:   fmt.Sprintf("%d builds of 1 s, %d at once, with firn-hook", hookedBuilds, hookedJobs),
		value:  fmt.Sprintf("%.1f s, without %.1f s", took[1].Seconds(), took[0].Seconds()),
		target: fmt.Sprintf("≤ %s × without", strings.TrimRight(fmt.Sprintf("%.3f", hookedAtMost), "0")), fraction: fmt.Sprintf("%.4f × without", ratio), met: ratio <= hookedAtMost,
	}}, nil
}

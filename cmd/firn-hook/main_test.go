package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// program is built once by TestMain, as it is shipped.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "firn-hook-*")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "firn-hook")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./cmd/firn-hook")
	cmd.Dir = testreq.Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		panic(string(out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// maxSize is how large the program may be, in bytes.
const maxSize = 3_000_000

func TestSmallAndStatic(t *testing.T) {
	st, err := os.Stat(program)
	if err != nil || st.Size() >= maxSize {
		t.Errorf("%d bytes, %v; want less than %d", st.Size(), err, maxSize)
	}
	t.Logf("%d bytes", st.Size())
	f, err := elf.Open(program)
	if err != nil {
		t.Skipf("not ELF: %v", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("not static: it has %v", p.Type)
		}
	}
	deps, err := exec.Command("go", "list", "-deps", "github.com/firn-log/firn/cmd/firn-hook").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(deps)) {
		if dep == "net" || dep == "encoding/json" || dep == "database/sql" || strings.Contains(dep, "firn/log") || strings.Contains(dep, "nixdb") {
			t.Errorf("it links %s", dep)
		}
	}
}

func TestAlwaysExitsZero(t *testing.T) {
	spool := filepath.Join(t.TempDir(), "spool")
	drv := "DRV_PATH=/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-app-2.3.drv"
	for name, c := range map[string]struct {
		env, args []string
		stderr    string
	}{
		"nothing set":       {nil, nil, "firn-hook: not spooled: DRV_PATH is not set"},
		"nowhere to spool":  {[]string{drv, "FIRN_SPOOL=/proc/nothing"}, nil, "firn-hook: not spooled: cannot spool"},
		"a folder as root":  {[]string{drv, "FIRN_SPOOL=/dev/null/x"}, nil, "firn-hook: not spooled: cannot spool"},
		"arguments":         {[]string{drv}, []string{"--help"}, "post-build-hook"},
		"no Nix, but spool": {[]string{drv, "FIRN_SPOOL=" + spool, "NIX_STATE_DIR=/proc/nothing"}, nil, ""},
	} {
		cmd := exec.Command(program, c.args...)
		cmd.Env = c.env
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := stderr.String(); !strings.Contains(got, c.stderr) || c.stderr == "" && got != "" || strings.Count(got, "\n") > 1 {
			t.Errorf("%s: stderr %q, want one line with %q", name, got, c.stderr)
		}
	}
	if files, err := os.ReadDir(filepath.Join(spool, "pending")); err != nil || len(files) != 1 {
		t.Errorf("%d records, %v", len(files), err)
	}
}

// BenchmarkHook measures the program's CPU time for one build; it must stay
// below 5 ms.
func BenchmarkHook(b *testing.B) {
	var cpu float64
	for b.Loop() {
		cmd := exec.Command(program)
		cmd.Env = []string{"DRV_PATH=/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-app-2.3.drv", "FIRN_SPOOL=" + b.TempDir(), "NIX_STATE_DIR=" + b.TempDir()}
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		cpu += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
	b.ReportMetric(cpu/float64(b.N)*1000, "cpu-ms/op")
}

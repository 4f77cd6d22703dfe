// Package demo holds the demo that `make demo` runs; its tests run it from end
// to end, so that what the README shows stays true.
package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// programs builds the programs once per test and returns their folder. Without
// litewitness, where it cannot be built, the demo does with a witness of firn's.
func programs(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	cmd := exec.Command("go", "build", "-o", bin+"/", "./cmd/...")
	cmd.Dir = testreq.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	peers := exec.Command("go", "build", "-C", filepath.Join(testreq.Root(), "internal/peers"), "-o", bin+"/",
		"filippo.io/torchwood/cmd/litewitness", "filippo.io/torchwood/cmd/witnessctl")
	if out, err := peers.CombinedOutput(); err != nil && testreq.Required("peers") {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// runDemo runs the script with the programs in bin and returns what it said.
// What it leaves in its temporary folder fails the test.
func runDemo(t *testing.T, bin string) (string, error) {
	t.Helper()
	for _, name := range []string{"nix-store", "bwrap", "busybox", "ssh-keygen", "ssh-agent"} {
		testreq.Command(t, "nix", name)
	}
	if err := exec.Command("bwrap", "--dev-bind", "/", "/", "true").Run(); err != nil {
		testreq.Missing(t, "nix", fmt.Sprintf("bwrap cannot make a mount namespace here: %v", err))
	}
	tmp := t.TempDir()
	cmd := exec.Command("bash", filepath.Join(testreq.Root(), "deploy/demo/run.sh"))
	cmd.Env = append(os.Environ(), "FIRN_DEMO_BIN="+bin, "TMPDIR="+tmp, "KEEP=")
	out, err := cmd.CombinedOutput()
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("the demo left %s in its temporary folder", left[0].Name())
	}
	return string(out), err
}

func TestDemoShowsEveryVerdict(t *testing.T) {
	out, err := runDemo(t, programs(t))
	if err != nil {
		t.Fatalf("the demo failed: %v\n%s", err, out)
	}
	for _, word := range []string{
		"trusted", "untrusted", "contradicted", "inconclusive", "DISSENT", "tile/entries/",
		"signed  w3 (witness", "cosigned by nobody", "p3 has p3/evidence/", "has signed two histories",
	} {
		if !strings.Contains(out, word) {
			t.Errorf("the demo does not show %q", word)
		}
	}
}

// The demo must be able to fail: a firn that trusts everything is caught.
func TestDemoFailsIfVerifyTrustsEverything(t *testing.T) {
	bin := programs(t)
	real := filepath.Join(bin, "firn-real")
	if err := os.Rename(filepath.Join(bin, "firn"), real); err != nil {
		t.Fatal(err)
	}
	credulous := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != verify ] || { echo all trusted; exit 0; }\nexec %s \"$@\"\n", real)
	if err := os.WriteFile(filepath.Join(bin, "firn"), []byte(credulous), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := runDemo(t, bin)
	if err == nil || !strings.Contains(out, "demo: FAILED: exit status 0, want 3") {
		t.Fatalf("err = %v, want the demo to fail at the first verdict\n%s", err, out)
	}
}

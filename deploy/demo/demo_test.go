// Package demo holds the demo that `make demo` runs; its tests run it from end
// to end, so that what the README shows stays true.
package demo

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// programs builds the programs and returns their folder. It looks at every
// folder of the project, so that go test does not take an older run for this
// one: it cannot know what go build reads. Without litewitness,
// where it cannot be built, the demo does with a witness of firn's.
func programs(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"cmd", "deploy", "federation", "ingest", "internal", "log", "tracker", "verify", "witness"} {
		err := filepath.WalkDir(filepath.Join(testreq.Root(), dir), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
	bin := t.TempDir()
	cmd := exec.Command("go", "build", "-o", bin+"/", "./cmd/...", "./deploy/demo/cheat")
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
	for _, name := range []string{"nix-store", "bwrap", "busybox", "ssh-keygen", "ssh-agent", "curl"} {
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
		"answers from the bundle of", "auditor-example does not cosign", "has committed to a wrong index",
		"building '/nix/store/", "is refused: contradicted", "is contradicted, so: refuse", "fires", "A and B differ:", "Reproduced: 18 of 20",
		"20 statements new in the log", "spindrift-0.3  log  differ", "content     share/when", "glacier  2026.12  agree  missing", "is what the logs prove", "16 of 19 outputs are reproduced; 2 came out differently.", ".tlog-proof proves entry",
	} {
		if !strings.Contains(out, word) {
			t.Errorf("the demo does not show %q", word)
		}
	}
	checkReadme(t, out)
}

// checkReadme holds the transcript on README's first screen against
// a run, apart from what is random in each.
func checkReadme(t *testing.T, out string) {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(testreq.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	random := regexp.MustCompile(`[0-9a-f]{8,}(-[0-9a-f]{16})?|(entry|size|entries/000\.p/) ?\d+|\d+ entries|127\.0\.0\.1:\d+|\d+s old|20\d\d-\d\d-\d\d`)
	said := strings.Split(random.ReplaceAllString(out, "…"), "\n")
	_, rest, _ := strings.Cut(string(readme), "```\n")
	transcript, _, _ := strings.Cut(rest, "```\n")
	if strings.Count(transcript, "\n") < 10 {
		t.Fatalf("README.md begins with no transcript:\n%s", transcript)
	}
	for line := range strings.Lines(transcript) {
		line = random.ReplaceAllString(strings.TrimSuffix(line, "\n"), "…")
		if line != "…" && !slices.Contains(said, line) {
			t.Errorf("README.md shows what the demo does not say: %s", line)
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

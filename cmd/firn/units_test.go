package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// The units that setup writes are those of deploy/systemd, with other paths.
func TestUnitsAreThoseOfPackages(t *testing.T) {
	for name := range unitFiles {
		file := filepath.Join(testreq.Root(), "deploy/systemd/firn-"+name)
		want, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := unitFile(name, "/usr/bin/firn", "/etc/firn", "/var/spool/firn", submitUser); got != string(want) {
			t.Errorf("%s is not:\n%s", file, got)
		}
		if got := unitFile(name, "/opt/firn", "/my/etc", "/my/spool", "me"); strings.Contains(got, "@firn@") || strings.Contains(got, "User="+submitUser) || strings.Contains(got, "/usr/bin") {
			t.Errorf("%s keeps what is another machine's:\n%s", name, got)
		}
	}
}

// systemd itself reads every unit without a complaint.
func TestSystemdAcceptsTheUnits(t *testing.T) {
	analyze := testreq.Command(t, "systemd", "systemd-analyze")
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join(testreq.Root(), "deploy/systemd/firn-*.*"))
	if err != nil || len(files) < 9 {
		t.Fatalf("%d units, %v", len(files), err)
	}
	args := []string{"verify", "--man=no"}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// Programs and users that are not here are not what is looked at.
		var text strings.Builder
		for line := range strings.Lines(string(b)) {
			switch key, value, _ := strings.Cut(line, "="); key {
			case "ExecStart", "ExecStartPre":
				_, rest, _ := strings.Cut(value, " ")
				line = key + "=/bin/true " + rest
			case "User", "Group", "Documentation":
				continue
			}
			text.WriteString(line)
		}
		to := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(to, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, to)
	}
	out, err := exec.Command(analyze, args...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) || strings.Contains(line, "firn-") {
			t.Errorf("%s", line)
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

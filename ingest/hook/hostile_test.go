package hook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Nix runs the hook as root. Whoever may write to the spool cannot make it
// write anywhere else.
func TestLinksOutOfTheSpoolAreNotFollowed(t *testing.T) {
	for _, name := range []string{PendingDir, RootsDir, ProblemFile} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, false)
			outside := filepath.Join(t.TempDir(), "outside")
			link := filepath.Join(string(w.spool), name)
			if err := os.Mkdir(string(w.spool), 0o755); err != nil {
				t.Fatal(err)
			}
			if name == ProblemFile {
				delete(w.env, "DRV_PATH")
				if err := os.WriteFile(outside, []byte("as it was"), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if err := os.Mkdir(outside, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, link); err != nil {
				t.Fatal(err)
			}
			err := w.run()
			if name == ProblemFile {
				if b, _ := os.ReadFile(outside); string(b) != "as it was" {
					t.Errorf("a file outside the spool became %q", b)
				}
				return
			}
			if files, _ := os.ReadDir(outside); len(files) != 0 {
				t.Errorf("the hook wrote %s outside the spool", files[0].Name())
			}
			if name == PendingDir && (err == nil || !strings.Contains(err.Error(), "cannot spool")) {
				t.Errorf("%v, want it said that nothing was spooled", err)
			}
			if name == RootsDir && !strings.Contains(w.record(t).Note, "paths not held: ") {
				t.Errorf("note %q", w.record(t).Note)
			}
		})
	}
}

// A build waits for the hook: it must not wait for whoever would read a pipe.
func TestAPipeForProblemsStopsNoBuild(t *testing.T) {
	w := newWorld(t, false)
	delete(w.env, "DRV_PATH")
	if err := os.Mkdir(string(w.spool), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(string(w.spool), ProblemFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.run(); err == nil {
		t.Error("no error without DRV_PATH")
	}
}

func TestARecordLeavesNothingUnfinished(t *testing.T) {
	w := newWorld(t, false)
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(string(w.spool), PendingDir, w.record(t).Name()))
	if err != nil || st.Mode() != fileMode {
		t.Errorf("mode %v, %v; want %v", st.Mode(), err, fileMode)
	}
}

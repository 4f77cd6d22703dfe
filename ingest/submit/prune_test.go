package submit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
)

// sentFiles lists sent/ without temporary files.
func (w *world) sentFiles() []string {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.conf.Spool, sentDir))
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// sentBuilds sends builds of these names and returns their names in the spool.
func (w *world) sentBuilds(names ...string) []string {
	w.t.Helper()
	var builds []string
	var drvs []nix.StorePath
	for _, name := range names {
		drv, _ := w.drv(name, "out")
		drvs = append(drvs, drv)
		builds = append(builds, w.spooled(drv))
	}
	w.public(drvs...)
	if out := w.once(w.options()); out.Sent != len(names) {
		w.t.Fatalf("sent %+v", out)
	}
	return builds
}

func TestSentKeepsTheNewestReceipts(t *testing.T) {
	w := newWorld(t)
	w.conf.KeepSent = 3
	var builds []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		drv, _ := w.drv(name, "out")
		w.public(drv)
		builds = append(builds, w.spooled(drv))
		w.once(w.options())
	}
	var want []string
	for _, b := range builds[2:] {
		want = append(want, b, b+proofSuffix)
		w.checkProof(b)
	}
	if got := w.sentFiles(); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}

func TestWhatIsNotConfirmedIsNeverPruned(t *testing.T) {
	w := newWorld(t)
	builds := w.sentBuilds("no-proof", "waits", "old", "new")
	sent := func(name string) string { return filepath.Join(w.conf.Spool, sentDir, name) }
	if err := os.Remove(sent(builds[0] + proofSuffix)); err != nil {
		t.Fatal(err)
	}
	s := spool{dir: w.conf.Spool}
	if err := s.write(unsignedDir, builds[1], []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.prune(1); err != nil {
		t.Fatal(err)
	}
	want := []string{builds[0], builds[1], builds[1] + proofSuffix, builds[3], builds[3] + proofSuffix}
	if got := w.sentFiles(); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}

// Whatever prune leaves when it is killed, the next one finishes.
func TestPruneKilledAtAnyMomentIsFinishedByTheNext(t *testing.T) {
	for stop := range 6 {
		w := newWorld(t)
		builds := w.sentBuilds("a", "b", "c")
		killed := errors.New("killed")
		func() {
			defer func() { _ = recover() }()
			n := 0
			s := spool{dir: w.conf.Spool, step: func() {
				if n++; n > stop {
					panic(killed)
				}
			}}
			_ = s.prune(1)
		}()
		if err := (spool{dir: w.conf.Spool}).prune(1); err != nil {
			t.Fatal(err)
		}
		if got := w.sentFiles(); !slices.Equal(got, []string{builds[2], builds[2] + proofSuffix}) {
			t.Errorf("killed after %d steps: %q", stop, got)
		}
	}
}

// A receipt that is gone makes nobody send again: the build is not in the spool
// any more.
func TestAPrunedBuildIsNotSentAgain(t *testing.T) {
	w := newWorld(t)
	w.conf.KeepSent = 1
	for _, name := range []string{"a", "b"} {
		drv, _ := w.drv(name, "out")
		w.public(drv)
		w.spooled(drv)
		w.once(w.options())
	}
	requests := 0
	w.log.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path == "v1/statements" {
				requests++
			}
			return status, body
		}
	})
	if out := w.once(w.options()); out.Sent != 0 || out.Waiting != 0 || requests != 0 {
		t.Errorf("%+v, %d requests", out, requests)
	}
	if left := w.sentFiles(); len(left) != 2 {
		t.Errorf("kept %q", left)
	}
}

func TestKeepSentIsChecked(t *testing.T) {
	w := newWorld(t)
	if w.conf.KeepSent != defaultKeepSent {
		t.Errorf("the default is %d", w.conf.KeepSent)
	}
	w.conf.KeepSent = -1
	if err := w.conf.Check(); err == nil || !strings.Contains(err.Error(), "keep-sent: -1 is not a number of statements to keep, 1 or more") {
		t.Errorf("%v", err)
	}
}

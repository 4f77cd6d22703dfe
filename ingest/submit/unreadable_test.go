package submit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/nix"
)

// What cannot be read among the records is set aside, and stops no other.
func TestAnUnreadableRecordStopsNoOther(t *testing.T) {
	w := newWorld(t)
	drv, _ := w.drv("a", "out")
	w.public(drv)
	name := func(n int) string { return fmt.Sprintf("173254000%d-0000000000000000000000000000ffff", n) }
	good := w.spooled(drv)
	pending := filepath.Join(w.conf.Spool, hook.PendingDir)
	for _, err := range []error{
		os.Mkdir(filepath.Join(pending, name(1)), 0o755),
		os.Symlink(name(2), filepath.Join(pending, name(2))),
		os.Symlink("/dev/zero", filepath.Join(pending, name(3))),
		os.Symlink("/nonexistent", filepath.Join(pending, name(4))),
		syscall.Mkfifo(filepath.Join(pending, name(5)), 0o644),
		os.WriteFile(filepath.Join(pending, name(6)), bytes.Repeat([]byte{'x'}, 1<<20), 0o644),
		os.WriteFile(filepath.Join(pending, name(7)), nil, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadStatus(w.conf); err != nil {
		t.Errorf("status: %v", err)
	}
	if out := w.once(w.options()); out.Sent != 1 || out.Waiting != 0 {
		t.Errorf("%+v", out)
	}
	if state, why := w.where(good); state != Sent {
		t.Errorf("the good one is %s: %s", state, why)
	}
	for n := 1; n <= 7; n++ {
		if state, code := w.where(name(n)); state != Failed || code != CodeBadRecord {
			t.Errorf("%d: %s %s", n, state, code)
		}
	}
	if left, err := os.ReadDir(pending); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// brokenAt is a store whose database cannot be read about one path.
type brokenAt struct {
	*fakeStore
	path nix.StorePath
}

func (b brokenAt) PathInfo(ctx context.Context, p nix.StorePath) (*nix.PathInfo, error) {
	if p == b.path {
		return nil, errors.New("database disk image is malformed")
	}
	return b.fakeStore.PathInfo(ctx, p)
}

// A record about which the machine cannot tell now stays, and stops no other.
func TestTroubleWithOneRecordStopsNoOther(t *testing.T) {
	w := newWorld(t)
	bad, outs := w.drv("a", "out")
	good, _ := w.drv("b", "out")
	w.public(bad, good)
	stays, sent := w.spooled(bad), w.spooled(good)
	opts := w.options()
	opts.store = func(context.Context) (*store, error) { return newStore(brokenAt{w.src, outs[0]}, w.root), nil }
	s := w.open(opts)
	defer s.Close()
	out, err := s.Once(t.Context(), 0)
	if err == nil || !strings.Contains(err.Error(), stays) || out.Sent != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	for name, want := range map[string]State{stays: Pending, sent: Sent} {
		if state, why := w.where(name); state != want {
			t.Errorf("%s is %s (%s), want %s", name, state, why, want)
		}
	}
}

// What a killed hook left unfinished goes away, but not under one that runs.
func TestUnfinishedRecordsAreSwept(t *testing.T) {
	w := newWorld(t)
	pending := filepath.Join(w.conf.Spool, hook.PendingDir)
	if err := os.MkdirAll(pending, 0o755); err != nil {
		t.Fatal(err)
	}
	age := map[string]time.Duration{".firn-tmp-old": 61 * time.Minute, ".firn-tmp-new": 59 * time.Minute, ".other": 61 * time.Minute}
	for name, d := range age {
		file := filepath.Join(pending, name)
		then := time.Now().Add(-d)
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Chtimes(file, then, then)); err != nil {
			t.Fatal(err)
		}
	}
	w.once(w.options())
	var left []string
	entries, err := os.ReadDir(pending)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if err != nil || !slices.Equal(left, []string{".firn-tmp-new", ".other"}) {
		t.Errorf("left %q, %v", left, err)
	}
}

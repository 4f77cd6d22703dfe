package submit

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/log/logtest"
)

// A submitter that dies before any of its changes to the disk, in every place in
// turn, loses nothing, and sends each statement with the same bytes.
func TestCrashAnywhereLosesNothing(t *testing.T) {
	crash := new(int)
	for at := 1; ; at++ {
		w := newWorld(t)
		a, _ := w.drv("a", "out")
		b, _ := w.drv("b", "dev", "out")
		private, _ := w.drv("private", "out")
		remote, outs := w.drv("remote", "out")
		w.src.infos[outs[0]].Ultimate = false
		w.public(a, b)
		want := map[string]State{w.spooled(a): Sent, w.spooled(b): Sent, w.spooled(private): Held, w.spooled(remote): Failed}
		seen := make(map[string][]byte) // by statement's payload: the leaf
		w.log.Lie(func(l *logtest.Lies) {
			l.Edit = func(path string, status int, body []byte) (int, []byte) {
				if path == "v1/statements" {
					w.noteSent(t, seen)
				}
				return status, body
			}
		})
		opts := w.options()
		steps := 0
		opts.step = func() {
			if steps++; steps == at {
				panic(crash)
			}
		}
		died := w.runAndDie(t, opts, crash)
		opts.step = nil
		w.once(opts)
		for name, state := range want {
			if got, why := w.where(name); got != state {
				t.Errorf("died at %d: %s is %s (%s), want %s", at, name, got, why, state)
			}
			if state == Sent {
				w.checkProof(name)
			}
		}
		if n := len(w.logged()); n != 2 {
			t.Errorf("died at %d: %d statements in the log, want 2", at, n)
		}
		for _, dir := range []string{hook.PendingDir, unsignedDir, signedDir} {
			if left, err := os.ReadDir(filepath.Join(w.conf.Spool, dir)); err != nil || len(left) > 0 {
				t.Errorf("died at %d: %s holds %v (%v)", at, dir, left, err)
			}
		}
		if !died {
			if at < 15 {
				t.Errorf("only %d places to die", at)
			}
			return
		}
	}
}

// runAndDie runs a submitter and reports whether it died of crash.
func (w *world) runAndDie(t *testing.T, opts Options, crash *int) (died bool) {
	t.Helper()
	s := w.open(opts)
	defer s.Close() // what the kernel would do
	defer func() {
		if r := recover(); r != nil {
			if r != any(crash) {
				panic(r)
			}
			died = true
		}
	}()
	if _, err := s.Once(t.Context(), 0); err != nil {
		t.Error(err)
	}
	return false
}

// noteSent remembers what is being sent, which lies in signed/, and complains if
// it was sent with other bytes before.
func (w *world) noteSent(t *testing.T, seen map[string][]byte) {
	files, err := filepath.Glob(filepath.Join(w.conf.Spool, signedDir, "*"))
	if err != nil {
		t.Error(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Error(err)
		}
		name := filepath.Base(f)
		if old := seen[name]; old != nil && !bytes.Equal(old, b) {
			t.Errorf("%s was sent twice with different bytes", name)
		}
		seen[name] = b
	}
}

package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

// mirrorOf copies the public tree of a log, as a mirror has it.
func mirrorOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "mirror")
	for _, name := range []string{"tile", "checkpoint"} {
		from := want(filepath.EvalSymlinks(filepath.Join(dir, publicName, name)))(t)
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			file := filepath.Join(to, name, strings.TrimPrefix(path, from))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			return os.WriteFile(file, b, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// backupOf copies what makes a log that log to a new folder.
func backupOf(t *testing.T, dir string, more ...string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{ConfigName, "log.key"}, more...) {
		b := want(os.ReadFile(filepath.Join(dir, name)))(t)
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// A log that is restored from a mirror has every entry, says nothing new before all
// witnesses have answered, and then goes on.
func TestRestoredLogGoesOn(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	o := l.operator("alice")
	l.must(o.Builds(0, 300)...)
	size, known := l.settle(), idOf(t, o.Builds(7, 8)[0])
	l.close()
	mirror := mirrorOf(t, l.dir)
	// A mirror may be served, below what a firn-peer serves.
	mux := http.NewServeMux()
	below := fmt.Sprintf("/mirror/%x", sha256.Sum256([]byte(l.o.Config.Origin)))
	mux.Handle(below+"/", http.StripPrefix(below, http.FileServer(http.Dir(mirror))))
	web := httptest.NewServer(mux)
	defer web.Close()
	// In this order: the second one goes on, and the witnesses know it then.
	for _, c := range [][2]string{{"a folder", mirror}, {"a URL", web.URL}} {
		name, from := c[0], c[1]
		dir := backupOf(t, l.dir, "witness.policy")
		res, err := Restore(t.Context(), dir, from, nil)
		if err != nil || res.Size != size {
			t.Fatalf("%s: %+v, %v", name, res, err)
		}
		r := &witnessed{testLog: &testLog{t: t, dir: dir, o: l.o}, w: l.w, pol: l.pol}
		r.faults(witnesstest.Faults{Down: true}, 5) // it is outside the quorum, and still must answer
		r.open()
		status, _, body := r.postRaw("?wait=0s", o.Builds(300, 301)...)
		if status != http.StatusServiceUnavailable || !strings.Contains(body, "restored from a mirror") || !strings.Contains(body, "w5") {
			t.Errorf("%s: taken in doubt: %d %s", name, status, body)
		}
		if status, _, body := r.get("/v1/proof?id=" + known); status != http.StatusOK {
			t.Errorf("%s: reading: %d %s", name, status, body)
		}
		r.faults(witnesstest.Faults{})
		r.until("/readyz", "ok\n")
		if name == "a URL" {
			r.must(o.Builds(300, 301)...)
			if v := r.cosigned(); v.Size <= size {
				t.Errorf("size %d, want %d or more", v.Size, size+1)
			}
		}
		c := want(log.NewClient(r.http.URL, l.pol, log.Options{}))(t)
		if a, err := c.Audit(t.Context(), want(c.Checkpoint(t.Context()))(t), nil); err != nil || len(a.Faults) != 0 {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if f, err := c.Fsck(t.Context(), nil); err != nil || len(f.Faults) != 0 {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
		r.close() // a log that runs has temporary files
		if stray, err := log.StrayFiles(filepath.Join(dir, publicName)); err != nil || len(stray) != 0 {
			t.Errorf("%s: %v, %v", name, stray, err)
		}
	}
}

// Witnesses that know more than the mirror refuse the start.
func TestLogRestoredFromAnOldMirrorIsRefused(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	o := l.operator("alice")
	l.settle()
	mirror := mirrorOf(t, l.dir)
	l.must(o.Builds(0, 3)...)
	l.close()
	dir := backupOf(t, l.dir, "witness.policy")
	want(Restore(t.Context(), dir, mirror, nil))(t)
	r := &testLog{t: t, dir: dir, o: l.o}
	var rollback *RollbackError
	if err := r.tryOpen(); !errors.As(err, &rollback) || !strings.Contains(err.Error(), "the witness") {
		t.Errorf("%v", err)
	}
}

// Without witnesses it is the operator's word that nothing newer was signed.
func TestRestoredLogWithoutWitnessesNeedsAWord(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.close()
	dir := backupOf(t, l.dir)
	want(Restore(t.Context(), dir, mirrorOf(t, l.dir), nil))(t)
	r := &testLog{t: t, dir: dir}
	t.Cleanup(r.close)
	var rollback *RollbackError
	if err := r.tryOpen(); !errors.As(err, &rollback) || !rollback.Overridable || !strings.Contains(err.Error(), "restored from a mirror") {
		t.Errorf("%v", err)
	}
	r.o.NoWitnessCheck = true
	r.open()
	r.must(o.Builds(0, 1)...)
	r.close()
	r.o.NoWitnessCheck = false
	r.open() // the record names this place now
}

func TestRestoreIsRefused(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.must(o.Builds(0, 300)...)
	l.settle()
	small := mirrorOf(t, l.dir)
	l.must(o.Builds(300, 301)...)
	running := l.dir
	if _, err := Restore(t.Context(), running, small, nil); err == nil || !strings.Contains(err.Error(), "running") && !strings.Contains(err.Error(), "lock") {
		t.Errorf("while it runs: %v", err)
	}
	l.close()
	other := newTestLog(t, nil)
	other.close()
	// fork has the same key, and another history of the same size and more.
	fork := &testLog{t: t, dir: backupOf(t, l.dir)}
	fork.o.NoWitnessCheck = true
	fork.open()
	fo := fork.operator("mallory")
	fork.must(fo.Builds(0, 310)...)
	fork.close()

	edit := func(path string, change func([]byte) []byte) func(t *testing.T, mirror string) {
		return func(t *testing.T, mirror string) {
			file := filepath.Join(mirror, filepath.FromSlash(path))
			if err := os.WriteFile(file, change(want(os.ReadFile(file))(t)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(path string) func(*testing.T, string) {
		return func(t *testing.T, mirror string) {
			if err := os.RemoveAll(filepath.Join(mirror, filepath.FromSlash(path))); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b = bytes.Clone(b); b[at] ^= 1; return b }
	}
	for name, c := range map[string]struct {
		from   string                   // a log's folder, or ""
		mirror string                   // a mirror, if from is ""
		spoil  func(*testing.T, string) // what is wrong with the mirror
		dir    func(*testing.T, string) // what is there already
		backup []string                 // more that the directory has
		want   string
	}{
		"a bundle missing":        {from: l.dir, spoil: remove("tile/entries/000"), want: "tile/entries/000"},
		"a tile missing":          {from: l.dir, spoil: remove("tile/0/000"), want: "tile/0/000"},
		"the edge missing":        {from: l.dir, spoil: remove("tile/1/000.p"), want: "tile/1/000.p"},
		"an entry changed":        {from: l.dir, spoil: edit("tile/entries/000", flip(100)), want: "is not the one in the tree"},
		"an entry cut off":        {from: l.dir, spoil: edit("tile/entries/000", func(b []byte) []byte { return b[:len(b)-1] }), want: "cut off"},
		"a hash changed":          {from: l.dir, spoil: edit("tile/0/000", flip(40)), want: "do not hash to its checkpoint"},
		"a signature changed":     {from: l.dir, spoil: edit("checkpoint", func(b []byte) []byte { return bytes.Replace(b, []byte("\n3"), []byte("\n2"), 1) }), want: "does not verify"},
		"no checkpoint":           {from: l.dir, spoil: remove("checkpoint"), want: "not found"},
		"nothing":                 {mirror: filepath.Join(t.TempDir(), "nowhere"), want: "unreachable"},
		"another log":             {from: other.dir, want: "not signed by a log of the policy"},
		"smaller than the record": {mirror: small, backup: []string{recordName}, want: "the mirror has only"},
		"another than the record": {from: fork.dir, backup: []string{recordName}, want: "the record has the root"},
		"smaller than what is public": {mirror: small, dir: func(t *testing.T, dir string) {
			b := want(os.ReadFile(filepath.Join(l.dir, publicName, checkpointName)))(t)
			if err := os.MkdirAll(filepath.Join(dir, publicName), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, publicName, checkpointName), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}, want: "checkpoint knows"},
		"a tree there": {from: l.dir, dir: func(t *testing.T, dir string) {
			if err := os.MkdirAll(filepath.Join(dir, treeName, "tile"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, want: "there is a tree in"},
	} {
		t.Run(name, func(t *testing.T) {
			mirror := c.mirror
			if c.from != "" {
				mirror = mirrorOf(t, c.from)
			}
			if c.spoil != nil {
				c.spoil(t, mirror)
			}
			dir := backupOf(t, l.dir, c.backup...)
			if c.dir != nil {
				c.dir(t, dir)
			}
			_, err := Restore(t.Context(), dir, mirror, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			for _, name := range []string{treeName, restoringName} {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil && c.dir == nil {
					t.Errorf("%s is there", name)
				}
			}
			if rec, err := readRecord(filepath.Join(dir, recordName)); err == nil && rec.place == nowhere {
				t.Error("the record was replaced")
			}
		})
	}
	// What was refused for its mirror can be restored from a better one.
	dir := backupOf(t, l.dir, recordName)
	if res, err := Restore(t.Context(), dir, mirrorOf(t, l.dir), nil); err != nil || res.Witnesses {
		t.Errorf("%+v, %v", res, err)
	}
}

// A restore that was killed between record and tree leaves a directory that does not
// start, and that can be restored again.
func TestHalfARestoredLogDoesNotStart(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.operator("alice")
	l.close()
	mirror := mirrorOf(t, l.dir)
	dir := backupOf(t, l.dir)
	want(Restore(t.Context(), dir, mirror, nil))(t)
	if err := os.Rename(filepath.Join(dir, treeName), filepath.Join(dir, restoringName)); err != nil {
		t.Fatal(err)
	}
	r := &testLog{t: t, dir: dir, o: Options{NoWitnessCheck: true}}
	if err := r.tryOpen(); err == nil || !strings.Contains(err.Error(), "the tree here has only 0") {
		t.Errorf("%v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, treeName)); err != nil {
		t.Fatal(err)
	}
	want(Restore(t.Context(), dir, mirror, nil))(t)
	r.open()
	r.close()
}

// Every size of a tree is copied as it is.
func TestCopyOfEverySize(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	pol := want(policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n")))(t)
	for i := 0; i < 520; {
		n := 1 + i/2
		l.must(o.Builds(i, i+n)...)
		i += n
		c := want(log.NewClient(l.http.URL, pol, log.Options{}))(t)
		cp := want(c.Checkpoint(t.Context()))(t)
		dir := t.TempDir()
		if err := c.Copy(context.Background(), cp, dir, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "checkpoint"), cp.Note, 0o644); err != nil {
			t.Fatal(err)
		}
		mine := want(log.NewClient("file://"+dir, pol, log.Options{}))(t)
		if f, err := mine.Fsck(t.Context(), nil); err != nil || len(f.Faults) != 0 || f.Entries != cp.Size {
			t.Errorf("size %d: %+v, %v", cp.Size, f, err)
		}
	}
}

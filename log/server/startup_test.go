package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/durable"
)

// copyDir copies a log's directory, as a backup does.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

// grow adds n builds of a new operator.
func (l *testLog) grow(name string, n int) {
	l.t.Helper()
	o := l.operator(name)
	l.must(o.Builds(0, n)...)
}

// refused opens the log and wants a RollbackError that says something.
func (l *testLog) refused(say string) *RollbackError {
	l.t.Helper()
	err := l.tryOpen()
	if err == nil {
		l.t.Fatal("the log started")
	}
	var rollback *RollbackError
	if !errors.As(err, &rollback) || !strings.Contains(err.Error(), say) {
		l.t.Fatalf("refused with %v, want a RollbackError about %q", err, say)
	}
	return rollback
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	leaves := o.Builds(0, 10)
	first := l.must(leaves...)
	vkey := l.VKey()
	l.close()
	l.open()
	if l.VKey() != vkey {
		t.Error("another key after a restart")
	}
	_, a := l.post("", append(leaves, o.Builds(10, 11)...)...)
	for i := range leaves {
		if r := a.Results[i]; r.Status != statusDuplicate || *r.Index != *first.Results[i].Index {
			t.Errorf("leaf %d after a restart: %+v", i, r)
		}
	}
	if a.Results[10].Status != statusAccepted {
		t.Errorf("alice's key is not known after a restart: %+v", a.Results[10])
	}
}

func TestSecondServerIsRefusedAndNamesTheFirst(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	_, err := New(t.Context(), Options{Dir: l.dir})
	var locked *durable.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("%v, want it refused with this process named", err)
	}
}

// An older copy of only a part of the directory contradicts the rest.
func TestRestoredOlderTreeIsRefused(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.grow("alice", 3)
	small := l.settle()
	l.close()
	backup := t.TempDir()
	copyDir(t, l.dir, backup)
	l.open()
	l.grow("bob", 300)
	size := l.settle()
	l.close()
	if err := os.RemoveAll(filepath.Join(l.dir, treeName)); err != nil {
		t.Fatal(err)
	}
	copyDir(t, filepath.Join(backup, treeName), mkdir(t, filepath.Join(l.dir, treeName)))
	r := l.refused(fmt.Sprintf("the record knows %d entries of this log, and the tree here has only %d", size, small))
	if r.Overridable {
		t.Error("a known larger checkpoint can be overridden")
	}
	l.o.NoWitnessCheck = true
	l.refused("the record knows")

	// Without the record the index still knows, without both the checkpoint.
	remove(t, l.dir, recordName)
	l.refused("the index index.db knows")
	remove(t, l.dir, indexName)
	l.refused("the file public/checkpoint")
}

func mkdir(t *testing.T, path string) string {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func remove(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestoredWholeDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.grow("alice", 3)
	l.close()
	original := l.dir
	l.dir = t.TempDir()
	copyDir(t, original, l.dir)
	r := l.refused("changed since this log signed last")
	if !r.Overridable || !strings.Contains(r.Hint, "--no-witness-check") {
		t.Errorf("hint %q", r.Hint)
	}
	l.o.NoWitnessCheck = true
	l.open() // the operator says that it moved
	l.grow("bob", 1)
	l.close()
	l.o.NoWitnessCheck = false
	l.open()
}

func TestMissingRecordIsRefused(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.grow("alice", 3)
	size := l.settle()
	l.close()
	remove(t, l.dir, recordName)
	l.refused("is missing")
	l.o.NoWitnessCheck = true
	l.open()
	l.close()
	r := want(readRecord(filepath.Join(l.dir, recordName)))(t)
	if r.head.Size != size {
		t.Errorf("the new record begins at %d, want what is there: %d", r.head.Size, size)
	}
}

// A checkpoint this log signed that is larger, or of another tree, is enough,
// wherever it is; what it did not sign never stops anything.
func TestCheckpointsElsewhereAreAsked(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.grow("alice", 3)
	l.close()
	backup := t.TempDir()
	copyDir(t, l.dir, backup)
	l.open()
	l.grow("bob", 5)
	size := l.settle()
	_, _, newer := l.get("/checkpoint")
	l.close()

	var shown []byte
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/copy/checkpoint" || shown == nil {
			http.NotFound(w, r)
			return
		}
		w.Write(shown)
	}))
	defer mirror.Close()
	// The whole directory is rolled back in place, record and index too: no
	// sign of it is left here.
	for _, name := range []string{treeName, publicName, recordName, indexName} {
		remove(t, l.dir, name)
		if out, err := exec.Command("cp", "-a", filepath.Join(backup, name), l.dir).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
	}
	config := want(LoadConfig(l.dir))(t)
	config.Rollback.Mirrors = []string{mirror.URL + "/copy/"}
	l.o.Config = config
	shown = newer
	l.refused(mirror.URL)

	shown = []byte(strings.Replace(string(newer), fmt.Sprintf("\n%d\n", size), "\n99\n", 1)) // no longer signed
	l.open()
	l.close()
	shown = nil // unreachable
	l.open()
}

func TestIndexIsMadeAnew(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, path string){
		"missing": func(t *testing.T, path string) { remove(t, filepath.Dir(path), indexName) },
		"garbage": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("not a database", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"empty": func(t *testing.T, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newTestLog(t, nil)
			o := l.operator("alice")
			b := o.Builds(0, 3)
			l.must(b...)
			l.close()
			damage(t, filepath.Join(l.dir, indexName))
			l.open()
			_, a := l.post("", append(b, o.Builds(3, 4)...)...)
			if a.Results[0].Status != statusDuplicate || a.Results[3].Status != statusAccepted {
				t.Errorf("after the index was %s: %+v", name, a.Results)
			}
		})
	}
}

func TestIndexOfAnotherTreeIsRefused(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.grow("alice", 3)
	l.close()
	path := filepath.Join(l.dir, indexName)
	changeIndex(t, path, "UPDATE meta SET value = zeroblob(32) WHERE name = 'root'")
	l.refused("has the root")
}

func TestChangedRulesBecomeALogConfig(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	size := l.settle()
	l.close()
	l.open()
	if l.settle() != size {
		t.Error("a restart without a change added something")
	}
	l.close()
	path := filepath.Join(l.dir, ConfigName)
	b := want(os.ReadFile(path))(t)
	b = []byte(strings.Replace(string(b), "mode = 'vouched'", "mode = 'listed'", 1))
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	l.open()
	if got := l.registry.Rules().Mode; got != "listed" || l.count() != 2 {
		t.Errorf("mode %s and %d statements, want listed and two", got, l.count())
	}
}

func TestStrayFilesAreSweptAtStart(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.grow("alice", 3)
	l.close()
	stray := []string{
		"tessera/tile/0/0001234567", "tessera/tile/0/000.p/61234567", "tessera/tile/entries/000.p/5987", "tessera/tile/x001/junk",
		"tessera/.state/treeState42", "tessera/checkpoint7", "public/.firn-tmp-1", ".firn-tmp-2",
	}
	for _, name := range stray {
		path := filepath.Join(l.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l.open()
	for _, name := range stray {
		if _, err := os.Stat(filepath.Join(l.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	l.grow("bob", 1)
}

func TestKeyThatOthersMayReadOrChangeIsRefused(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.close()
	for _, mode := range []os.FileMode{0o604, 0o620, 0o601} {
		if err := os.Chmod(filepath.Join(l.dir, "log.key"), mode); err != nil {
			t.Fatal(err)
		}
		if err := l.tryOpen(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v, want it refused with what to do", mode, err)
		}
	}
	// systemd hands a credential to a service with group read.
	if err := os.Chmod(filepath.Join(l.dir, "log.key"), 0o440); err != nil {
		t.Fatal(err)
	}
	if err := l.tryOpen(); err != nil {
		t.Errorf("mode 0440: %v", err)
	}
}

func TestForeignTreeIsRefused(t *testing.T) {
	t.Parallel()
	l, other := newTestLog(t, nil), newTestLog(t, nil)
	l.close()
	other.close()
	remove(t, l.dir, treeName, indexName, publicName, recordName)
	copyDir(t, filepath.Join(other.dir, treeName), mkdir(t, filepath.Join(l.dir, treeName)))
	l.o.NoWitnessCheck = true
	if err := l.tryOpen(); err == nil || !strings.Contains(err.Error(), "first entry") {
		t.Errorf("%v, want the first entry named", err)
	}
}

// A tree keeps tiles only as wide as they were after some batch: the index has
// to be made anew also where its own steps end between two of them, and no
// checkpoint of the whole tree was signed before the crash.
func TestIndexIsMadeAnewAheadOfTheRecord(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.close()
	before := t.TempDir()
	copyDir(t, l.dir, before)
	l.open()
	for i := range 2 {
		l.must(o.Builds(900*i, 900*(i+1))...)
	}
	size := l.settle()
	l.close()
	for _, name := range []string{recordName, publicName + "/" + checkpointName, treeName + "/" + checkpointName} {
		if err := os.Rename(filepath.Join(before, name), filepath.Join(l.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	remove(t, l.dir, indexName)
	l.open()
	if got := l.db.State().Size; got != size {
		t.Errorf("the index has read %d entries, want %d", got, size)
	}
	if _, a := l.post("", o.Builds(899, 901)...); a.Results[0].Status != statusDuplicate || a.Results[1].Status != statusDuplicate {
		t.Errorf("sent again: %+v", a.Results)
	}
}

// A backup of index.db alone, put beside the write-ahead log that a crash left,
// is sound for SQLite and lacks what was written between the two.
func TestOlderIndexWithANewerWALIsMadeAnew(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.must(o.Builds(0, 900)...)
	l.close()
	path := filepath.Join(l.dir, indexName)
	read := func(path string) []byte { return want(os.ReadFile(path))(t) }
	old := read(path)
	l.open()
	between := o.Builds(900, 902)
	l.must(between...)
	l.close()
	l.open()
	l.must(o.Builds(902, 903)...)
	wal := read(path + "-wal")
	l.close()
	for name, b := range map[string][]byte{path: old, path + "-wal": wal} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.open()
	if _, a := l.post("", between...); a.Results[0].Status != statusDuplicate || a.Results[1].Status != statusDuplicate {
		t.Errorf("they have a second index: %+v", a.Results)
	}
}

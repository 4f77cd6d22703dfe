package hook

import (
	"bytes"
	"crypto/sha1"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

// world is a store with one derivation, a spool and a state folder.
type world struct {
	drv   nix.StorePath
	outs  []nix.StorePath
	state string
	spool Spool
	env   map[string]string
}

func newWorld(t *testing.T, floating bool) *world {
	t.Helper()
	root := t.TempDir()
	dir := nix.StoreDir(filepath.Join(root, "store"))
	path := func(name string) nix.StorePath {
		sum := sha1.Sum([]byte(name))
		p, err := dir.FromBase(nix.EncodeBase32(sum[:]) + "-" + name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	w := &world{drv: path("app.drv"), outs: []nix.StorePath{path("app-dev"), path("app")}, state: filepath.Join(root, "state"), spool: Spool(filepath.Join(root, "spool"))}
	text := `Derive([("dev","` + w.outs[0].String() + `","",""),("out","` + w.outs[1].String() + `","","")],[],[],"x86_64-linux","/bin/sh",[],[("dev","x"),("out","y")])`
	if floating {
		text = `Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",[],[("out","y")])`
	}
	for _, d := range []string{string(dir), filepath.Join(w.state, "gcroots")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(w.drv.String(), []byte(text), 0o444); err != nil {
		t.Fatal(err)
	}
	w.env = map[string]string{
		"DRV_PATH": w.drv.String(), "OUT_PATHS": path("other").String() + " junk /etc/passwd", "FIRN_SPOOL": string(w.spool), "NIX_STATE_DIR": w.state,
		"NIX_CONFIG":            "access-tokens = github.com=ghp_SECRET\nsandbox = true\nsystem = x86_64-linux\nnetrc-file = /SECRET\n",
		"AWS_SECRET_ACCESS_KEY": "SECRET", "HTTPS_PROXY": "http://user:SECRET@proxy",
	}
	return w
}

func (w *world) run() error {
	return Run(Env{Getenv: func(k string) string { return w.env[k] }, Unix: 1732540000, Rand: bytes.NewReader(bytes.Repeat([]byte{7}, 16)), Parent: "/usr/bin/nix-daemon"})
}

// rooted returns the store paths that Nix would find through gcroots/auto.
func (w *world) rooted(t *testing.T) []string {
	t.Helper()
	links, err := filepath.Glob(filepath.Join(w.state, "gcroots", "auto", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, l := range links {
		mid, err := os.Readlink(l)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha1.Sum([]byte(mid))
		if filepath.Base(l) != nix.EncodeBase32(sum[:]) {
			t.Errorf("%s is not the hash of %s", l, mid)
		}
		if p, err := os.Readlink(mid); err == nil {
			found = append(found, p)
		}
	}
	slices.Sort(found)
	return found
}

func (w *world) record(t *testing.T) *Record {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(string(w.spool), PendingDir))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d records, %v; want 1", len(files), err)
	}
	b, err := os.ReadFile(filepath.Join(string(w.spool), PendingDir, files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRecord(b)
	if err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	if r.Name() != files[0].Name() {
		t.Errorf("record %s is in the file %s", r.Name(), files[0].Name())
	}
	return r
}

func sorted(ps ...nix.StorePath) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	slices.Sort(out)
	return out
}

func TestRunSpoolsAndHolds(t *testing.T) {
	w := newWorld(t, false)
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	r := w.record(t)
	want := Record{Drv: w.drv.String(), Time: 1732540000, BuildID: [16]byte(bytes.Repeat([]byte{7}, 16)), Nix: "/usr/bin/nix-daemon", System: "x86_64-linux", Sandbox: "true"}
	if *r != want {
		t.Errorf("got %+v, want %+v", *r, want)
	}
	if got := w.rooted(t); !slices.Equal(got, sorted(append(w.outs, w.drv)...)) {
		t.Errorf("held %q: want the derivation and its outputs, and nothing of OUT_PATHS", got)
	}
	if err := w.spool.DropRoots("1-00000000000000000000000000000000"); err != nil || len(w.rooted(t)) != 3 {
		t.Errorf("dropping another record's roots: %v, %d left", err, len(w.rooted(t)))
	}
	if err := w.spool.DropRoots(r.Name()); err != nil || len(w.rooted(t)) != 0 {
		t.Errorf("after DropRoots: %v, %d left", err, len(w.rooted(t)))
	}
}

func TestNothingSecretIsStored(t *testing.T) {
	w := newWorld(t, false)
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	w.env["DRV_PATH"] = "/nix/store/none.drv"
	w.run() // leaves a problem
	files := 0
	filepath.WalkDir(string(w.spool), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte("SECRET")) || bytes.Contains(b, []byte("token")) {
			t.Errorf("%s holds %q (%v)", path, b, err)
		}
		return nil
	})
	if files != 2 {
		t.Errorf("%d files looked at, want 2", files)
	}
}

func TestFloatingOutputsAreHeldByHint(t *testing.T) {
	w := newWorld(t, true)
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	if got := w.rooted(t); len(got) != 2 || !strings.HasSuffix(got[0]+got[1], "-other") && !strings.HasSuffix(got[0], "-other") {
		t.Errorf("held %q, want the derivation and the one store path in OUT_PATHS", got)
	}
}

func TestRunSaysWhyNothingWasSpooled(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world)
		want   string
	}{
		"no DRV_PATH":      {func(w *world) { delete(w.env, "DRV_PATH") }, "DRV_PATH is not set"},
		"not a derivation": {func(w *world) { w.env["DRV_PATH"] = w.outs[0].String() }, "not the path of a derivation"},
		"not a path":       {func(w *world) { w.env["DRV_PATH"] = "../../etc/passwd.drv" }, "not the path of a derivation"},
	} {
		w := newWorld(t, false)
		if err := os.Mkdir(string(w.spool), 0o755); err != nil {
			t.Fatal(err)
		}
		c.change(w)
		if err := w.run(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		ps, err := w.spool.Problems()
		if err != nil || len(ps) != 1 || ps[0].Time != 1732540000 || !strings.Contains(ps[0].Text, c.want) {
			t.Errorf("%s: problems %v, %v", name, ps, err)
		}
	}
	w := newWorld(t, false)
	os.WriteFile(string(w.spool), nil, 0o600)
	if err := w.run(); err == nil || !strings.Contains(err.Error(), "cannot spool") {
		t.Errorf("a file where the spool should be: %v", err)
	}
	if got := w.rooted(t); len(got) != 0 {
		t.Errorf("held without a record: %q", got)
	}
}

func TestRecordIsKeptThoughNothingCanBeHeld(t *testing.T) {
	w := newWorld(t, false)
	os.RemoveAll(w.state)
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	if r := w.record(t); !strings.HasPrefix(r.Note, "paths not held: ") {
		t.Errorf("note %q", r.Note)
	}
	w = newWorld(t, false)
	os.Remove(w.drv.String())
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	if r := w.record(t); !strings.HasPrefix(r.Note, "outputs not held: ") {
		t.Errorf("note %q", r.Note)
	}
}

func TestProblemsFileStaysSmall(t *testing.T) {
	s := Spool(t.TempDir())
	for range 100 {
		s.addProblem(1, strings.Repeat("x", maxValue))
	}
	s.addProblem(2, "newest")
	ps, err := s.Problems()
	if err != nil || len(ps) == 0 || ps[len(ps)-1].Text != "newest" {
		t.Errorf("the newest problem is not there: %d, %v", len(ps), err)
	}
	if st, err := os.Stat(filepath.Join(string(s), ProblemFile)); err != nil || st.Size() > maxProblems+2*maxValue {
		t.Errorf("%v, %v", st, err)
	}
}

func TestSweepRootsTakesOldOrphansOnly(t *testing.T) {
	w := newWorld(t, false)
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	live := func(string) bool { return true }
	dead := func(string) bool { return false }
	for _, c := range []struct {
		live func(string) bool
		age  time.Duration
		left int
	}{{live, 0, 3}, {dead, time.Hour, 3}, {dead, 0, 0}} {
		if err := w.spool.SweepRoots(c.live, c.age); err != nil || len(w.rooted(t)) != c.left {
			t.Errorf("%d left, %v; want %d", len(w.rooted(t)), err, c.left)
		}
	}
}

package submit

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// onMachine returns a world whose store and spool are those of a real machine.
func onMachine(t testing.TB, m *machine) *world {
	t.Helper()
	w := &world{t: t, root: m.root, log: logtest.New(t), signer: &countingSigner{Signer: logtest.Signer(t, "builder")}}
	w.write("log.policy", w.log.PolicyText())
	w.conf = m.config()
	w.conf.LogPolicy, w.conf.Log, w.conf.Key = filepath.Join(m.root, "log.policy"), w.log.URL(), "test"
	return w
}

func (w *world) realOptions() Options {
	return Options{Signer: func(context.Context, string) (statement.Signer, error) { return w.signer, nil }}
}

// rooted returns what the garbage collector of the machine keeps.
func (m *machine) rooted() []string {
	var paths []string
	for _, line := range strings.Split(m.run("nix-store --gc --print-roots"), "\n") {
		// What runs on this machine, also in other stores, holds what is called so here.
		if _, p, ok := strings.Cut(line, " -> "); ok && !strings.HasPrefix(line, "{") && !strings.HasPrefix(line, "/proc/") {
			paths = append(paths, p)
		}
	}
	return paths
}

// The whole way on stock Nix: build, hook, collect garbage, resolve, send.
func TestRealBuildsReachTheLog(t *testing.T) {
	m := newMachine(t)
	attrs := []string{"app", "usesfod", "caUser", "iaUser"}
	args := "-A " + strings.Join(attrs, " -A ")
	m.run("nix-build pkgs.nix " + args + " -A private --no-out-link")
	var roots strings.Builder
	for _, a := range attrs {
		roots.WriteString(m.drv(a) + "\n")
	}
	m.write("public", roots.String(), 0o644)
	m.run("nix-store --gc") // the roots of the hook hold everything that is spooled
	w := onMachine(t, m)
	w.conf.PublicFrom = []string{filepath.Join(m.root, "public")}

	out := w.once(w.realOptions())
	// lib, app, fod, usesfod, ca, ca-user twice (as asked for and as resolved),
	// ia-user as resolved; and the realisations of ca and, twice, ca-user.
	if out.Sent != 11 || out.Waiting != 0 || out.Rejected != 0 {
		t.Fatalf("%+v", out)
	}
	st, err := ReadStatus(w.conf)
	if err != nil {
		t.Fatal(err)
	}
	if st.Counts[Sent] != 11 || st.Counts[Held] != 1 || st.Counts[Failed] != 1 || st.Counts[Pending] != 0 {
		t.Errorf("%v", st.Counts)
	}
	for _, b := range st.Builds {
		switch {
		case b.State == Held && !strings.HasSuffix(b.Drv, "-private.drv"), b.State == Failed && b.Code != CodeResolvedElsewhere:
			t.Errorf("%s is %s: %s %s", b.Drv, b.State, b.Code, b.Reason)
		case b.State == Sent:
			w.checkProof(b.Name)
		}
	}
	m.checkStatements(w)
	m.checkNoSecret()
	if got := m.rooted(); len(got) != 0 {
		t.Errorf("still held after resolving: %q", got)
	}
}

// built returns the paths of the store that the machine built itself, but for
// the private one.
func (m *machine) built() []string {
	db, err := nixdb.Open(filepath.Join(m.root, nixdb.DefaultPath), nix.DefaultStoreDir)
	if err != nil {
		m.t.Fatal(err)
	}
	defer db.Close()
	files, err := os.ReadDir(filepath.Join(m.root, "nix/store"))
	if err != nil {
		m.t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		p, err := nix.DefaultStoreDir.FromBase(f.Name())
		if err != nil {
			continue // .links
		}
		info, err := db.PathInfo(m.t.Context(), p)
		if err != nil {
			m.t.Fatal(err)
		}
		if info.Ultimate && p.Name() != "private" {
			paths = append(paths, p.String())
		}
	}
	return paths
}

// checkStatements compares what is in the log with what Nix says was built.
func (m *machine) checkStatements(w *world) {
	t := m.t
	built := m.built()
	var claimed []string
	for _, b := range w.logged() {
		if b.Partial || b.Inputs == nil || b.Builder.Implementation != "nix" || b.Builder.Version == "unknown" || b.Builder.Sandbox || b.System != "x86_64-linux" {
			t.Errorf("%s: %+v", b.DrvPath, b)
		}
		if b.Inputs != nil && b.Inputs.Count == 0 {
			t.Errorf("%s has no inputs: %+v", b.DrvPath, b.Inputs)
		}
		want := 1 // Nix does not say it of a content-addressed one
		if b.Outputs[0].CA == "" {
			want = len(strings.Fields(m.run("nix-store -q --outputs " + b.DrvPath.String())))
		}
		if len(b.Outputs) != want {
			t.Errorf("%s: %d outputs claimed, Nix knows %d", b.DrvPath, len(b.Outputs), want)
		}
		for _, o := range b.Outputs {
			hash, size, err := nix.HashPath(t.Context(), filepath.Join(m.root, o.Path.String()), nil)
			if err != nil || hash != o.NarHash || size != o.NarSize {
				t.Errorf("%s: %v %d on disk (%v), %v %d claimed", o.Path, hash, size, err, o.NarHash, o.NarSize)
			}
			if ca := strings.Contains(o.Path.Name(), "ca") || o.Path.Name() == "fod"; ca != (o.CA != "") {
				t.Errorf("%s: content address %q", o.Path, o.CA)
			}
			claimed = append(claimed, o.Path.String())
		}
	}
	slices.Sort(built)
	slices.Sort(claimed)
	if got := slices.Compact(claimed); !slices.Equal(got, built) {
		t.Errorf("claimed %q\nbuilt %q", got, built)
	}
}

func (m *machine) checkNoSecret() {
	files := 0
	filepath.WalkDir(m.spool(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte("PLANTED_SECRET")) {
			m.t.Errorf("%s holds the planted secret (%v)", path, err)
		}
		return nil
	})
	if files < 10 {
		m.t.Errorf("only %d files were looked at", files)
	}
}

// What the hook holds survives a collection until it is resolved, and not longer.
func TestRootsHoldUntilResolved(t *testing.T) {
	m := newMachine(t)
	m.run("nix-build pkgs.nix -A lib --no-out-link")
	drv := m.drv("lib")
	want := append(strings.Fields(m.run("nix-store -q --outputs "+drv)), drv)
	got := m.rooted()
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("held %q, want %q", got, want)
	}
	m.run("nix-store --gc")
	w := onMachine(t, m)
	w.once(w.realOptions())
	m.run("nix-store --gc")
	for _, p := range want {
		if _, err := os.Lstat(filepath.Join(m.root, p)); err == nil {
			t.Errorf("%s is still held", p)
		}
	}
	if links, _ := filepath.Glob(filepath.Join(m.root, "nix/var/nix/gcroots/auto/*")); len(links) != 0 {
		t.Errorf("Nix keeps its half of the links: %q", links)
	}
}

// One output came from elsewhere, the other was built here.
func TestRealPartialBuildAndRemoteBuild(t *testing.T) {
	a := newMachine(t)
	a.run("nix-build pkgs.nix -A lib --no-out-link")
	drv := a.drv("lib")
	out, dev := "", ""
	for _, p := range strings.Fields(a.run("nix-store -q --outputs " + drv)) {
		if strings.HasSuffix(p, "-dev") {
			dev = p
		} else {
			out = p
		}
	}
	export := filepath.Join(a.root, "export")
	a.run("nix-store --export $(nix-store -qR " + drv + ") " + out + " > " + export)
	a.run("nix-store --export " + dev + " > " + export + "-dev")

	b := newMachine(t, "require-sigs = false")
	b.run("nix-store --import < " + export + "; nix-build pkgs.nix -A lib.dev --no-out-link")
	w := onMachine(t, b)
	opts := w.realOptions()
	opts.Also = []string{drv}
	if got := w.once(opts); got.Sent != 1 {
		t.Fatalf("%+v", got)
	}
	st := w.logged()[0]
	if !st.Partial || len(st.Outputs) != 1 || st.Outputs[0].Path.String() != dev || st.Inputs == nil {
		t.Errorf("claimed %+v", st)
	}

	c := newMachine(t, "require-sigs = false")
	c.run("nix-store --import < " + export + "; nix-store --import < " + export + "-dev; DRV_PATH=" + drv + " " + hookProgram)
	w = onMachine(t, c)
	w.once(w.realOptions())
	status, err := ReadStatus(w.conf)
	if err != nil || len(status.Builds) != 1 || status.Builds[0].Code != CodeBuiltElsewhere {
		t.Errorf("%+v, %v", status, err)
	}
}

// A hook that has nowhere to write breaks no build.
func TestBuildSucceedsWithoutASpool(t *testing.T) {
	m := newMachine(t)
	m.write("spool", "in the way\n", 0o644)
	out := m.run("nix-build pkgs.nix -A app --no-out-link 2>&1")
	if !strings.Contains(out, "firn-hook: not spooled: cannot spool") {
		t.Errorf("Nix showed %q", out)
	}
	os.Remove(m.spool())
	if _, err := ReadStatus(m.config()); err != nil {
		t.Error(err)
	}
	m.run("nix-build pkgs.nix -A usesfod --no-out-link")
	if records, err := os.ReadDir(filepath.Join(m.spool(), hook.PendingDir)); err != nil || len(records) != 2 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

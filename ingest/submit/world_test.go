package submit

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

func sortPaths(ps []nix.StorePath) { slices.SortFunc(ps, nix.StorePath.Compare) }

// fakeStore is a nixdb.Source in memory.
type fakeStore struct {
	nixdb.Source
	dir      nix.StoreDir
	infos    map[nix.StorePath]*nix.PathInfo
	realised map[nix.Hash]map[string]nix.StorePath
	byDrv    bool // as Nix from 2.35 records it
}

func (f *fakeStore) StoreDir() nix.StoreDir { return f.dir }
func (f *fakeStore) Close() error           { return nil }

func (f *fakeStore) PathInfo(_ context.Context, p nix.StorePath) (*nix.PathInfo, error) {
	if info := f.infos[p]; info != nil {
		return info, nil
	}
	return nil, nixdb.ErrNotValid
}

func (f *fakeStore) Closure(ctx context.Context, roots []nix.StorePath) ([]*nix.PathInfo, error) {
	seen := make(map[nix.StorePath]bool)
	var found []*nix.PathInfo
	for len(roots) > 0 {
		p := roots[0]
		roots = roots[1:]
		if seen[p] {
			continue
		}
		seen[p] = true
		info, err := f.PathInfo(ctx, p)
		if err != nil {
			return nil, err
		}
		found = append(found, info)
		roots = append(roots, info.References...)
	}
	return found, nil
}

func (f *fakeStore) Realisations(_ context.Context, _ nix.StorePath, m nix.Hash) (map[string]nix.StorePath, error) {
	return f.realised[m], nil
}

func (f *fakeStore) RealisationRecords(_ context.Context, drv nix.StorePath, m nix.Hash) (all []*nix.Realisation, err error) {
	for output, p := range f.realised[m] {
		r := &nix.Realisation{Modulo: m, Output: output, OutPath: p}
		if f.byDrv {
			r.Form, r.DrvPath = nix.ByDrvPath, drv
		}
		all = append(all, r)
	}
	return all, nil
}

// world is a store, a spool and a log under a test's control.
type world struct {
	t      testing.TB
	root   string
	src    *fakeStore
	log    *logtest.Log
	signer *countingSigner
	conf   *Config
	time   int64 // of the next record
}

type countingSigner struct {
	statement.Signer
	calls int
}

func (c *countingSigner) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	c.calls++
	return c.Signer.Sign(ctx, payload)
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir(), log: logtest.New(t), signer: &countingSigner{Signer: logtest.Signer(t, "builder")}, time: 1732540000}
	w.src = &fakeStore{dir: nix.DefaultStoreDir, infos: make(map[nix.StorePath]*nix.PathInfo), realised: make(map[nix.Hash]map[string]nix.StorePath)}
	if err := os.MkdirAll(filepath.Join(w.root, "nix/store"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("log.policy", w.log.PolicyText())
	w.write("public", "# public derivations\n")
	w.conf = DefaultsOnly(func(string) string { return "" })
	w.conf.Spool, w.conf.Store, w.conf.State = filepath.Join(w.root, "spool"), w.root, filepath.Join(w.root, "state")
	w.conf.LogPolicy, w.conf.Log, w.conf.Key, w.conf.Builder = filepath.Join(w.root, "log.policy"), w.log.URL(), "test", "nix 2.8.0"
	w.conf.PublicFrom = []string{filepath.Join(w.root, "public")}
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.root, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// options are those of a submitter of this world.
func (w *world) options() Options {
	return Options{
		Signer: func(context.Context, string) (statement.Signer, error) { return w.signer, nil },
		store:  func(context.Context) (*store, error) { return newStore(w.src, w.root), nil },
	}
}

func (w *world) open(opts Options) *Submitter {
	w.t.Helper()
	s, err := Open(w.conf, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// once runs a submitter once, without patience.
func (w *world) once(opts Options) Outcome {
	w.t.Helper()
	s := w.open(opts)
	defer s.Close()
	out, err := s.Once(w.t.Context(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// addPath makes a path valid.
func (w *world) addPath(p nix.StorePath, ultimate bool, refs ...nix.StorePath) *nix.PathInfo {
	info := &nix.PathInfo{Path: p, NarHash: sha256.Sum256([]byte(p.Base())), NarSize: 100, References: refs, Ultimate: ultimate}
	w.src.infos[p] = info
	return info
}

// drv puts an input-addressed derivation with these outputs into the store, and
// its outputs as built here. It returns its path and theirs.
func (w *world) drv(name string, outputs ...string) (nix.StorePath, []nix.StorePath) {
	w.t.Helper()
	text := func(paths []string) string {
		var outs, env []string
		for i, o := range outputs {
			outs = append(outs, `("`+o+`","`+paths[i]+`","","")`)
			env = append(env, `("`+o+`","`+paths[i]+`")`)
		}
		return `Derive([` + strings.Join(outs, ",") + `],[],[],"x86_64-linux","/bin/sh",["` + name + `"],[` + strings.Join(env, ",") + `])`
	}
	paths := make([]string, len(outputs))
	modulo := nix.Hash(sha256.Sum256([]byte(text(paths))))
	var outs []nix.StorePath
	for i, o := range outputs {
		p, err := nix.OutputPath(nix.DefaultStoreDir, modulo, name, o)
		if err != nil {
			w.t.Fatal(err)
		}
		paths[i] = p.String()
		outs = append(outs, p)
		w.addPath(p, true)
	}
	return w.addDrv(name, text(paths)), outs
}

func (w *world) addDrv(name, text string) nix.StorePath {
	w.t.Helper()
	d, err := nix.ParseDerivation(nix.DefaultStoreDir, name, []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	p := d.DrvPath()
	w.write(p.String()[1:], text)
	w.addPath(p, false)
	return p
}

// spooled leaves the record of a build, as the hook would.
func (w *world) spooled(drv nix.StorePath) string {
	w.t.Helper()
	w.time++
	rec := &hook.Record{Drv: drv.String(), Time: w.time, BuildID: [16]byte{byte(w.time), byte(w.time >> 8)}}
	dir := filepath.Join(w.conf.Spool, hook.PendingDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	// Without the syncs of hook.Spool.Add, for tests with many.
	if err := os.WriteFile(filepath.Join(dir, rec.Name()), rec.Marshal(), 0o640); err != nil {
		w.t.Fatal(err)
	}
	return rec.Name()
}

// public makes drvs public.
func (w *world) public(drvs ...nix.StorePath) {
	w.t.Helper()
	var text strings.Builder
	for _, p := range drvs {
		text.WriteString(p.String() + " # comment\n\n")
	}
	w.write("public", text.String())
}

// where returns the state and the reason of one build.
func (w *world) where(name string) (State, string) {
	w.t.Helper()
	st, err := ReadStatus(w.conf)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range st.Builds {
		if b.Name == name {
			if b.Code != "" {
				return b.State, b.Code
			}
			return b.State, b.Reason
		}
	}
	return "nowhere", ""
}

// logged returns the build statements in the log.
func (w *world) logged() []*statement.Build {
	w.t.Helper()
	c := w.log.Client("")
	cp, err := c.Checkpoint(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var builds []*statement.Build
	if cp.Size == 0 {
		return nil
	}
	for e, err := range c.Entries(w.t.Context(), cp, 0, cp.Size) {
		if err != nil {
			w.t.Fatal(err)
		}
		st, err := statement.Parse(e.Leaf)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := st.Verify(w.signer.PublicKey()); err != nil {
			w.t.Fatal(err)
		}
		if b, ok := st.Body.(*statement.Build); ok {
			builds = append(builds, b)
		}
	}
	return builds
}

// checkProof verifies the receipt of a sent build.
func (w *world) checkProof(name string) {
	w.t.Helper()
	leaf, err := os.ReadFile(filepath.Join(w.conf.Spool, "sent", name))
	text, err2 := os.ReadFile(filepath.Join(w.conf.Spool, "sent", name+".tlog-proof"))
	if err := errors.Join(err, err2); err != nil {
		w.t.Error(err)
		return
	}
	proof, err := log.ParseProof(text)
	if err == nil {
		_, err = proof.Verify(w.log.Policy(), leaf, time.Now())
	}
	if err != nil {
		w.t.Errorf("receipt of %s: %v", name, err)
	}
}

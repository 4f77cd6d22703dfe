package closure

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/verify"
)

// fake is a store of files below a folder.
type fake struct {
	nixdb.Source // what is not overridden panics
	root         string
	infos        map[nix.StorePath]*nix.PathInfo
	outputs      map[nix.StorePath]map[string]nix.StorePath
	realised     map[nix.StorePath]map[string]nix.StorePath
	derivers     map[nix.StorePath][]nix.StorePath
}

func newFake(t *testing.T) (*fake, *Store) {
	t.Helper()
	f := &fake{
		root: t.TempDir(), infos: make(map[nix.StorePath]*nix.PathInfo), outputs: make(map[nix.StorePath]map[string]nix.StorePath),
		realised: make(map[nix.StorePath]map[string]nix.StorePath), derivers: make(map[nix.StorePath][]nix.StorePath),
	}
	if err := os.MkdirAll(filepath.Join(f.root, "nix/store"), 0o755); err != nil {
		t.Fatal(err)
	}
	return f, &Store{Source: f, Root: f.root}
}

func (f *fake) StoreDir() nix.StoreDir { return nix.DefaultStoreDir }

func (f *fake) PathInfo(_ context.Context, p nix.StorePath) (*nix.PathInfo, error) {
	if info := f.infos[p]; info != nil {
		return info, nil
	}
	return nil, fmt.Errorf("%s: %w", p, nixdb.ErrNotValid)
}

func (f *fake) Closure(ctx context.Context, roots []nix.StorePath) ([]*nix.PathInfo, error) {
	var all []*nix.PathInfo
	seen := make(map[nix.StorePath]bool)
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
		all = append(all, info)
		roots = append(roots, info.References...)
	}
	slices.SortFunc(all, func(a, b *nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return all, nil
}

func (f *fake) DerivationOutputs(_ context.Context, drv nix.StorePath) (map[string]nix.StorePath, error) {
	return f.outputs[drv], nil
}

func (f *fake) Realisations(_ context.Context, drv nix.StorePath, _ nix.Hash) (map[string]nix.StorePath, error) {
	return f.realised[drv], nil
}

func (f *fake) ValidDerivers(_ context.Context, p nix.StorePath) ([]nix.StorePath, error) {
	return f.derivers[p], nil
}

// add makes a path with one file in it.
func (f *fake) add(t *testing.T, name string, refs ...nix.StorePath) nix.StorePath {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(sum[:20]) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(f.root, p.String())
	if err := os.MkdirAll(filepath.Join(file, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(file, "bin", "it"), []byte(name), 0o644); err != nil {
		t.Fatal(err)
	}
	hash, size, err := nix.HashPath(context.Background(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.infos[p] = &nix.PathInfo{Path: p, NarHash: hash, NarSize: size, References: refs}
	return p
}

// write puts a derivation into the store under the path that follows from it.
func (f *fake) write(t *testing.T, name, text string) nix.StorePath {
	t.Helper()
	d, err := nix.ParseDerivation(nix.DefaultStoreDir, name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p := d.DrvPath()
	if err := os.WriteFile(filepath.Join(f.root, p.String()), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func names(subjects []verify.Subject) string {
	var out []string
	for _, s := range subjects {
		out = append(out, s.Info.Path.Name())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func link(t *testing.T, target string) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, at); err != nil {
		t.Fatal(err)
	}
	return at
}

func TestWhatIsNamedIsFound(t *testing.T) {
	f, s := newFake(t)
	lib := f.add(t, "lib")
	app := f.add(t, "app", lib)
	inRoot := filepath.Join(f.root, app.String())
	profile := link(t, app.String())
	relative := filepath.Join(filepath.Dir(profile), "relative")
	if err := os.Symlink("link", relative); err != nil {
		t.Fatal(err)
	}
	folder := link(t, filepath.Dir(profile))
	for name, arg := range map[string]string{
		"a store path":                         app.String(),
		"a file in it":                         app.String() + "/bin/it",
		"its place in a private store":         inRoot,
		"a file in it there":                   inRoot + "/bin/it",
		"a link":                               profile,
		"a link to a link":                     link(t, profile),
		"a relative link":                      relative,
		"a link to the private place":          link(t, inRoot),
		"a link below a linked folder":         filepath.Join(folder, "link"),
		"a path that is not clean":             filepath.Dir(profile) + "/../" + filepath.Base(filepath.Dir(profile)) + "/link",
		"a link to a file inside a store path": link(t, app.String()+"/bin/it"),
	} {
		got, err := s.Subjects(t.Context(), []string{arg})
		if err != nil || names(got) != "app lib" {
			t.Errorf("%s: %q, %v", name, names(got), err)
		}
	}
	if got, err := s.Subjects(t.Context(), []string{lib.String(), app.String()}); err != nil || names(got) != "app lib" {
		t.Errorf("two roots: %q, %v", names(got), err)
	}
}

func TestWhatIsNotInTheStoreIsRefused(t *testing.T) {
	_, s := newFake(t)
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		arg  string
		want error
	}{
		{dir, ErrNotInStore},
		{filepath.Join(dir, "missing"), os.ErrNotExist},
		{link(t, filepath.Join(dir, "missing")), os.ErrNotExist},
		{"/nix/store/11111111111111111111111111111111-gone", nixdb.ErrNotValid},
		{"/nix/store/11111111111111111111111111111111-gone.drv", os.ErrNotExist},
	} {
		if _, err := s.Subjects(t.Context(), []string{c.arg}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.arg, err, c.want)
		}
	}
	for _, arg := range []string{loop, "/nix/store/short", "/nix/store/"} {
		if _, err := s.Subjects(t.Context(), []string{arg}); err == nil {
			t.Errorf("%s was accepted", arg)
		}
	}
}

func TestADerivationStandsForItsValidOutputs(t *testing.T) {
	f, s := newFake(t)
	out, gone := f.add(t, "hello"), f.add(t, "hello-doc")
	delete(f.infos, gone)
	drv, err := nix.DefaultStoreDir.FromBase("00000000000000000000000000000000-hello.drv")
	if err != nil {
		t.Fatal(err)
	}
	f.outputs[drv] = map[string]nix.StorePath{"out": out, "doc": gone}
	if got, err := s.Subjects(t.Context(), []string{drv.String()}); err != nil || names(got) != "hello" {
		t.Errorf("%q, %v", names(got), err)
	}
}

func TestADerivationThatIsNotBuiltStandsForItsOutputs(t *testing.T) {
	f, s := newFake(t)
	app, gone := f.add(t, "app"), f.add(t, "hello")
	delete(f.infos, gone)
	drv, err := nix.DefaultStoreDir.FromBase("00000000000000000000000000000000-hello.drv")
	if err != nil {
		t.Fatal(err)
	}
	f.outputs[drv] = map[string]nix.StorePath{"out": gone}
	got, err := s.Subjects(t.Context(), []string{drv.String(), app.String(), drv.String()})
	if err != nil || names(got) != "app hello" {
		t.Fatalf("%q, %v", names(got), err)
	}
	if got[0].Unbuilt || !got[1].Unbuilt || got[1].Info.Path != gone {
		t.Errorf("%+v", got)
	}
	if err := s.Rehash(t.Context(), got, nil); err != nil || got[1].Differs != "" {
		t.Errorf("what is not there was read: %v, %s", err, got[1].Differs)
	}
	// What a floating derivation gives has no path before.
	ca := f.write(t, "ca", floating)
	if _, err := s.Subjects(t.Context(), []string{ca.String()}); !errors.Is(err, nixdb.ErrNotValid) {
		t.Errorf("floating: %v", err)
	}
}

const floating = `Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",[],[("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9")])`

func TestContentAddressedOutputsBringTheirRealisations(t *testing.T) {
	f, s := newFake(t)
	out := f.add(t, "ca")
	f.infos[out].CA = "fixed:r:sha256:0000000000000000000000000000000000000000000000000000"
	drv := f.write(t, "ca", floating)
	f.realised[drv] = map[string]nix.StorePath{"out": out}
	f.derivers[out] = []nix.StorePath{drv}
	got, err := s.Subjects(t.Context(), []string{drv.String()})
	if err != nil || len(got) != 1 || len(got[0].Realisations) != 2 || got[0].Realisations[0] != "real:"+drv.String()+"!out" ||
		!strings.HasPrefix(got[0].Realisations[1], "real:sha256:") || !strings.HasSuffix(got[0].Realisations[1], "!out") {
		t.Errorf("%+v, %v", got, err)
	}
	// Without its derivation it is judged by its own name.
	if err := os.Remove(filepath.Join(f.root, drv.String())); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Subjects(t.Context(), []string{out.String()}); err != nil || len(got[0].Realisations) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

const needs = `Derive([("out","","r:sha256","")],[("INPUT",["out"])],[],"x86_64-linux","/bin/sh",[],[("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9")])`

// What was hashed once is not read again, and what is not resolved is not named by its
// path: there is one cache for a store.
func TestInputDerivationsAreReadOncePerStore(t *testing.T) {
	f, s := newFake(t)
	out := f.add(t, "app")
	f.infos[out].CA = "fixed:r:sha256:0000000000000000000000000000000000000000000000000000"
	input := f.write(t, "input", floating)
	drv := f.write(t, "app", strings.ReplaceAll(needs, "INPUT", input.String()))
	f.realised[drv] = map[string]nix.StorePath{"out": out}
	f.derivers[out] = []nix.StorePath{drv}
	for _, when := range []string{"with its input", "without it"} {
		got, err := s.Subjects(t.Context(), []string{drv.String()})
		if err != nil || len(got) != 1 || len(got[0].Realisations) != 1 {
			t.Fatalf("%s: %+v, %v", when, got, err)
		}
		if err := os.RemoveAll(filepath.Join(f.root, input.String())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFileThatIsNoDerivationIsNotRead(t *testing.T) {
	f, s := newFake(t)
	drv, err := nix.DefaultStoreDir.FromBase("00000000000000000000000000000000-large.drv")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(f.root, drv.String())
	refused := func(what, sentence string) {
		t.Helper()
		_, err := s.Subjects(t.Context(), []string{drv.String()})
		if !errors.Is(err, nix.ErrDerivation) || !strings.Contains(err.Error(), sentence) {
			t.Errorf("%s: %v, want %q", what, err, sentence)
		}
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<40); err != nil { // no disk and no memory has it
		t.Fatal(err)
	}
	refused("1 TiB", "large.drv has 1099511627776 bytes, more than 67108864")
	if err := os.Truncate(file, nix.MaxDerivationLen+1); err != nil {
		t.Fatal(err)
	}
	refused("a byte too many", "large.drv has 67108865 bytes, more than 67108864")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o644); err != nil {
		t.Fatal(err)
	}
	refused("a pipe", "is not a regular file")
}

func TestRehashNamesContentThatDiffers(t *testing.T) {
	f, s := newFake(t)
	good, bad, gone, short := f.add(t, "good"), f.add(t, "bad"), f.add(t, "gone"), f.add(t, "short")
	if err := os.WriteFile(filepath.Join(f.root, bad.String(), "bin", "it"), []byte("evil"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(f.root, gone.String())); err != nil {
		t.Fatal(err)
	}
	f.infos[short].NarSize++
	subjects, err := s.Subjects(t.Context(), []string{good.String(), bad.String(), gone.String(), short.String()})
	if err != nil {
		t.Fatal(err)
	}
	var done, total atomic.Uint64
	if err := s.Rehash(t.Context(), subjects, func(d, all uint64) {
		total.Store(all)
		for old := done.Load(); d > old && !done.CompareAndSwap(old, d); old = done.Load() {
		}
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"good": "", "bad": "it hashes to sha256:", "gone": "it is not on disk", "short": "it has "}
	for _, p := range subjects {
		w := want[p.Info.Path.Name()]
		if !strings.HasPrefix(p.Differs, w) || w == "" && p.Differs != "" {
			t.Errorf("%s: %q, want %q", p.Info.Path.Name(), p.Differs, w)
		}
	}
	if total.Load() == 0 || done.Load() == 0 {
		t.Errorf("progress was not shown: %d of %d", done.Load(), total.Load())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Rehash(ctx, subjects, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOpenNeedsAStore(t *testing.T) {
	if _, err := Open(t.Context(), t.TempDir(), nix.DefaultStoreDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

package submit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

func TestOnlyPublicDerivationsLeave(t *testing.T) {
	w := newWorld(t)
	root, _ := w.drv("root", "out")
	dep, _ := w.drv("dep", "out")
	private, _ := w.drv("private", "out")
	also, _ := w.drv("also", "out")
	w.src.infos[root].References = []nix.StorePath{dep}
	missing := pathOf(t, "missing.drv")
	w.public(root, missing)
	names := map[string]string{"root": w.spooled(root), "dep": w.spooled(dep), "private": w.spooled(private), "also": w.spooled(also)}
	var said strings.Builder
	opts := w.options()
	opts.Also, opts.Said = []string{also.String()}, &said
	if out := w.once(opts); out.Sent != 3 || out.Waiting != 0 {
		t.Errorf("%+v", out)
	}
	for _, n := range []string{"root", "dep", "also"} {
		if state, _ := w.where(names[n]); state != Sent {
			t.Errorf("%s is %s", n, state)
		}
		w.checkProof(names[n])
	}
	if state, why := w.where(names["private"]); state != Held || !strings.HasPrefix(why, "private: ") {
		t.Errorf("private is %s: %s", state, why)
	}
	for _, b := range w.logged() {
		if b.DrvPath == private {
			t.Error("the private derivation is in the log")
		}
	}
	if !strings.Contains(said.String(), "warning: "+missing.String()) {
		t.Errorf("said %q, want a warning about the missing root", said.String())
	}
	w.public(root, private)
	if out := w.once(w.options()); out.Sent != 1 {
		t.Errorf("a held build that became public: %+v", out)
	}
}

// A derivation that --also names and that no record and no store knows is named.
func TestAlsoThatIsNowhereIsNamed(t *testing.T) {
	w := newWorld(t)
	sent, _ := w.drv("sent", "out")
	failed := pathOf(t, "failed.drv")
	inStore, _ := w.drv("in-store", "out")
	nowhere, nowhere2 := pathOf(t, "nowhere.drv"), pathOf(t, "elsewhere.drv")
	w.spooled(sent)
	w.spooled(failed)
	opts := w.options()
	for _, p := range []nix.StorePath{nowhere, sent, failed, inStore, nowhere2, nowhere} {
		opts.Also = append(opts.Also, p.String())
	}
	s := w.open(opts)
	defer s.Close()
	for range 2 {
		got, err := s.AlsoNowhere()
		if want := []nix.StorePath{nowhere, nowhere2}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		if _, err := s.Once(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(w.root, sent.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func TestNothingLeavesWithoutPublicFrom(t *testing.T) {
	w := newWorld(t)
	w.conf.PublicFrom = nil
	drv, _ := w.drv("a", "out")
	name := w.spooled(drv)
	if out := w.once(w.options()); out.Sent != 0 || w.log.Size() != 0 || w.signer.calls != 0 {
		t.Errorf("%+v, %d in the log", out, w.log.Size())
	}
	if state, _ := w.where(name); state != Held {
		t.Errorf("it is %s", state)
	}
}

func TestPublicFromAClosureStatement(t *testing.T) {
	w := newWorld(t)
	root, _ := w.drv("root", "out")
	byOutput, outs := w.drv("by-output", "out")
	private, _ := w.drv("private", "out")
	paths := []nix.StorePath{root, outs[0]}
	sortPaths(paths)
	body := &statement.Closure{Name: "channel", StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(paths), Count: 2, Paths: paths}
	w.conf.PublicFrom = []string{closurePrefix + body.Digest.Hex()}
	names := []string{w.spooled(root), w.spooled(byOutput), w.spooled(private)}
	if out := w.once(w.options()); out.Sent != 0 {
		t.Errorf("before the statement is in the log: %+v", out)
	}
	w.log.Add(logtest.Leaf(t, logtest.Signer(t, "anybody"), body))
	w.log.Publish()
	if out := w.once(w.options()); out.Sent != 2 {
		t.Errorf("%+v", out)
	}
	for i, want := range []State{Sent, Sent, Held} {
		if state, why := w.where(names[i]); state != want {
			t.Errorf("%d is %s (%s), want %s", i, state, why, want)
		}
	}
}

// The list of a system is too large for its statement, and is a blob beside it.
func TestPublicFromAListBesideItsStatement(t *testing.T) {
	w := newWorld(t)
	root, _ := w.drv("root", "out")
	byOutput, outs := w.drv("by-output", "out")
	private, _ := w.drv("private", "out")
	paths := []nix.StorePath{root, outs[0]}
	for i := range 1500 {
		paths = append(paths, pathOf(t, fmt.Sprintf("member-%04d", i)))
	}
	sortPaths(paths)
	body := &statement.Closure{Name: "system", StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(paths), Count: uint64(len(paths))}
	w.log.Add(logtest.Leaf(t, logtest.Signer(t, "anybody"), body))
	w.log.Publish()
	list := statement.PathsBlob(paths)
	status, answer := 404, []byte(nil)
	w.log.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, was int, b []byte) (int, []byte) {
			if path == log.BlobPath(body.Digest) {
				return status, answer
			}
			return was, b
		}
	})
	w.conf.PublicFrom = []string{closurePrefix + body.Digest.Hex()}
	names := []string{w.spooled(root), w.spooled(byOutput), w.spooled(private)}
	said := func() string {
		st, err := ReadStatus(w.conf)
		if err != nil {
			t.Fatal(err)
		}
		return st.LastRun.Why
	}
	if out := w.once(w.options()); out.Sent != 0 || !strings.Contains(said(), "no list of a closure") {
		t.Errorf("without a list: %+v, %q", out, said())
	}
	status, answer = 200, list[bytes.IndexByte(list, '\n')+1:]
	if out := w.once(w.options()); out.Sent != 0 || !strings.Contains(said(), "serves something else") {
		t.Errorf("another list: %+v, %q", out, said())
	}
	answer = list
	if out := w.once(w.options()); out.Sent != 2 || said() != "" {
		t.Errorf("%+v, %q", out, said())
	}
	for i, want := range []State{Sent, Sent, Held} {
		if state, why := w.where(names[i]); state != want {
			t.Errorf("%d is %s (%s), want %s", i, state, why, want)
		}
	}
}

// A list in the spool that does not have its digest makes nothing public.
func TestAlteredClosureIsRefused(t *testing.T) {
	w := newWorld(t)
	drv, _ := w.drv("a", "out")
	digest := nix.Hash(sha256.Sum256(nil))
	w.conf.PublicFrom = []string{closurePrefix + digest.Hex()}
	w.spooled(drv)
	s := w.open(w.options())
	defer s.Close()
	if err := s.spool.writeClosure([]nix.StorePath{drv}, digest); err == nil {
		t.Error("a list with another digest was written")
	}
	if err := s.spool.writeClosure(nil, digest); err != nil {
		t.Fatal(err)
	}
	w.write("spool/closures/"+digest.Hex(), drv.Base()+"\n")
	if err := s.Resolve(t.Context()); err == nil || !strings.Contains(err.Error(), "does not have this digest") {
		t.Errorf("got %v", err)
	}
}

func TestReadSourceRefuses(t *testing.T) {
	w := newWorld(t)
	for name, text := range map[string]string{
		"an output":     pathOf(t, "x").String() + "\n",
		"another store": "/other/store/" + pathOf(t, "x.drv").Base() + "\n",
		"words":         "hello\n",
	} {
		w.write("list", text)
		if _, err := readSource(w.root+"/list", nix.DefaultStoreDir); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, from := range []string{w.root + "/none", closurePrefix + "00", closurePrefix + strings.Repeat("A0", 32)} {
		if _, err := readSource(from, nix.DefaultStoreDir); err == nil {
			t.Errorf("%s: accepted", from)
		}
	}
}

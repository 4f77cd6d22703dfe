package federation_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
)

// mirrored is a peer with a mirror of its log.
type mirrored struct {
	*peer
	*federation.Mirror
	dir  string
	urls []string
}

func newMirror(t testing.TB, p *peer, urls ...string) *mirrored {
	t.Helper()
	m := &mirrored{peer: p, dir: filepath.Join(p.dir, "mirror"), urls: urls}
	m.open()
	return m
}

func (m *mirrored) open() {
	m.t.Helper()
	var err error
	m.Mirror, err = federation.NewMirror(m.t.Context(), federation.MirrorOptions{
		Hub: m.Hub, Origin: m.o.Logs[0].Origin, Dir: m.dir, URLs: append([]string(nil), m.urls...),
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// whole fails unless the folder holds the whole tree of a size and nothing else.
func (m *mirrored) whole(size uint64) {
	m.t.Helper()
	m.complete(size)
	stray, err := log.StrayFiles(m.dir)
	if err != nil || len(stray) > 0 {
		m.t.Errorf("stray files %v, %v", stray, err)
	}
}

// complete is whole, but there may be more in the folder.
func (m *mirrored) complete(size uint64) {
	m.t.Helper()
	c, err := log.NewClient("file://"+m.dir, m.o.Logs[0].Policy, log.Options{Origin: m.o.Logs[0].Origin})
	if err != nil {
		m.t.Fatal(err)
	}
	report, err := c.Fsck(m.t.Context(), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	if len(report.Faults) > 0 || report.Checkpoint.Size != size {
		m.t.Errorf("size %d, want %d, faults %v", report.Checkpoint.Size, size, report.Faults)
	}
}

func TestMirrorHoldsTheWholeLogAtEverySize(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	m := newMirror(t, newPeer(t, l.Policy(), l.URL()), l.URL())
	if err := m.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, size := range []int{1, 2, 255, 256, 257, 300, 512, 1000, 65_535, 65_536, 65_537, 66_000} {
		m.wants(federation.Larger, grow(l, last, size, "leaf"))
		if err := m.Pull(t.Context()); err != nil {
			t.Fatal(err)
		}
		last = size
		m.whole(uint64(size))
	}
	if m.counted("firn_peer_mirrored_size") != 66_000 {
		t.Error("the metric does not say so")
	}
	// And at once.
	at := newMirror(t, newPeer(t, l.Policy(), l.URL()), l.URL())
	at.wants(federation.Larger, l.Publish())
	if err := at.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	at.whole(66_000)
}

func TestMirrorWaitsForAQuorum(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 2))
	m := newMirror(t, newPeer(t, l.Policy(), l.URL()), l.URL())
	note := grow(l, 0, 300, "leaf")
	m.wants(federation.Larger, only(t, note, "w1"))
	if err := m.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	if size, _ := m.Size(); size != 0 {
		t.Errorf("size %d without a quorum", size)
	}
	m.wants(federation.Merged, only(t, note, "w2"))
	if err := m.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.whole(300)
}

func TestMirrorRefusesEveryWrongFileAndNamesIt(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 70_000, "leaf")
	for _, path := range []string{
		"tile/0/000", "tile/0/200", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1",
		"tile/entries/000", "tile/entries/273.p/112",
	} {
		for what, change := range map[string]func([]byte) []byte{
			"altered": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			"cut":     func(b []byte) []byte { return b[:len(b)-1] },
			"longer":  func(b []byte) []byte { return append(b, 0) },
			"huge":    func([]byte) []byte { return make([]byte, 17<<20) },
		} {
			if what != "altered" && path != "tile/0/000" && path != "tile/entries/000" {
				continue // enough of one kind each
			}
			served := false
			l.Lie(func(lies *logtest.Lies) {
				lies.Edit = func(p string, status int, body []byte) (int, []byte) {
					if p != path {
						return status, body
					}
					served = true
					return status, change(bytes.Clone(body))
				}
			})
			p := newPeer(t, l.Policy(), l.FileURL())
			p.o.Timeout = time.Minute // the huge ones take a busy machine a while
			p.restart()
			m := newMirror(t, p, l.URL())
			m.wants(federation.Larger, l.Publish())
			err := m.Pull(t.Context())
			var wrong *federation.WrongTileError
			if !errors.As(err, &wrong) || !strings.Contains(wrong.Path, path) || wrong.URL != l.URL()+"/" {
				t.Errorf("%s %s: served %v, error %v", path, what, served, err)
			}
			if size, err := m.Size(); size != 0 || err == nil {
				t.Errorf("%s %s: a checkpoint is shown", path, what)
			}
			onlyRight(t, l.Dir(), m.dir)
			m.holds()
			if path != "tile/0/200" {
				continue
			}
			// With a second source it is whole.
			m.urls = append(m.urls, l.FileURL())
			m.open()
			if err := m.Pull(t.Context()); err != nil {
				t.Errorf("%s %s: %v", path, what, err)
			}
			m.whole(70_000)
			if m.counted("firn_peer_wrong_tiles_total") == 0 {
				t.Errorf("%s %s: not counted", path, what)
			}
		}
	}
}

// onlyRight fails if a folder holds a file that the log has otherwise.
func onlyRight(t testing.TB, right, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(filepath.Join(right, rel))
		if err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("%s was kept and is not the log's: %v", rel, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestMirrorGoesOnWhereItWasInterrupted(t *testing.T) {
	l := logtest.New(t)
	note := grow(l, 0, 5000, "leaf")
	m := newMirror(t, newPeer(t, l.Policy(), l.FileURL()), l.URL())
	m.wants(federation.Larger, note)
	asked := make(map[string]int)
	limit := 8
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(p string, status int, body []byte) (int, []byte) {
			asked[p]++
			if len(asked) > limit {
				return http.StatusServiceUnavailable, nil
			}
			return status, body
		}
	})
	for tries := 0; ; tries++ {
		err := m.Pull(t.Context())
		if err == nil {
			break
		}
		if tries > 20 {
			t.Fatal(err)
		}
		if size, _ := m.Size(); size != 0 {
			t.Fatal("a checkpoint is shown before everything is there")
		}
		limit += 8
		m.restart()
		m.open()
	}
	m.whole(5000)
	full := 0
	for path, n := range asked {
		if !strings.Contains(path, ".p/") && n > 2 {
			t.Errorf("%s was fetched %d times", path, n)
		}
		full++
	}
	if full < 39 {
		t.Errorf("%d files asked for", full)
	}
}

func TestMirrorRepairsWhatItsDiskHasLost(t *testing.T) {
	l := logtest.New(t)
	m := newMirror(t, newPeer(t, l.Policy(), l.FileURL()), l.URL())
	// Interrupted before the checkpoint: damaged files on disk are fetched again.
	m.wants(federation.Larger, grow(l, 0, 1000, "leaf"))
	for _, path := range []string{"tile/0/000", "tile/entries/001", "tile/1/000.p/3"} {
		file := filepath.Join(m.dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("damaged"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.whole(1000)
}

func TestMirrorOutlivesItsLog(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 1))
	p := newPeer(t, l.Policy(), l.URL())
	m := newMirror(t, p, l.URL())
	p.wants(federation.Larger, grow(l, 0, 700, "leaf"))
	if err := m.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Lie(func(lies *logtest.Lies) { lies.Down = true })
	p.restart()
	m.open()
	url := serve(t, p, m.Mirror) + "/mirror/" + federation.OriginHash(l.Origin())
	c, err := log.NewClient(url, l.Policy(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range c.Entries(t.Context(), cp, 0, cp.Size) {
		if err != nil || string(e.Leaf) != fmt.Sprint("leaf ", n) {
			t.Fatalf("entry %d: %q, %v", n, e.Leaf, err)
		}
		n++
	}
	if n != 700 {
		t.Errorf("%d entries", n)
	}
	// Another mirror can be made of this one.
	two := newPeer(t, l.Policy(), url)
	poll(t, two, federation.TargetPeer, strings.Split(url, "/mirror/")[0])
	m2 := newMirror(t, two, url)
	if err := m2.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	m2.whole(700)
}

func TestMirrorNeverMixesTwoHistories(t *testing.T) {
	a, b := fork(t, 100)
	p := newPeer(t, a.Policy(), a.URL(), b.URL())
	m := newMirror(t, p, a.URL(), b.URL())
	p.wants(federation.Larger, grow(a, 100, 300, "a"))
	if err := m.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.wants(federation.Forked, grow(b, 100, 700, "b"))
	if err := m.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.whole(300)
	// The hub has lost everything and saw the other history first: what the
	// mirror holds convicts the log.
	q := newPeer(t, a.Policy(), a.URL(), b.URL())
	q.wants(federation.Larger, b.Publish())
	copyTree(t, m.dir, filepath.Join(q.dir, "mirror"))
	newMirror(t, q, a.URL(), b.URL())
	q.holds("log log.example/0123abcd")
	// Where nobody can prove anything, nothing is taken.
	r := newPeer(t, a.Policy())
	r.wants(federation.Larger, b.Publish())
	copyTree(t, a.Dir(), filepath.Join(r.dir, "mirror"))
	rm := newMirror(t, r, b.URL())
	r.holds()
	if err := rm.Pull(t.Context()); !errors.Is(err, log.ErrUnproven) {
		t.Errorf("error %v, want ErrUnproven", err)
	}
	rm.whole(300)
}

func TestMirrorOfAnotherLogIsRefused(t *testing.T) {
	l, other := logtest.New(t), logtest.New(t, logtest.Origin("other.example/00000000"))
	p := newPeer(t, l.Policy(), l.URL())
	grow(other, 0, 10, "leaf")
	copyTree(t, other.Dir(), filepath.Join(p.dir, "mirror"))
	if _, err := federation.NewMirror(t.Context(), federation.MirrorOptions{Hub: p.Hub, Origin: l.Origin(), Dir: filepath.Join(p.dir, "mirror")}); err == nil {
		t.Error("the folder of another log is taken")
	}
	if _, err := federation.NewMirror(t.Context(), federation.MirrorOptions{Hub: p.Hub, Origin: "nobody"}); !errors.Is(err, federation.ErrUnknownOrigin) {
		t.Errorf("error %v", err)
	}
}

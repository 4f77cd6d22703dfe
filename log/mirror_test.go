package log_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// mirrored is a log and what a client of it is told.
type mirrored struct {
	t *testing.T
	*logtest.Log
	state   string
	mirrors []string

	mu      sync.Mutex
	trouble []error
}

func newMirrored(t *testing.T, l *logtest.Log) *mirrored {
	return &mirrored{t: t, Log: l, state: t.TempDir()}
}

// copyTree is a mirror of l as it is now.
func copyTree(t *testing.T, l *logtest.Log) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(l.Dir())); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mirror adds a mirror of l as it is now and returns its folder.
func (m *mirrored) mirror(l *logtest.Log) string {
	m.t.Helper()
	dir := copyTree(m.t, l)
	m.mirrors = append(m.mirrors, "file://"+dir)
	return dir
}

func (m *mirrored) client() *log.Client {
	m.t.Helper()
	c, err := log.NewClient(m.URL(), m.Policy(), log.Options{Mirrors: m.mirrors, Memory: log.NewMemory(m.state), OnTrouble: func(err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.trouble = append(m.trouble, err)
	}})
	if err != nil {
		m.t.Fatal(err)
	}
	c.SetPatience(time.Hour) // every mirror is waited for
	return c
}

// told returns what the client was told of trouble, in one text.
func (m *mirrored) told() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprint(m.trouble)
}

// mustRead reads everything below cp, and proves an entry of it.
func mustRead(t *testing.T, c *log.Client, cp *log.Checkpoint) {
	t.Helper()
	n := uint64(0)
	for e, err := range c.Entries(t.Context(), cp, 0, cp.Size) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("leaf %d", n); string(e.Leaf) != want {
			t.Fatalf("entry %d is %q, want %q", n, e.Leaf, want)
		}
		n++
	}
	if n != cp.Size {
		t.Errorf("%d entries, want %d", n, cp.Size)
	}
	if _, err := c.ProveInclusion(t.Context(), cp, cp.Size/2); err != nil {
		t.Error(err)
	}
}

func TestAMirrorServesWhatTheLogDoesNot(t *testing.T) {
	other := logtest.New(t, logtest.OtherKey(), logtest.Witnesses(2, 2))
	grow(other, 0, 800, "other")
	var early []byte
	for name, lie := range map[string]func(*logtest.Lies){
		"the log is down":                      func(l *logtest.Lies) { l.Down = true },
		"its checkpoint is garbage":            func(l *logtest.Lies) { l.Checkpoint = []byte("hello") },
		"its checkpoint is signed by another":  func(l *logtest.Lies) { l.Checkpoint = other.Publish() },
		"its checkpoint is older than before":  func(l *logtest.Lies) { l.Checkpoint = early },
		"it has no tiles":                      func(l *logtest.Lies) { l.NoTiles = true },
		"its tiles and entries are wrong ones": func(l *logtest.Lies) { l.Edit = flip },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirrored(t, logtest.New(t, logtest.Witnesses(2, 2)))
			early = grow(m.Log, 0, 300, "leaf")
			checkpoint(t, m.client())
			grow(m.Log, 300, 600, "leaf")
			checkpoint(t, m.client())
			grow(m.Log, 600, 700, "leaf")
			m.mirror(m.Log)
			m.Lie(lie)
			c := m.client()
			cp := checkpoint(t, c)
			if cp.Size != 700 {
				t.Fatalf("size %d, want 700", cp.Size)
			}
			mustRead(t, c, cp)
			if strings.Contains(name, "checkpoint") && name != "its checkpoint is older than before" {
				if !strings.Contains(m.told(), "the log at "+m.URL()) || cp.Mirror != m.mirrors[0] {
					t.Errorf("told %s, checkpoint from %q", m.told(), cp.Mirror)
				}
			}
		})
	}
}

// flip spoils every tile and bundle.
func flip(path string, status int, body []byte) (int, []byte) {
	if strings.HasPrefix(path, "tile/") && status == http.StatusOK {
		body = bytes.Clone(body)
		body[len(body)-1] ^= 1
	}
	return status, body
}

func TestWhatAMirrorSaysIsVerifiedLikeWhatTheLogSays(t *testing.T) {
	for name, mirror := range map[string]*logtest.Log{
		"another key": logtest.New(t, logtest.OtherKey(), logtest.Witnesses(2, 2)),
		"no quorum":   logtest.New(t),
		"another log": logtest.New(t, logtest.Origin("other.example/00000000"), logtest.Witnesses(2, 2)),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirrored(t, logtest.New(t, logtest.Witnesses(2, 2)))
			grow(m.Log, 0, 10, "leaf")
			grow(mirror, 0, 20, "leaf")
			m.mirror(mirror)
			if cp := checkpoint(t, m.client()); cp.Size != 10 || cp.Mirror != "" {
				t.Errorf("beside an honest log: size %d from %q", cp.Size, cp.Mirror)
			}
			if !strings.Contains(m.told(), "mirror "+m.mirrors[0]) {
				t.Errorf("the mirror is not named: %s", m.told())
			}
			m.Lie(func(l *logtest.Lies) { l.Down = true })
			_, err := m.client().Checkpoint(t.Context())
			if !errors.Is(err, log.ErrUnreachable) || !strings.Contains(err.Error(), "; mirror "+m.mirrors[0]) {
				t.Errorf("with the log down: %v", err)
			}
			// That a mirror is wrong says nothing about the log.
			var sig *policy.SignatureError
			var quorum *policy.QuorumError
			if errors.As(err, &sig) || errors.As(err, &quorum) || errors.Is(err, policy.ErrUnknownLog) {
				t.Errorf("the error is that of the mirror: %v", err)
			}
		})
	}
}

func TestTheNewestBelievedCheckpointWins(t *testing.T) {
	m := newMirrored(t, logtest.New(t, logtest.Witnesses(2, 2)))
	grow(m.Log, 0, 300, "leaf")
	m.mirror(m.Log) // behind
	stale := grow(m.Log, 300, 310, "leaf")
	m.mirror(m.Log) // as far as the log
	grow(m.Log, 310, 320, "leaf")
	ahead := m.mirror(m.Log)
	m.Lie(func(l *logtest.Lies) { l.Checkpoint = stale })
	c := m.client()
	if cp := checkpoint(t, c); cp.Size != 320 || cp.Mirror != "file://"+ahead {
		t.Errorf("size %d from %q", cp.Size, cp.Mirror)
	}
	if len(m.trouble) != 0 {
		t.Errorf("a mirror that is behind makes trouble: %s", m.told())
	}
	m.Lie(func(l *logtest.Lies) { l.Checkpoint = nil })
	if cp := checkpoint(t, m.client()); cp.Size != 320 || cp.Mirror != "" {
		t.Errorf("of equal ones that of the log: size %d from %q", cp.Size, cp.Mirror)
	}
}

// A peer unites cosignatures, so its copy of a checkpoint may be fresher.
func TestOfOneTreeTheFresherCosignaturesWin(t *testing.T) {
	m := newMirrored(t, logtest.New(t, logtest.Witnesses(2, 2)))
	now := time.Now()
	m.SetTime(now.Add(-time.Hour))
	old := grow(m.Log, 0, 10, "leaf")
	m.SetTime(now)
	m.Publish()
	fresh := m.mirror(m.Log)
	m.Lie(func(l *logtest.Lies) { l.Checkpoint = old })
	if cp := checkpoint(t, m.client()); cp.Mirror != "file://"+fresh || cp.Verified.Age > time.Minute {
		t.Errorf("from %q, %v old", cp.Mirror, cp.Verified.Age)
	}
}

func TestAMirrorThatIsBehindIsNeverEvidence(t *testing.T) {
	m := newMirrored(t, logtest.New(t, logtest.Witnesses(2, 2)))
	grow(m.Log, 0, 300, "leaf")
	m.mirror(m.Log)
	grow(m.Log, 300, 700, "leaf")
	checkpoint(t, m.client())
	m.Lie(func(l *logtest.Lies) { l.Down = true })
	_, err := m.client().Checkpoint(t.Context())
	var fork *log.ForkError
	if !errors.Is(err, log.ErrUnreachable) || errors.As(err, &fork) {
		t.Errorf("with the log down and a mirror behind: %v", err)
	}
	if held, err := log.NewMemory(m.state).Evidence().List(); err != nil || len(held) != 0 {
		t.Errorf("evidence %v, %v", held, err)
	}
}

func TestAWrongTileOfAMirrorIsNamedAndTheNextIsAsked(t *testing.T) {
	for _, kind := range []string{"0", "entries"} {
		t.Run(kind, func(t *testing.T) {
			m := newMirrored(t, logtest.New(t, logtest.Witnesses(2, 2)))
			grow(m.Log, 0, 600, "leaf")
			wrong, right := m.mirror(m.Log), m.mirror(m.Log)
			files, err := filepath.Glob(filepath.Join(wrong, "tile", kind, "*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no tiles: %v", err)
			}
			for _, f := range files {
				if b, err := os.ReadFile(f); err == nil {
					b[len(b)-1] ^= 1
					if err := os.WriteFile(f, b, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			m.Lie(func(l *logtest.Lies) { l.Down = true })
			c := m.client()
			mustRead(t, c, checkpoint(t, c))
			if told := m.told(); strings.Count(told, "mirror file://"+wrong) != 1 || strings.Contains(told, right) {
				t.Errorf("told %s", told)
			}
		})
	}
}

func TestAForkAtAMirrorIsEvidenceLikeOneAtTheLog(t *testing.T) {
	for _, down := range []bool{false, true} {
		a, b := twoHistories(t, 100)
		m := newMirrored(t, a)
		oldNote := grow(a, 100, 300, "one")
		newNote := grow(b, 100, 400, "another")
		checkpoint(t, m.client())
		m.mirror(b)
		a.Lie(func(l *logtest.Lies) { l.Down = down })
		_, err := m.client().Checkpoint(t.Context())
		checkFork(t, err, a, m.state, oldNote, newNote)
	}
}

// A firn-peer has the tree of a mirror below its own address.
func TestAPeerIsAMirror(t *testing.T) {
	m := newMirrored(t, logtest.New(t))
	grow(m.Log, 0, 700, "leaf")
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(m.Origin())))
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "mirror"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(copyTree(t, m.Log), filepath.Join(dir, "mirror", hash)); err != nil {
		t.Fatal(err)
	}
	m.mirrors = []string{"file://" + dir}
	m.Lie(func(l *logtest.Lies) { l.Down = true })
	c := m.client()
	mustRead(t, c, checkpoint(t, c))
}

func TestLookupsAndSubmissionsAreAskedOfTheLogAlone(t *testing.T) {
	m := newMirrored(t, logtest.New(t))
	grow(m.Log, 0, 3, "leaf")
	twin := logtest.New(t) // it would answer
	grow(twin, 0, 3, "leaf")
	m.mirrors = []string{twin.URL()}
	m.Lie(func(l *logtest.Lies) { l.Down = true })
	c := m.client()
	if cp := checkpoint(t, c); cp.Mirror != twin.URL() {
		t.Fatalf("checkpoint from %q", cp.Mirror)
	}
	if _, err := c.Lookup(t.Context(), log.Query{Keys: []string{"key:00"}}); !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("a lookup: %v", err)
	}
	if _, err := c.Submit(t.Context(), [][]byte{[]byte("x")}, 0); !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("a submission: %v", err)
	}
	if _, err := c.Proof(t.Context(), statement.ID{1}, nil, 0); !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("a proof by id: %v", err)
	}
}

// transport answers for the hosts log and mirror; what hangs never does.
type transport struct {
	note  []byte
	hangs map[string]bool
}

func (tr transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if tr.hangs[r.URL.Host] {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(tr.note))}, nil
}

func TestMirrorsAreWaitedForOnlyALittleIfTheLogAnswers(t *testing.T) {
	l := logtest.New(t)
	note := grow(l, 0, 10, "leaf")
	for _, x := range []struct {
		hangs string
		from  string
		takes time.Duration
	}{
		{"mirror", "", time.Second},
		{"log", "http://mirror", log.DefaultTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, err := log.NewClient("http://log", l.Policy(), log.Options{
				Mirrors: []string{"http://mirror"}, HTTP: &http.Client{Transport: transport{note, map[string]bool{x.hangs: true}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			cp, err := c.Checkpoint(context.Background())
			if err != nil || cp.Mirror != x.from || time.Since(begin) != x.takes {
				t.Errorf("%s hangs: %+v, %v, after %v", x.hangs, cp, err, time.Since(begin))
			}
		})
	}
}

package log_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

func remembered(t *testing.T, dir string, l *logtest.Log) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "checkpoints", evidence.OriginName(l.Origin())))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return b
}

func TestNewerConsistentCheckpointIsRemembered(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(3, 2))
	dir := t.TempDir()
	for _, n := range [][2]int{{0, 0}, {0, 1}, {1, 255}, {255, 256}, {256, 1000}} {
		note := grow(l, n[0], n[1], "leaf")
		checkpoint(t, l.Client(dir))
		if got := remembered(t, dir, l); !bytes.Equal(got, note) {
			t.Errorf("size %d: remembered %q", n[1], got)
		}
	}
}

func TestSmallerCheckpointIsOnlyStale(t *testing.T) {
	for _, old := range []int{0, 1, 300, 599} {
		l := logtest.New(t, logtest.Witnesses(3, 2))
		dir := t.TempDir()
		early := grow(l, 0, old, "leaf")
		late := grow(l, old, 600, "leaf")
		checkpoint(t, l.Client(dir))
		l.Lie(func(lies *logtest.Lies) { lies.Checkpoint = early })
		_, err := l.Client(dir).Checkpoint(t.Context())
		var stale *log.StaleError
		if !errors.As(err, &stale) || !errors.Is(err, log.ErrStale) || stale.Remembered.Size != 600 {
			t.Errorf("from 600 to %d: %v, want a StaleError", old, err)
		}
		if got := remembered(t, dir, l); !bytes.Equal(got, late) {
			t.Errorf("from 600 to %d: the larger one is forgotten", old)
		}
	}
}

func TestSameTreeKeepsTheFresherCosignatures(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(3, 2))
	dir := t.TempDir()
	base := time.Unix(1_800_000_000, 0)
	l.SetTime(base)
	grow(l, 0, 5, "leaf")
	checkpoint(t, l.Client(dir))
	l.SetTime(base.Add(time.Hour))
	fresh := l.Publish()
	checkpoint(t, l.Client(dir))
	l.SetTime(base.Add(time.Minute))
	l.Publish()
	checkpoint(t, l.Client(dir))
	if got := remembered(t, dir, l); !bytes.Equal(got, fresh) {
		t.Errorf("remembered %q, want the freshest", got)
	}
}

// A log that cannot prove that it goes on is neither believed nor convicted.
func TestMissingConsistencyProofIsInconclusive(t *testing.T) {
	garbage := func(path string, status int, body []byte) (int, []byte) {
		if strings.HasPrefix(path, "tile/") {
			return 200, make([]byte, len(body))
		}
		return status, body
	}
	for what, lie := range map[string]func(*logtest.Lies){
		"no tiles": func(lies *logtest.Lies) { lies.NoTiles = true },
		"garbage":  func(lies *logtest.Lies) { lies.Edit = garbage },
	} {
		a, b := twoHistories(t, 100)
		dir := t.TempDir()
		note := grow(a, 100, 300, "leaf")
		checkpoint(t, a.Client(dir))
		grow(a, 300, 700, "leaf") // goes on
		grow(b, 100, 700, "fork") // does not
		small := logtest.New(t, logtest.Witnesses(3, 2))
		grow(small, 0, 50, "fork") // and is smaller
		for _, l := range []*logtest.Log{a, b, small} {
			l.Lie(lie)
			cp, err := l.Client(dir).Checkpoint(t.Context())
			var fork *log.ForkError
			if cp != nil || !errors.Is(err, log.ErrUnproven) || errors.As(err, &fork) || errors.Is(err, log.ErrStale) {
				t.Errorf("%s, size %d: %v, %v, want ErrUnproven", what, l.Size(), cp, err)
			}
		}
		if got := remembered(t, dir, a); !bytes.Equal(got, note) {
			t.Errorf("%s: what is remembered changed", what)
		}
		if held, _ := log.NewMemory(dir).Evidence().List(); len(held) != 0 {
			t.Errorf("%s: evidence against a log that only was silent", what)
		}
	}
}

func TestRememberedNoteOfAnotherKeyIsSaid(t *testing.T) {
	l := logtest.New(t)
	dir := t.TempDir()
	grow(l, 0, 5, "leaf")
	checkpoint(t, l.Client(dir))
	files, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "*"))
	for _, f := range files {
		if !strings.HasSuffix(f, ".lock") {
			if err := os.WriteFile(f, []byte("damaged\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := l.Client(dir).Checkpoint(t.Context()); !errors.Is(err, log.ErrUnproven) {
		t.Errorf("error %v, want ErrUnproven", err)
	}
}

func TestMemoryIsSharedByGoroutinesAndProcesses(t *testing.T) {
	if url := os.Getenv("LOG_TEST_URL"); url != "" {
		pol, err := policy.Parse([]byte(os.Getenv("LOG_TEST_POLICY")))
		if err != nil {
			t.Fatal(err)
		}
		c, err := log.NewClient(url, pol, log.Options{Memory: log.NewMemory(os.Getenv("LOG_TEST_MEMORY"))})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := c.Checkpoint(t.Context()); err != nil && !errors.Is(err, log.ErrStale) {
				t.Fatal(err)
			}
		}
		return
	}
	l := logtest.New(t, logtest.Witnesses(1, 1))
	dir := t.TempDir()
	grow(l, 0, 1, "leaf")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryIsShared")
			cmd.Env = append(os.Environ(), "LOG_TEST_URL="+l.URL(), "LOG_TEST_POLICY="+l.PolicyText(), "LOG_TEST_MEMORY="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
		wg.Go(func() {
			c := l.Client(dir)
			for range 20 {
				if _, err := c.Checkpoint(t.Context()); err != nil && !errors.Is(err, log.ErrStale) {
					t.Error(err)
				}
			}
		})
	}
	for i := range 60 {
		grow(l, i+1, i+2, "leaf")
	}
	wg.Wait()
	last := l.Publish()
	checkpoint(t, l.Client(dir))
	if got := remembered(t, dir, l); len(got) == 0 || string(got[:40]) != string(last[:40]) {
		t.Errorf("remembered %q", got)
	}
}

func TestDefaultMemoryDir(t *testing.T) {
	for _, c := range []struct{ state, home, want string }{
		{"/s", "/h", "/s/firn"},
		{"relative", "/h", "/h/.local/state/firn"},
		{"", "/h", "/h/.local/state/firn"},
		{"", "", ""},
	} {
		env := map[string]string{"XDG_STATE_HOME": c.state, "HOME": c.home}
		got, err := log.DefaultMemoryDir(func(k string) string { return env[k] })
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestNoteIsReplacedOnlyWhileItIsTheComparedOne(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		m := log.NewMemory(dir)
		for _, c := range []struct {
			old, note string
			want      bool
		}{{"", "one", true}, {"", "two", false}, {"two", "three", false}, {"one", "two", true}, {"one", "three", false}} {
			var old []byte
			if c.old != "" {
				old = []byte(c.old)
			}
			if ok, err := m.Swap("o", old, []byte(c.note)); ok != c.want || err != nil {
				t.Errorf("in %q, %q to %q: %v, %v", dir, c.old, c.note, ok, err)
			}
		}
	}
}

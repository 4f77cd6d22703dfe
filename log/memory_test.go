package log_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// twoHistories are two logs with one key whose first same leaves agree.
func twoHistories(t *testing.T, same int) (a, b *logtest.Log) {
	a, b = logtest.New(t, logtest.Witnesses(3, 2)), logtest.New(t, logtest.Witnesses(3, 2))
	grow(a, 0, same, "leaf")
	grow(b, 0, same, "leaf")
	return a, b
}

func remembered(t *testing.T, dir string, l *logtest.Log) []byte {
	t.Helper()
	cp, err := log.NewMemory(dir).Remembered(l.Policy(), l.Origin())
	if err != nil {
		t.Fatal(err)
	}
	if cp == nil {
		return nil
	}
	return cp.Note
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

// checkFork expects a fork with evidence on disk that convicts offline.
func checkFork(t *testing.T, err error, l *logtest.Log, dir string, oldNote, newNote []byte) {
	t.Helper()
	var fork *log.ForkError
	if !errors.As(err, &fork) {
		t.Fatalf("error %v, want a ForkError", err)
	}
	if !bytes.Equal(fork.Old, oldNote) || !bytes.Equal(fork.New, newNote) {
		t.Errorf("notes %q and %q", fork.Old, fork.New)
	}
	if filepath.Dir(fork.Path) != filepath.Join(dir, "evidence") {
		t.Errorf("evidence in %q", fork.Path)
	}
	b, err := os.ReadFile(fork.Path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := log.ParseFork(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(l.Policy()); err != nil {
		t.Errorf("the evidence does not convict: %v", err)
	}
	if !bytes.Contains(b, oldNote) || !bytes.Contains(b, newNote) {
		t.Error("the evidence does not hold both notes")
	}
	if got := remembered(t, dir, l); !bytes.Equal(got, oldNote) {
		t.Error("the remembered checkpoint changed")
	}
}

func TestForkIsKeptAsTwoNotesAndRefused(t *testing.T) {
	for _, c := range []struct {
		name          string
		same, old, to int
	}{
		{"one size, two roots", 100, 300, 300},
		{"larger", 100, 300, 700},
		{"larger, all different", 0, 1, 2},
		{"smaller", 100, 700, 300},
	} {
		a, b := twoHistories(t, c.same)
		dir := t.TempDir()
		oldNote := grow(a, c.same, c.old, "one")
		newNote := grow(b, c.same, c.to, "another")
		checkpoint(t, a.Client(dir))
		client := b.Client(dir)
		if c.to < c.old {
			// A liar that shows the larger tree's tiles with the other checkpoint.
			a.Lie(func(lies *logtest.Lies) { lies.Checkpoint = newNote })
			client = a.Client(dir)
		}
		_, err := client.Checkpoint(t.Context())
		t.Run(c.name, func(t *testing.T) { checkFork(t, err, a, dir, oldNote, newNote) })

		// From now on the log is refused, whatever it shows.
		a.Lie(func(lies *logtest.Lies) { lies.Checkpoint = nil })
		var fork *log.ForkError
		if _, err := a.Client(dir).Checkpoint(t.Context()); !errors.As(err, &fork) || fork.Path == "" {
			t.Errorf("%s: after the fork: %v", c.name, err)
		}
	}
}

func TestAtMostFourFilesOfEvidence(t *testing.T) {
	a, _ := twoHistories(t, 0)
	dir := t.TempDir()
	grow(a, 0, 3, "one")
	checkpoint(t, a.Client(dir))
	for i := range 7 {
		b := logtest.New(t, logtest.Witnesses(3, 2))
		grow(b, 0, 3, fmt.Sprint("other ", i))
		var fork *log.ForkError
		if _, err := b.Client(dir).Checkpoint(t.Context()); !errors.As(err, &fork) || fork.Path == "" {
			t.Fatalf("%v", err)
		}
		held, err := log.NewMemory(dir).Evidence(a.Origin())
		if err != nil || len(held) < 1 || len(held) > 4 {
			t.Errorf("%d files, %v", len(held), err)
		}
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
		if held, _ := log.NewMemory(dir).Evidence(a.Origin()); len(held) != 0 {
			t.Errorf("%s: evidence against a log that only was silent", what)
		}
	}
}

// Without witnesses of a quorum nothing is remembered and nothing is a fork.
func TestForkWithoutQuorumIsNotBelievedEither(t *testing.T) {
	a, _ := twoHistories(t, 10)
	lone := logtest.New(t) // the same key, no cosignatures
	dir := t.TempDir()
	grow(a, 10, 20, "leaf")
	grow(lone, 0, 20, "fork")
	checkpoint(t, a.Client(dir))
	c, err := log.NewClient(lone.URL(), a.Policy(), log.Options{Memory: log.NewMemory(dir)})
	if err != nil {
		t.Fatal(err)
	}
	var q *policy.QuorumError
	if _, err := c.Checkpoint(t.Context()); !errors.As(err, &q) {
		t.Errorf("error %v, want a QuorumError", err)
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

func TestForgedEvidenceConvictsNobody(t *testing.T) {
	a, b := twoHistories(t, 10)
	early := grow(a, 10, 20, "leaf")
	late := grow(a, 20, 30, "leaf")
	other := logtest.New(t, logtest.Origin("other.example/00000000"))
	otherNote := grow(other, 0, 30, "x")
	c := a.Client("")
	cp := checkpoint(t, c)
	proof, root, err := c.ProveConsistency(t.Context(), 20, cp)
	if err != nil {
		t.Fatal(err)
	}
	wrongRoot := root
	wrongRoot[0] ^= 1
	fork := grow(b, 10, 20, "fork")
	unsigned := bytes.Replace(fork, []byte("\n20\n"), []byte("\n21\n"), 1)
	for what, f := range map[string]log.Fork{
		"two sizes of one history": {Small: early, Large: late, Root: root, Proof: proof},
		"two sizes, no proof":      {Small: early, Large: late},
		"another root, no proof":   {Small: early, Large: late, Root: wrongRoot, Proof: proof},
		"the same note twice":      {Small: early, Large: early},
		"two origins":              {Small: early, Large: otherNote},
		"not signed":               {Small: early, Large: unsigned},
		"larger first":             {Small: late, Large: early},
		"size 0":                   {Small: logtest.New(t, logtest.Witnesses(3, 2)).Publish(), Large: early},
	} {
		if f.Verify(a.Policy()) == nil {
			t.Errorf("%s: convicts", what)
		}
	}
	good := log.Fork{Small: early, Large: fork}
	if err := good.Verify(a.Policy()); err != nil {
		t.Errorf("a true fork: %v", err)
	}
	if good.Verify(other.Policy()) == nil {
		t.Error("a fork convicts under a policy that does not know the log")
	}
}

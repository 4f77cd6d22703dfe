package log_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// grow adds leaves that differ, and publishes.
func grow(l *logtest.Log, from, to int, what string) []byte {
	for i := from; i < to; i++ {
		l.Add(fmt.Appendf(nil, "%s %d", what, i))
	}
	return l.Publish()
}

func checkpoint(t *testing.T, c *log.Client) *log.Checkpoint {
	t.Helper()
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func fileClient(t *testing.T, l *logtest.Log, o log.Options) *log.Client {
	t.Helper()
	c, err := log.NewClient(l.FileURL(), l.Policy(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEntriesOfEverySizeOverFilesAndHTTP(t *testing.T) {
	for _, size := range []int{1, 2, 255, 256, 257, 600, 70_000} {
		l := logtest.New(t, logtest.Witnesses(3, 2))
		grow(l, 0, size, "leaf")
		for _, c := range []*log.Client{l.Client(""), fileClient(t, l, log.Options{})} {
			cp := checkpoint(t, c)
			n := uint64(0)
			for e, err := range c.Entries(t.Context(), cp, 0, cp.Size) {
				if err != nil {
					t.Fatalf("size %d: %v", size, err)
				}
				if want := fmt.Sprintf("leaf %d", n); e.Index != n || string(e.Leaf) != want {
					t.Fatalf("size %d: entry %d is %q, want %q", size, e.Index, e.Leaf, want)
				}
				n++
			}
			if n != uint64(size) {
				t.Errorf("%d entries, want %d", n, size)
			}
		}
	}
}

func TestEntriesOfARangeAndABreak(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 1000, "leaf")
	c := l.Client("")
	cp := checkpoint(t, c)
	var got []uint64
	for e, err := range c.Entries(t.Context(), cp, 250, 520) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Index)
	}
	if len(got) != 270 || got[0] != 250 || got[269] != 519 {
		t.Errorf("%d entries from %d", len(got), got[0])
	}
	for range c.Entries(t.Context(), cp, 0, 1000) {
		break
	}
	for _, r := range [][2]uint64{{0, 1001}, {5, 4}} {
		for _, err := range c.Entries(t.Context(), cp, r[0], r[1]) {
			if err == nil {
				t.Errorf("entries %v of 1000 are given", r)
			}
		}
	}
}

func TestInclusionAndConsistencyProofs(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	grow(l, 0, 1000, "leaf")
	c := l.Client("")
	cp := checkpoint(t, c)
	for _, i := range []uint64{0, 1, 255, 256, 700, 999} {
		p, err := c.ProveInclusion(t.Context(), cp, i)
		if err != nil {
			t.Fatal(err)
		}
		leaf := fmt.Appendf(nil, "leaf %d", i)
		if _, err := p.Verify(l.Policy(), leaf, cp.Verified.Time); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
		if _, err := p.Verify(l.Policy(), append(leaf, '!'), cp.Verified.Time); err == nil {
			t.Errorf("entry %d: another leaf verifies", i)
		}
	}
	if _, err := c.ProveInclusion(t.Context(), cp, 1000); !errors.Is(err, log.ErrNotFound) {
		t.Errorf("entry 1000 of 1000: %v", err)
	}
	for _, n := range []uint64{1, 255, 256, 257, 999, 1000} {
		p, root, err := c.ProveConsistency(t.Context(), n, cp)
		if err != nil {
			t.Fatal(err)
		}
		if n < 1000 {
			if err := tlog.CheckTree(p, 1000, cp.Root, int64(n), root); err != nil {
				t.Errorf("size %d: %v", n, err)
			}
		}
	}
	if p, _, err := c.ProveConsistency(t.Context(), 0, cp); err != nil || len(p) != 0 {
		t.Errorf("size 0: %v, %v", p, err)
	}
	if _, _, err := c.ProveConsistency(t.Context(), 1001, cp); err == nil {
		t.Error("size 1001 of 1000 is proven")
	}
}

func TestUnreachableIsSaid(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 10, "leaf")
	c := l.Client("")
	cp := checkpoint(t, c)
	gone := httptest.NewServer(nil)
	gone.Close()
	for what, url := range map[string]string{"nobody listens": gone.URL, "no folder": "file:///nonexistent/log"} {
		c, err := log.NewClient(url, l.Policy(), log.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Checkpoint(t.Context()); !errors.Is(err, log.ErrUnreachable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	l.Lie(func(lies *logtest.Lies) { lies.Down = true })
	if _, err := c.Checkpoint(t.Context()); !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("503: %v", err)
	}
	if _, err := c.Entry(t.Context(), cp, 3); !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("503 for a tile: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Checkpoint(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestClientNeedsAPolicyAndAnOrigin(t *testing.T) {
	l := logtest.New(t)
	other := logtest.New(t, logtest.Origin("other.example/00000000"))
	two, err := policy.Parse([]byte("log " + l.VKey() + "\nlog " + other.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	none, err := policy.Parse([]byte("quorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		url    string
		pol    *policy.Policy
		origin string
	}{
		"no policy":           {l.URL(), nil, ""},
		"policy without log":  {l.URL(), none, ""},
		"which of two":        {l.URL(), two, ""},
		"not in the policy":   {l.URL(), two, "third.example/00000000"},
		"ftp":                 {"ftp://log.example/", l.Policy(), ""},
		"no scheme":           {"log.example", l.Policy(), ""},
		"query":               {"http://log.example/?x", l.Policy(), ""},
		"file on another one": {"file://elsewhere/log", l.Policy(), ""},
	} {
		if _, err := log.NewClient(c.url, c.pol, log.Options{Origin: c.origin}); err == nil {
			t.Errorf("%s: a client", what)
		}
	}
	// The checkpoint of another log of the policy is not this log's.
	c, err := log.NewClient(l.URL(), two, log.Options{Origin: other.Origin()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Checkpoint(t.Context()); err == nil {
		t.Error("the checkpoint of another origin is accepted")
	}
}

func TestQuorumIsAskedOfEveryCheckpoint(t *testing.T) {
	l := logtest.New(t) // no witness signs
	strict := logtest.New(t, logtest.Witnesses(2, 2))
	grow(l, 0, 5, "leaf")
	mem := t.TempDir()
	c, err := log.NewClient(l.URL(), strict.Policy(), log.Options{Memory: log.NewMemory(mem)})
	if err != nil {
		t.Fatal(err)
	}
	var q *policy.QuorumError
	if _, err := c.Checkpoint(t.Context()); !errors.As(err, &q) {
		t.Errorf("error %v, want a QuorumError", err)
	}
	if cp, err := log.NewMemory(mem).Remembered(l.Policy(), l.Origin()); cp != nil || err != nil {
		t.Errorf("a checkpoint without its quorum is remembered: %v, %v", cp, err)
	}
}

package crashtest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/internal/dropfs"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

const logCount, entries = 6, 4000

// rounds is how often a witness is killed: 8 times, and 100 with FIRN_SOAK=1.
func rounds() int {
	if os.Getenv("FIRN_SOAK") == "1" {
		return 100
	}
	return 8
}

// world is growing logs, and another history of each.
type world struct {
	logs, forks []*sample.Log
	// acked is the largest size that was cosigned, by log. Only the log's own
	// sender changes it.
	acked [logCount]uint64
}

func newWorld() *world {
	w := new(world)
	for i := range logCount {
		l := sample.New(fmt.Sprintf("log.example/%d", i))
		l.Grow(entries)
		w.logs = append(w.logs, l)
		w.forks = append(w.forks, l.Fork("fork", 1))
	}
	return w
}

// load lets every log grow until the witness is gone, and calls enough once
// after a number of cosignatures.
func (w *world) load(p *process, after int, enough func()) *sync.WaitGroup {
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	count := func() {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == after {
			enough()
		}
	}
	for i, l := range w.logs {
		wg.Go(func() {
			for old := w.acked[i]; old+1 < entries; {
				status, answer, err := p.post(l.Request(old, old+1))
				switch {
				case err != nil:
					return
				case status == http.StatusConflict:
					// What was kept and not acknowledged.
					if old, err = policy.ParseDecimal(strings.TrimSuffix(answer, "\n")); err != nil {
						return
					}
				case status == http.StatusOK:
					old++
					w.acked[i] = old
					count()
				}
			}
		})
	}
	return &wg
}

// check looks at a witness that came back: it remembers everything that it has
// acknowledged, and signs nothing else.
func (w *world) check(t *testing.T, p *process) {
	t.Helper()
	for i, l := range w.logs {
		if w.acked[i] == 0 {
			continue
		}
		status, note := p.latest(t, l.Origin)
		n, err := policy.ParseNote([]byte(note))
		if status != http.StatusOK || err != nil {
			t.Fatalf("%s: status %d: %s", l.Origin, status, note)
		}
		head, err := policy.ParseCheckpoint(n.Text)
		if err != nil || head.Size < w.acked[i] || head.Root != l.Root(head.Size) {
			t.Fatalf("%s: cosigned up to %d, and the witness has %s", l.Origin, w.acked[i], note)
		}
		for _, old := range []uint64{0, w.acked[i] - 1, head.Size} {
			// From a power of two a proof holds no root, so that this convicts
			// nobody and the test goes on.
			for size := old; size <= old+2; size++ {
				if head.Size == size || old == head.Size && old&(old-1) != 0 {
					continue
				}
				if status, _, err := p.post(w.forks[i].Request(old, size)); err != nil || status == http.StatusOK {
					t.Fatalf("%s: at %d, another history from %d to %d: status %d, %v", l.Origin, head.Size, old, size, status, err)
				}
			}
		}
	}
}

// checkFiles looks for left-over files of a witness that is not running.
func checkFiles(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var journals int
	for _, n := range names {
		switch base := filepath.Base(n); {
		case strings.HasPrefix(base, "journal-"):
			journals++
		case base != "firn-witness.toml" && base != "witness.key" && base != "state" && base != "lock":
			t.Errorf("stray file %s", n)
		}
	}
	if journals != 1 {
		t.Errorf("%d journals, want 1", journals)
	}
}

func TestKilledUnderLoadForgetsNothingCosigned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w")
	w := newWorld()
	initWitness(t, dir, w.logs)
	for round := range rounds() {
		p := serve(t, dir)
		w.check(t, p)
		reached := make(chan struct{})
		wg := w.load(p, 20+round*37%200, func() { close(reached) })
		<-reached
		p.kill()
		wg.Wait()
	}
	p := serve(t, dir)
	w.check(t, p)
	if err := p.stop(); err != nil {
		t.Errorf("stopping: %v: %s", err, p.output())
	}
	checkFiles(t, dir)
	t.Logf("%d kills, cosigned up to %v", rounds(), w.acked)
}

func TestPowerCutForgetsNothingCosigned(t *testing.T) {
	d := dropfs.New()
	dir, unmount := dropfs.Mount(t, d)
	w := newWorld()
	initWitness(t, dir+"/w", w.logs)
	n := max(rounds()/2, 1)
	for round := range n {
		p := serve(t, dir+"/w")
		w.check(t, p)
		reached := make(chan struct{})
		wg := w.load(p, 20+round*37%200, func() { close(reached) })
		<-reached
		d = d.Cut()
		p.kill()
		wg.Wait()
		unmount()
		dir, unmount = dropfs.Mount(t, d)
	}
	p := serve(t, dir+"/w")
	w.check(t, p)
	if err := p.stop(); err != nil {
		t.Errorf("stopping: %v: %s", err, p.output())
	}
	checkFiles(t, dir+"/w")
	t.Logf("%d power cuts, cosigned up to %v", n, w.acked)
}

func TestFullDiskSignsNothingAndRecovers(t *testing.T) {
	d := dropfs.New()
	dir, _ := dropfs.Mount(t, d)
	w := newWorld()
	initWitness(t, dir+"/w", w.logs[:1])
	p := serve(t, dir+"/w")
	l := w.logs[0]
	size := uint64(0)
	grow := func(want int) {
		t.Helper()
		if status, answer, err := p.post(l.Request(size, size+1)); err != nil || status != want {
			t.Fatalf("status %d: %s, %v; want %d: %s", status, answer, err, want, p.output())
		}
		if want == http.StatusOK {
			size++
		}
	}
	for _, set := range []func(){func() { d.Set(true, false) }, func() { d.Set(false, true) }} {
		grow(http.StatusOK)
		set()
		grow(http.StatusServiceUnavailable)
		grow(http.StatusServiceUnavailable)
		d.Set(false, false)
		grow(http.StatusOK)
	}
	d.Cut()
	p.kill()
}

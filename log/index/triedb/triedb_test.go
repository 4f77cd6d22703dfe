package triedb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/index"
)

func TestStrayFilesAreRemovedAndNumbersNotUsedAgain(t *testing.T) {
	dir := fill(t, origin, 100, tiny())
	for _, name := range []string{runName(777), ".firn-tmp-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db := open(t, dir, tiny())
	if files, err := runFiles(dir); err != nil || slices.Contains(files, runName(777)) {
		t.Errorf("files %v %v", files, err)
	}
	db.mu.Lock()
	seq := db.seq
	db.mu.Unlock()
	if seq < 777 {
		t.Errorf("the next file has number %d, want one that was never used", seq+1)
	}
	if _, err := os.Stat(filepath.Join(dir, ".firn-tmp-1")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a temporary file is left")
	}
}

func TestOneProcessHasItOpen(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, tiny())
	var locked *durable.LockedError
	if _, err := Open(dir, origin, tiny()); !errors.As(err, &locked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := Remove(dir); !errors.As(err, &locked) {
		t.Errorf("removed while open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "notes" {
		t.Errorf("left %v %v, want what is not the index's", left, err)
	}
	if err := Remove(filepath.Join(dir, "nothing")); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	for _, o := range []string{"", "a\nb"} {
		if _, err := Open(dir, o, tiny()); err == nil {
			t.Errorf("opened for origin %q", o)
		}
	}
}

func TestClosedIsNotUsed(t *testing.T) {
	db := open(t, t.TempDir(), tiny())
	if err := db.Append(testRows(0, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Commit(); err != nil {
		t.Fatal(err)
	}
	v := view(t, db, 100)
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	_, commit := db.Commit()
	_, older := db.View(context.Background(), 50)
	_, prove := v.Prove(nil)
	_, _, head := v.Head(index.Hash{})
	_, _, _, list := v.List(index.Hash{}, 0, 1)
	_, prefix := v.Prefix(0, index.Hash{}, 1)
	_, subtree := v.Subtree(0, index.Hash{}, 1)
	for i, err := range []error{db.Append(testRows(100, 101)), commit, older, prove, head, list, prefix, subtree} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d: %v, want ErrClosed", i, err)
		}
	}
}

func TestAReadIsReadToItsEndWhenClosed(t *testing.T) {
	dir := fill(t, origin, 300, tiny())
	db := open(t, dir, tiny())
	v, m := view(t, db, 315), newModel(315)
	rd, release, err := v.reader()
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	kh := index.KeyHash("key:1")
	if h := rd.head(&kh, rd.list(kh)); h != index.ListHead(m.List(kh)) {
		t.Error("another head after closing")
	}
	runs := rd.set.runs
	release()
	for _, r := range runs {
		if r.seq != 0 && r.data != nil {
			t.Error("a file is mapped although nobody reads it")
		}
	}
}

func TestOlderStatesOneAtATime(t *testing.T) {
	db := open(t, t.TempDir(), tiny())
	if err := db.Append(testRows(0, 500)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Commit(); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if _, err := db.View(ended, 333); !errors.Is(err, context.Canceled) {
		t.Errorf("computing in an ended context: %v", err)
	}
	db.slot <- struct{}{} // as if one were being computed
	if _, err := db.View(ended, 333); !errors.Is(err, ErrBusy) {
		t.Errorf("while another is being computed: %v", err)
	}
	if _, err := db.View(ended, 500); err != nil {
		t.Errorf("the newest meanwhile: %v", err)
	}
	<-db.slot
	first := view(t, db, 333)
	if view(t, db, 333) != first {
		t.Error("the one computed last is computed again")
	}
	if want := newModel(333).Root(); first.Root() != want {
		t.Errorf("root %v, want %v", first.Root(), want)
	}
}

func TestRecentStatesAreKeptWithinTheirBound(t *testing.T) {
	db := &DB{}
	for i := range 10 {
		db.keep(&View{size: uint64(i), cost: keepBytes/4 - viewBytes})
	}
	if n := len(db.views); n != 5 || db.views[n-1].size != 9 {
		t.Errorf("%d states a quarter of the bound apart, want 5", n)
	}
	for i := range 3 {
		db.keep(&View{size: uint64(10 + i), cost: 2 * keepBytes})
	}
	if n := len(db.views); n != 2 {
		t.Errorf("%d states above the bound, want the last 2", n)
	}
}

// What belongs to the leaves is durable before a file holds them.
func TestFilesWaitForWhatIsDurableFirst(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	noted, refuse := uint64(0), errors.New("not now")
	o := tiny()
	o.BeforeFlush = func(size uint64) error {
		mu.Lock()
		defer mu.Unlock()
		if refuse == nil {
			noted = max(noted, size)
		}
		return refuse
	}
	inFiles := func() uint64 {
		b, err := os.ReadFile(filepath.Join(dir, manifestName))
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseManifest(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.runs) == 0 {
			return 0
		}
		return m.runs[len(m.runs)-1].to
	}
	db := open(t, dir, o)
	if err := db.Append(testRows(0, 500)); !errors.Is(err, refuse) || inFiles() > 0 {
		t.Fatalf("%v, and %d leaves in files", err, inFiles())
	}
	mu.Lock()
	refuse = nil
	mu.Unlock()
	if err := db.Append(testRows(int(db.Size()), 500)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := inFiles(); n != 500 || noted != n {
		t.Errorf("%d leaves in files, noted %d", n, noted)
	}
}

func TestProgressOfOpening(t *testing.T) {
	dir := fill(t, origin, 2000, Options{Logger: quiet()})
	last, of := 0, 0
	open(t, dir, Options{Logger: quiet(), Progress: func(done, total int) {
		if done <= last || done > total || of != 0 && total != of {
			t.Errorf("%d of %d after %d of %d", done, total, last, of)
		}
		last, of = done, total
	}})
	if last == 0 || last != of {
		t.Errorf("at the end %d of %d", last, of)
	}
}

func TestBoundsOfQuestions(t *testing.T) {
	db := open(t, t.TempDir(), tiny())
	v := view(t, db, 0)
	for _, f := range []func() error{
		func() error { _, err := v.Prefix(-1, index.Hash{}, 1); return err },
		func() error { _, err := v.Prefix(257, index.Hash{}, 1); return err },
		func() error { _, err := v.Subtree(257, index.Hash{}, 1); return err },
		func() error { _, err := v.Subtree(0, index.Hash{}, -1); return err },
		func() error { _, err := v.Subtree(0, index.Hash{}, maxLevels+1); return err },
		func() error { _, _, _, err := v.List(index.Hash{}, 0, -1); return err },
	} {
		if f() == nil {
			t.Error("a question out of bounds is answered")
		}
	}
	if err := db.Append(testRows(0, 20)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Commit(); err != nil {
		t.Fatal(err)
	}
	if all, err := view(t, db, 20).Prefix(0, index.Hash{}, math.MaxInt); err != nil || len(all) == 0 {
		t.Errorf("without a limit: %d keys, %v", len(all), err)
	}
	p := pending{}
	if err := p.add(maxIndex+1, Row{}); err == nil {
		t.Error("an index that no record holds is taken")
	}
}

func TestWhichRunsAreMerged(t *testing.T) {
	for _, tt := range []struct {
		sizes []int
		want  int
	}{
		{nil, -1},
		{[]int{5}, -1},
		{[]int{100, 40, 10}, -1},
		{[]int{100, 10, 10}, 1},
		{[]int{100, 60, 40}, 0},
		{[]int{3, 100, 40}, 0},
		{[]int{100, 0, 0}, 1},
		{[]int{maxRecords, 7, 7}, 1},
	} {
		var runs []*run
		for _, n := range tt.sizes {
			runs = append(runs, &run{n: n})
		}
		if got := worthMerging(runs); got != tt.want {
			t.Errorf("%v: from %d, want %d", tt.sizes, got, tt.want)
		}
	}
	many := &run{n: 5, signers: make([]byte, signerSize*(maxSigners/2+1))}
	if got := worthMerging([]*run{many, many}); got != -1 {
		t.Errorf("runs with too many signers for one are merged from %d", got)
	}
}

func TestPrefixesOfAnyLength(t *testing.T) {
	kh := index.KeyHash("a")
	for depth := range 257 {
		p := newPrefix(kh, depth)
		q := prefix{}
		for i := range depth {
			q = q.child(index.Bit(kh, i))
		}
		if p != q || !p.has(&kh) {
			t.Fatalf("prefix of %d bits: %v, want %v", depth, p, q)
		}
		if depth > 0 {
			other := kh
			other[(depth-1)/8] ^= 0x80 >> ((depth - 1) % 8)
			if p.has(&other) {
				t.Fatalf("prefix of %d bits has a key that differs in its last", depth)
			}
		}
	}
}

func FuzzRun(f *testing.F) {
	var p pending
	for i := range 60 {
		if err := p.add(uint64(i), testRow(i)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(p.run(originHash(origin), 60).data)
	f.Add((&pending{}).run(originHash(origin), 1).data)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= sumSize { // a right sum, or nothing gets further
			b = b[: len(b)-sumSize : len(b)-sumSize]
			sum := crc32.Checksum(b, castagnoli)
			b = append(b, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
		}
		r, err := parseRun(b, originHash(origin))
		if err != nil || r.check() != nil {
			return
		}
		again := mergeInMemory(originHash(origin), []*run{r})
		if !bytes.Equal(again.data, b) {
			t.Fatal("a run that is written again has other bytes")
		}
		for i := range r.n {
			if at := r.seek(r.key(i)); *r.key(at) != *r.key(i) || r.end(i) <= i {
				t.Fatalf("record %d is not found", i)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(manifest{origin: origin}.marshal())
	f.Add(manifest{origin: origin, runs: []runLine{{7, 0, 10, 30, 0xabc}, {9, 10, 12, 1, 1}}}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		body, _, _ := bytes.Cut(b, []byte("sum "))
		summed := fmt.Appendf(bytes.Clone(body), "sum %08x\n", crc32.Checksum(body, castagnoli))
		for _, b := range [][]byte{b, summed} {
			if m, err := parseManifest(b); err == nil && !bytes.Equal(m.marshal(), b) {
				t.Fatalf("%q marshals to %q", b, m.marshal())
			}
		}
	})
}

func TestRunsOfAnotherLogOrLength(t *testing.T) {
	var p pending
	if err := p.add(0, testRow(0)); err != nil {
		t.Fatal(err)
	}
	data := p.run(originHash(origin), 1).data
	if _, err := parseRun(data, originHash("other.example/log")); err == nil {
		t.Error("a run of another log is taken")
	}
	for _, b := range [][]byte{data[:len(data)-1], append(bytes.Clone(data), 0)} {
		if _, err := parseRun(b, originHash(origin)); err == nil {
			t.Errorf("a run of %d bytes is taken as one of %d", len(data), len(b))
		}
	}
}

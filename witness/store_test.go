package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

// journalFile returns the one journal of a store.
func journalFile(t testing.TB, dir string) string {
	t.Helper()
	names := want(filepath.Glob(filepath.Join(dir, journalPrefix+"*")))(t)
	if len(names) != 1 {
		t.Fatalf("%d journals, want 1: %v", len(names), names)
	}
	return names[0]
}

// crash makes the files of an open store a store of its own in another folder,
// as they would be after the process was killed. The place is taken along.
func crash(t testing.TB, s *Store) string {
	t.Helper()
	dir := t.TempDir()
	for _, from := range append(want(filepath.Glob(filepath.Join(s.dir, "*")))(t), filepath.Join(s.dir, stateName)) {
		if st, err := os.Stat(from); err == nil && st.IsDir() {
			continue
		}
		b := want(os.ReadFile(from))(t)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(from)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEverythingAcknowledgedIsInTheFiles(t *testing.T) {
	w := newWorld(t)
	w.store.rotateAt = 2000
	for size := uint64(1); size <= 20; size++ {
		w.cosigned(w.log.Request(size-1, size))
		dir := crash(t, w.store)
		s := want(OpenStore(dir))(t)
		if got := s.Latest(testOrigin); got.Size != size || string(got.Note) != w.latest() {
			t.Fatalf("after a crash: size %d, want %d", got.Size, size)
		}
		s.Close()
	}
	if g := w.store.generation; g < 4 {
		t.Errorf("generation %d: no snapshot was made", g)
	}
	journalFile(t, w.dir)
}

func TestATornWriteIsNothing(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 3))
	size3 := want(os.ReadFile(journalFile(t, w.dir)))(t)
	w.cosigned(w.log.Request(3, 5))
	whole := want(os.ReadFile(journalFile(t, w.dir)))(t)
	tails := map[string][]byte{"zeros": append(bytes.Clone(size3), make([]byte, 500)...)}
	for cut := len(size3); cut < len(whole); cut += 41 {
		tails[fmt.Sprint("cut at ", cut)] = whole[:cut]
		broken := bytes.Clone(whole)
		broken[cut] ^= 0x40
		tails[fmt.Sprint("flipped at ", cut)] = broken
	}
	for name, tail := range tails {
		dir := crash(t, w.store)
		if err := os.WriteFile(journalFile(t, dir), tail, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := s.Latest(testOrigin).Size; got != 3 {
			t.Errorf("%s: size %d, want 3", name, got)
		}
		s.Close()
	}
}

func TestADamagedStoreIsRefused(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 3))
	first := len(want(os.ReadFile(journalFile(t, w.dir)))(t))
	w.cosigned(w.log.Request(3, 5))
	for i := 0; i < first; i += 11 {
		dir := crash(t, w.store)
		b := want(os.ReadFile(journalFile(t, dir)))(t)
		b[i] ^= 1
		if err := os.WriteFile(journalFile(t, dir), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := OpenStore(dir); err == nil {
			s.Close()
			t.Fatalf("byte %d of the first frame is another and nobody noticed", i)
		} else if !strings.Contains(err.Error(), "damaged") {
			t.Fatalf("%v, want it called damaged", err)
		}
	}
	state := want(os.ReadFile(filepath.Join(w.dir, stateName)))(t)
	for i := range state {
		dir := crash(t, w.store)
		b := bytes.Clone(state)
		b[i] ^= 1
		if err := os.WriteFile(filepath.Join(dir, stateName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := OpenStore(dir); err == nil {
			s.Close()
			t.Fatalf("byte %d of the state is another and nobody noticed", i)
		}
	}
}

func TestASecondStoreIsRefused(t *testing.T) {
	w := newWorld(t)
	var locked *durable.LockedError
	if _, err := OpenStore(w.dir); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("%v, want a LockedError naming this process", err)
	}
	if err := CreateStore(w.dir); err == nil {
		t.Error("a store was made over another")
	}
}

func TestNothingIsSignedThatTheDiskDidNotTake(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 3))
	// The journal cannot be written, and neither can a new one.
	w.store.journal.f.Close()
	if err := os.Rename(w.dir, w.dir+".away"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := w.must(503, w.log.Request(3, 5)); strings.Contains(got, "—") {
			t.Errorf("signed all the same: %s", got)
		}
	}
	if !strings.HasPrefix(w.latest(), w.log.Text(3)) {
		t.Error("what was not kept is shown")
	}
	if err := os.Rename(w.dir+".away", w.dir); err != nil {
		t.Fatal(err)
	}
	w.cosigned(w.log.Request(3, 5))
	s := want(OpenStore(crash(t, w.store)))(t)
	defer s.Close()
	if got := s.Latest(testOrigin).Size; got != 5 {
		t.Errorf("size %d, want 5", got)
	}
}

func TestAStoreNeverShrinksWhateverItsUserSays(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	for _, note := range [][]byte{w.log.Note(3), w.log.Fork("fork", 1).Note(5), sample.New("other.example/x").Note(0), []byte("garbage")} {
		_, err := w.store.Update(t.Context(), testOrigin, func(State) ([]byte, error) { return note, nil })
		if err == nil {
			t.Errorf("taken: %s", note)
		}
	}
	if got := w.store.Latest(testOrigin).Size; got != 5 {
		t.Errorf("size %d, want 5", got)
	}
}

func TestAClosedStoreTakesNothing(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for size := range uint64(8) {
		wg.Go(func() {
			if status, _, _ := w.AddCheckpoint(t.Context(), w.log.Request(0, size+1)); status != 200 && status != 409 && status != 503 {
				t.Errorf("status %d", status)
			}
		})
	}
	if err := w.store.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	w.must(503, w.log.Request(w.store.Latest(testOrigin).Size, 20))
	if err := w.store.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestWaitingForOnesTurnEndsWithTheContext(t *testing.T) {
	w := newWorld(t)
	w.store.entry(testOrigin).busy <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if status, _, _ := w.AddCheckpoint(ctx, w.log.Request(0, 3)); status != 503 {
		t.Errorf("status %d, want 503", status)
	}
	<-w.store.entry(testOrigin).busy
	w.cosigned(w.log.Request(0, 3))
}

func TestGroupsShareASync(t *testing.T) {
	w := newWorld(t)
	w.logs = nil
	var logs []*sample.Log
	for i := range 8 {
		l := sample.New(fmt.Sprintf("log.example/%d", i))
		l.Grow(40)
		logs = append(logs, l)
		w.logs = append(w.logs, Log{Origin: l.Origin, Keys: []policy.Key{l.Key}})
	}
	w.again()
	var wg sync.WaitGroup
	for _, l := range logs {
		wg.Go(func() {
			for size := uint64(1); size <= 40; size++ {
				if status, response, err := w.AddCheckpoint(t.Context(), l.Request(size-1, size)); status != 200 {
					t.Errorf("status %d: %s, %v", status, response, err)
					return
				}
			}
		})
	}
	wg.Wait()
	groups, members := w.store.Syncs()
	if members != 320 || groups >= members {
		t.Errorf("%d checkpoints in %d groups", members, groups)
	}
	s := want(OpenStore(crash(t, w.store)))(t)
	defer s.Close()
	for _, l := range logs {
		if got := s.Latest(l.Origin).Size; got != 40 {
			t.Errorf("%s: size %d, want 40", l.Origin, got)
		}
	}
}

func FuzzJournal(f *testing.F) {
	note := sample.New(testOrigin).Note(0)
	one := appendFrame(nil, 7, 1, appendRecord(nil, recordCheckpoint, string(note)))
	f.Add(one)
	f.Add(appendFrame(one, 7, 2, appendRecord(nil, recordRefused, testOrigin, "\nx")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		n := uint64(0)
		err := readFrames(b, 7, func(records []byte) error {
			n++
			again = appendFrame(again, 7, n, records)
			return nil
		})
		if err == nil && !bytes.HasPrefix(b, again) {
			t.Errorf("frames that were read are written differently")
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add((&snapshot{generation: 3, records: appendRecord(nil, recordMoved)}).marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSnapshot(b)
		if err == nil && !bytes.Equal(s.marshal(), b) {
			t.Errorf("%q is written as %q", b, s.marshal())
		}
		if err == nil {
			x := &Store{entries: make(map[string]*entry), byHash: make(map[string]*entry)}
			_ = readRecords(s.records, x.apply)
		}
	})
}

// A group is one frame, and a frame has a largest size: more than that waits
// for the next.
func TestAGroupStaysBelowTheLargestFrame(t *testing.T) {
	s := &Store{queue: make(chan *commit, 1024)}
	record := appendRecord(nil, recordCheckpoint, strings.Repeat("x", policy.MaxNote))
	for range cap(s.queue) {
		s.queue <- &commit{records: record}
	}
	for len(s.queue) > 0 {
		size := 0
		for _, c := range s.gather(<-s.queue) {
			size += len(c.records)
		}
		if _, _, _, ok := parseFrame(appendFrame(nil, 1, 1, make([]byte, size))); !ok {
			t.Fatalf("a group of %d bytes is no frame", size)
		}
	}
}

func TestFramesAreReadInOrderAndOfOneJournalOnly(t *testing.T) {
	frame := func(generation, number uint64) []byte { return appendFrame(nil, generation, number, nil) }
	count := func(b []byte) (n int, err error) {
		err = readFrames(b, 7, func([]byte) error { n++; return nil })
		return n, err
	}
	if n, err := count(append(frame(7, 1), frame(6, 2)...)); n != 1 || err != nil {
		t.Errorf("%d frames, %v; want the one of this journal", n, err)
	}
	if n, err := count(append(frame(7, 1), frame(7, 3)...)); n != 1 || err == nil {
		t.Errorf("%d frames and no error where one is missing", n)
	}
}

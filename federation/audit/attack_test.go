package audit

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// After a reset a log cannot state again what the reset has answered for: nothing is
// cosigned with it, right or wrong, until it is taken back, too.
func TestSizesThatAResetWithdrewStayWithdrawn(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	fill(t, l, "a", 10)
	size := l.Size()
	state := func(size uint64, root byte) []byte {
		l.Add(l.State(&statement.Revision{Origin: l.Origin(), Size: size, Root: [32]byte{root}, MapVersion: index.MapVersion}))
		return l.Publish()
	}
	a.want(state(size, 1), 403)
	a.want(reset(l, size), 200)
	a.restart()
	a.want(state(size, 2), 403)
	a.restart()
	a.want(state(size-1, 3), 403)
	a.want(reset(l, size-1), 403)
	if n := len(a.stateNow().wrongs); n > 1 {
		t.Errorf("evidence is looked for %d times, and would be answered", n)
	}
	a.want(reset(l, size), 200)
	a.want(revise(l), 200)
	a.want(state(size, 1), 403)
}

// A reset that was noted is in the state, and a state without it is none.
func TestStateKeepsTheReset(t *testing.T) {
	s := state{checked: 20}
	if s.withdraw(9, 7) || s.withdraw(12, 3) || s.reset != 7 {
		t.Errorf("%+v", s)
	}
	if got, err := parseState(s.marshal()); err != nil || got.reset != 7 || got.checked != 20 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := parseState([]byte(strings.Replace(string(s.marshal()), "reset 7\n", "", 1))); err == nil {
		t.Error("a state without its reset is accepted")
	}
}

// Wrong revisions that were withdrawn and that the log does not show keep nobody from
// looking for evidence of the next one.
func TestWhatWasWithdrawnMakesPlace(t *testing.T) {
	var s state
	for i := range uint64(maxWrongs + 3) {
		s.add(wrong{at: 100 + i, size: 50 + i})
	}
	if len(s.wrongs) != maxWrongs || s.wrongs[0].at != 100 {
		t.Fatalf("%+v", s.wrongs)
	}
	s.withdraw(200, 199)
	s.add(wrong{at: 300, size: 250})
	if n := len(s.wrongs); n != maxWrongs || s.wrongs[n-1].at != 300 || s.wrongs[n-1].withdrawn {
		t.Errorf("%+v", s.wrongs)
	}
}

// Of a list that is longer than what is looked at, the ends are compared.
func TestTheEndOfAVeryLongListIsCompared(t *testing.T) {
	defer func(n int) { listAtMost = n }(listAtMost)
	listAtMost = 100
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	s := logtest.Signer(t, "somebody")
	for i := range 150 {
		l.Add(logtest.Leaf(t, s, logtest.Closure(fmt.Sprint("n", i))))
	}
	l.Publish()
	l.Lie(func(lies *logtest.Lies) {
		lies.Index = func(key string, it index.Item) (index.Item, bool) { return it, it.Index != 140 || key[:4] != "key:" }
	})
	a.want(revise(l), 403)
	if why := a.convicted(); !strings.Contains(why, "lacks the entry 140") {
		t.Error(why)
	}
	a.close()
}

// What a file of the map holds was noted as compared before.
func TestTheStateIsWrittenBeforeTheMap(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	fill(t, l, "a", 10)
	a.want(revise(l), 200)
	saved := func() uint64 {
		st, err := readState(a.file)
		if err != nil {
			t.Fatal(err)
		}
		return st.checked
	}
	if saved() >= a.db.Size() {
		t.Fatal("the test is wrong")
	}
	if err := a.noted(a.db.Size()); err != nil || saved() < a.db.Size() {
		t.Errorf("%v, and %d entries were compared, of %d in the map", err, saved(), a.db.Size())
	}
}

// Where the lists differ too far from their ends there is no evidence, and it is no silent
// pass: nothing is cosigned, and the alarm is raised.
func TestADifferenceFarFromTheEndOfAListIsAnAlarm(t *testing.T) {
	defer func(n int) { listAtMost = n }(listAtMost)
	listAtMost = 100
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	s := logtest.Signer(t, "somebody")
	for i := range 10_150 {
		l.Add(logtest.Leaf(t, s, logtest.Closure(fmt.Sprint("n", i))))
	}
	l.Publish()
	l.Lie(func(lies *logtest.Lies) {
		lies.Index = func(key string, it index.Item) (index.Item, bool) { return it, it.Index != 3 || key[:4] != "key:" }
	})
	a.want(revise(l), 403)
	a.until("the alarm", func() bool { return a.Status().Withheld != "" })
	if why := a.Status().Withheld; !strings.Contains(why, "no difference was found in the list") {
		t.Error(why)
	}
	a.want(fill(t, l, "later", 3), 403)
	a.restart()
	a.want(l.Publish(), 403)
	if a.Ready() == nil || a.Status().State() != "wrong" || len(a.held()) > 0 {
		t.Errorf("ready %v, %+v", a.Ready(), a.Status())
	}
	a.close()
}

// A map that is beyond the state is made again: states of long ago for each revision would
// take far longer.
func TestAMapWithoutAStateIsMadeAnew(t *testing.T) {
	seen := &log.Checkpoint{}
	seen.Size = 1 << 20
	for _, c := range []struct {
		mapped, checked uint64
		seen            *log.Checkpoint
		want            bool
	}{
		{0, 0, nil, false},
		{0, 0, seen, false},
		{5, 5, seen, false},
		{0, 5, seen, false},
		{4, 5, seen, false},
		{5, 0, seen, true},
		{6, 5, seen, true},
		{5, 5, nil, true},
		{5, 1 << 21, seen, true},
		{1<<20 + 1, 1 << 20, seen, true},
	} {
		if why := anew(c.mapped, state{checked: c.checked}, c.seen); (why != "") != c.want {
			t.Errorf("%d in the map, %d compared: %q", c.mapped, c.checked, why)
		}
	}
}

// Revisions of old sizes cost an auditor nothing: one whose size is not larger than those
// before, or far behind, is refused without a state of its map that it had left.
func TestRevisionsOfOldSizesAreRefusedUncompared(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	var m index.Memory
	roots := make(map[uint64]index.Hash)
	n := uint64(0)
	add := func(leaf []byte) {
		m.Add(l.Add(leaf), leaf)
		n++
	}
	state := func(size uint64, root index.Hash) []byte {
		add(l.State(&statement.Revision{Origin: l.Origin(), Size: size, Root: root, MapVersion: index.MapVersion}))
		return l.Publish()
	}
	takeBack := func(size uint64) []byte {
		add(l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: index.MapVersion, Size: size}))
		return l.Publish()
	}
	s := logtest.Signer(t, "somebody")
	for i := range 40 {
		add(logtest.Leaf(t, s, logtest.Closure(fmt.Sprint(i))))
		roots[n] = m.Root()
	}
	for size := uint64(10); size <= 15; size++ {
		a.want(state(size, roots[size]), 200) // late, but one after the other
	}
	a.restart()
	for _, size := range []uint64{15, 14, 3} { // right, all of them
		a.want(state(size, roots[size]), 403)
		a.want(takeBack(15), 200)
	}
	if n := a.counts.revisions; n > 0 {
		t.Errorf("%d revisions were compared", n)
	}
	a.want(state(20, roots[20]), 200)
	a.want(takeBack(30), 200) // which the log need not have done
	a.want(state(25, roots[25]), 403)
	a.want(takeBack(30), 200)

	root := m.Root()
	for i := range maxBehind + 100 {
		add(fmt.Appendf(nil, "no statement %d", i))
	}
	a.gate(l.Publish()) // too many entries are missing
	a.until("the entries", func() bool { return a.checked() == n })
	far := n - maxBehind - 1
	late := state(far, root)
	a.want(late, 403)
	other := startAudit(t, l, nil) // whose map is not that large when it comes to it
	other.gate(late)
	other.until("the entries", func() bool { return other.checked() == n })
	other.want(late, 403)
	a.want(takeBack(far), 200)
	if n := a.counts.revisions; n > 1 {
		t.Errorf("%d revisions were compared, want 1", n)
	}
	a.restart()
	a.want(state(n-maxBehind, root), 200)
	if len(a.held()) > 0 {
		t.Error("evidence of what was right")
	}
}

// A log that shows a huge map, all of which hashes to its root, fills no memory.
func TestAHugeMapIsNotReadToItsEnd(t *testing.T) {
	defer func(n int) { maxParts = n }(maxParts)
	for _, c := range []struct {
		keys, parts int
		why         string
	}{{8000, maxParts, "too long"}, {3000, 5000, "too many parts"}} {
		maxParts = c.parts
		var m index.Memory
		var khs []index.Hash
		for i := range c.keys {
			khs = append(khs, index.KeyHash(fmt.Sprint(i)))
			m.Put(khs[i], index.Item{})
		}
		trie := m.Prove(khs)
		body, err := trie.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
		defer srv.Close()
		db, err := triedb.Open(t.TempDir(), "log.example/00000001", triedb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		view, err := db.View(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		x := &comparison{ctx: t.Context(), shown: &shownIndex{url: srv.URL, client: srv.Client()}}
		err = x.begin(trie.Hash())
		if err == nil {
			_, err = x.find(view)
		}
		if !errors.Is(err, errWithheld) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%d keys: %v", c.keys, err)
		}
	}
}

// A state may be about entries that it has not counted yet: without a checkpoint that
// holds them nothing is known of them.
func TestAStateBeyondWhatIsRememberedIsMadeAnew(t *testing.T) {
	l := logtest.New(t)
	fill(t, l, "a", 3)
	a := startAudit(t, l, nil)
	a.close()
	st := state{}
	st.add(wrong{at: 7, size: 5})
	write(t, a.file, string(st.marshal()))
	remove(t, a.o.Dir+"/checkpoints")
	a.open()
	if st := a.stateNow(); len(st.spans)+len(st.wrongs) > 0 {
		t.Errorf("%+v", st)
	}
	a.want(revise(l), 200)
}

// Evidence that is found while entries are read is not looked for again.
func TestWhatWasFoundMeanwhileIsNotLookedForAgain(t *testing.T) {
	a := startAudit(t, logtest.New(t), nil)
	a.stop() // nobody hunts
	before := state{checked: 9, wrongs: []wrong{{at: 5, size: 4}}}
	a.state = state{checked: 9} // it was found
	next := before.clone()
	next.checked = 12
	next.add(wrong{at: 11, size: 10})
	if err := a.advance(before, next, 3); err != nil {
		t.Fatal(err)
	}
	if st := a.stateNow(); len(st.wrongs) != 1 || st.wrongs[0].at != 11 || st.checked != 12 {
		t.Errorf("%+v", st)
	}
}

// A kill after the map was written leaves a state that knows of all revisions whose sizes
// the map has gone by: also where two of them were on their way to the log at once.
func TestAKillAfterTheMapWasWrittenRefusesNoHonestLog(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	var m index.Memory
	var revisions [][]byte
	s := logtest.Signer(t, "somebody")
	for i := range 30 {
		leaf := logtest.Leaf(t, s, logtest.Closure(fmt.Sprint(i)))
		m.Add(l.Add(leaf), leaf)
		if i == 9 || i == 19 {
			revisions = append(revisions, l.State(&statement.Revision{Origin: l.Origin(), Size: uint64(i + 1), Root: m.Root(), MapVersion: index.MapVersion}))
		}
	}
	a.want(l.Publish(), 200)
	a.restart() // with all that was read in the state
	for _, r := range revisions {
		l.Add(r)
	}
	note := l.Publish()
	a.want(note, 200)
	a.stop()
	a.stop = nil
	if err := a.db.Close(); err != nil { // the map is written, and what Close writes beside it is not
		t.Fatal(err)
	}
	a.open()
	a.want(note, 200)
	if n := a.counts.wrong; n > 0 {
		t.Errorf("%d revisions of an honest log are wrong", n)
	}
}

// A log of the largest leaves fills no more memory with what is fetched ahead.
func TestBatchesOfLargeLeavesAreSmall(t *testing.T) {
	l := logtest.New(t)
	const n, size = 200, 60_000
	for i := range n {
		l.Add(append(make([]byte, size), byte(i)))
	}
	a := startAudit(t, l, nil)
	a.want(l.Publish(), 200)
	next := uint64(0)
	for batch, err := range a.entries(t.Context(), a.target, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) > batchBytes/size+1 || batch[0].at != next {
			t.Errorf("%d entries from %d on at once, want from %d on", len(batch), batch[0].at, next)
		}
		next += uint64(len(batch))
	}
	if next != n {
		t.Errorf("%d entries, want %d", next, n)
	}
}

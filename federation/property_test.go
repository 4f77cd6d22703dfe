package federation_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// schedule is a random run of peers around logs.
type schedule struct {
	t      testing.TB
	r      *rand.Rand
	peers  []*peer
	urls   []string // of the peers
	clocks []time.Duration
}

func newSchedule(t testing.TB, seed uint64, n int, tiles func(i int) []string, l *logtest.Log) *schedule {
	s := &schedule{t: t, r: rand.New(rand.NewPCG(seed, 1)), clocks: make([]time.Duration, n)}
	for i := range n {
		p := newPeer(t, l.Policy(), tiles(i)...)
		p.o.Now = func() time.Time { return time.Now().Add(s.clocks[i]) }
		p.restart()
		s.peers = append(s.peers, p)
		s.urls = append(s.urls, serveLate(t, func() *federation.Hub { return p.Hub }))
	}
	return s
}

// disturb restarts a peer, sets its clock, or lets it ask another one.
func (s *schedule) disturb() {
	i := s.r.IntN(len(s.peers))
	p := s.peers[i]
	switch s.r.IntN(5) {
	case 0:
		p.restart()
	case 1:
		s.clocks[i] = time.Duration(s.r.IntN(3)-1) * 365 * 24 * time.Hour
	case 2:
		if err := p.Retry(s.t.Context()); err != nil {
			var fork *federation.ForkError
			if !errors.As(err, &fork) {
				s.t.Fatal(err)
			}
		}
	default:
		if err := pollError(p, federation.TargetPeer, s.urls[s.r.IntN(len(s.urls))]); err != nil {
			s.t.Fatal(err)
		}
	}
}

// accuse gives a peer what an honest log signed, put together as evidence against its index.
func (s *schedule) accuse(l *logtest.Log, notes, revisions [][]byte) {
	if len(notes) == 0 || len(revisions) == 0 {
		return
	}
	key, err := policy.ParseKey(l.VKey())
	if err != nil {
		s.t.Fatal(err)
	}
	some := func(all [][]byte) []byte { return all[s.r.IntN(len(all))] }
	x := &evidence.Index{Revisions: [][]byte{some(revisions), some(revisions)}}
	if s.r.IntN(2) == 0 {
		x = &evidence.Index{
			Revision: evidence.Included{Index: s.r.Uint64N(100), Leaf: some(revisions)}, Checkpoint: only(s.t, some(notes)),
			Path: evidence.Path{End: evidence.End{Kind: evidence.EndStub, Root: index.EmptyRoot}},
		}
	}
	e := &evidence.Evidence{Kind: evidence.KindIndex, Key: key, Index: x}
	if added, err := s.peers[s.r.IntN(len(s.peers))].AddEvidence(e.Marshal(), "test"); added || !errors.Is(err, evidence.ErrNotEvidence) {
		s.t.Fatalf("an honest index is accused: %v, %v\n%s", added, err, e.Marshal())
	}
}

// An honest log and honest witnesses, random order of everything, restarts,
// clocks a year off, mirrors that are stale, lie or are gone: never evidence.
func TestHonestLogNeverYieldsEvidence(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { honestRun(t, seed) })
	}
}

func honestRun(t *testing.T, seed uint64) {
	l := logtest.New(t, logtest.Witnesses(3, 2))
	stale, liar := logtest.New(t, logtest.Witnesses(3, 2)), logtest.New(t, logtest.Witnesses(3, 2))
	grow(liar, 0, 2000, "lie")
	s := newSchedule(t, seed, 3, func(i int) []string {
		return [][]string{{liar.URL(), l.URL()}, {stale.URL(), l.URL()}, {l.URL(), liar.URL()}}[i]
	}, l)
	var notes, revisions [][]byte
	size := 0
	for range 60 {
		switch s.r.IntN(8) {
		case 0, 1:
			l.SetTime(time.Now().Add(time.Duration(s.r.IntN(5)-2) * 200 * 24 * time.Hour))
			next := size + s.r.IntN(120)
			notes = append(notes, grow(l, size, next, "leaf"))
			size = next
		case 2:
			l.Lie(func(lies *logtest.Lies) { lies.NoTiles, lies.Down = s.r.IntN(2) == 0, s.r.IntN(4) == 0 })
		case 3:
			if have := int(stale.Size()); have < size {
				grow(stale, have, have+s.r.IntN(size-have), "leaf")
			}
		case 4:
			s.disturb()
		case 5:
			// The map of leaves without keys is empty, of whatever size.
			revisions = append(revisions, l.State(&statement.Revision{Origin: l.Origin(), Size: uint64(size + 1), Root: index.EmptyRoot, MapVersion: index.MapVersion + uint64(s.r.IntN(2))}))
		case 6:
			s.accuse(l, notes, revisions)
		}
		if len(notes) == 0 {
			continue
		}
		p := s.peers[s.r.IntN(len(s.peers))]
		note := notes[s.r.IntN(len(notes))]
		var some []string
		for _, w := range []string{"w1", "w2", "w3"} {
			if s.r.IntN(2) == 0 {
				some = append(some, w)
			}
		}
		out, err := p.offer(only(t, note, some...))
		if out == federation.Forked || out == federation.Refused || err != nil && !errors.Is(err, log.ErrUnproven) {
			t.Fatalf("%v, %v", out, err)
		}
	}
	// In the end everybody agrees.
	l.Lie(func(lies *logtest.Lies) { *lies = logtest.Lies{} })
	last := grow(l, size, size+1, "leaf")
	for _, p := range s.peers {
		p.holds()
		if _, err := p.offer(last); err != nil {
			t.Error(err)
		}
		p.holds()
		if p.Convicted(l.Origin()) || string(p.Latest(l.Origin())) == "" || p.size(p.Best(l.Origin())) != uint64(size+1) {
			t.Errorf("a peer is at %d of %d", p.size(p.Best(l.Origin())), size+1)
		}
		if p.counted("firn_peer_unproven") != 0 {
			t.Error("something still waits although all tiles are there")
		}
	}
}

// A log that forks: at every peer that saw both views, directly or by a peer,
// there is evidence, whatever the order.
func TestForkingLogYieldsEvidenceAtEveryPeer(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { forkRun(t, seed) })
	}
}

func forkRun(t *testing.T, seed uint64) {
	common := int(seed * 50)
	a, b := fork(t, common, logtest.Witnesses(3, 2))
	views := []*logtest.Log{a, b}
	s := newSchedule(t, seed, 4, func(i int) []string { return []string{views[i%2].URL()} }, a)
	sizes := []int{common, common}
	for range 20 {
		if s.r.IntN(3) == 0 {
			s.peers[s.r.IntN(4)].restart()
		}
		i := s.r.IntN(4) // each peer sees one view
		v := i % 2
		next := sizes[v] + 1 + s.r.IntN(100)
		note := grow(views[v], sizes[v], next, fmt.Sprint("view ", v))
		sizes[v] = next
		if out, err := s.peers[i].offer(note); out != federation.Larger {
			t.Fatalf("%v, %v", out, err)
		}
	}
	for i, p := range s.peers {
		p.holds() // nobody has seen both
		if p.Latest(a.Origin()) == nil {
			if _, err := p.offer(views[i%2].Publish()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Each asks the next one in a ring. In the first round at least one has the
	// tiles of the larger view; the next rounds carry its evidence around.
	for range len(s.peers) {
		for i, p := range s.peers {
			poll(t, p, federation.TargetPeer, s.urls[(i+1)%4])
		}
	}
	for i, p := range s.peers {
		all, err := p.Evidence()
		if err != nil || !p.Convicted(a.Origin()) || len(all) == 0 {
			t.Errorf("peer %d holds %d files, %v", i, len(all), err)
		}
		if files, err := filepath.Glob(filepath.Join(p.dir, "evidence", "*.firn-evidence")); err != nil || len(files) == 0 {
			t.Errorf("peer %d has no file", i)
		}
	}
}

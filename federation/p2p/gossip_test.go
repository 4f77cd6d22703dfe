package p2p_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/federation/p2p"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// A log shows 20 peers one history and another one to a single peer. That one is
// also the only one who can read the tiles that prove it.
func TestForkSeenByOneIsEvidenceAtAll(t *testing.T) {
	const honest = 20
	a, b := fork(t, 4)
	c := newClub(t, honest+1, a.Policy(), func(i int) []string {
		if i == honest {
			return []string{b.FileURL()}
		}
		return []string{a.FileURL()}
	}, nil)
	c.all()
	shown := grow(a, 4, 10, "for many")
	c.members[0].wants(federation.Larger, shown)
	for i, m := range c.members[:honest] {
		c.until(fmt.Sprintf("member %d has the checkpoint", i), func() bool { return bytes.Equal(m.Latest(a.Origin()), shown) })
	}
	// The one may have seen the first history by gossip as well: then this is a
	// fork at once. Either way it is visible to nobody else.
	start := time.Now()
	_, _ = c.members[honest].Offer(t.Context(), grow(b, 4, 12, "for one"), "the log")
	for i, m := range c.members {
		c.until(fmt.Sprintf("member %d holds evidence", i), func() bool { return m.convicts(a.Origin()) })
	}
	t.Logf("evidence at %d peers after %v", honest+1, time.Since(start))
}

func TestForkOfOneSizeNeedsNoTiles(t *testing.T) {
	a, b := fork(t, 2)
	c := newClub(t, 3, a.Policy(), func(int) []string { return nil }, nil)
	c.all()
	c.members[0].wants(federation.Larger, grow(a, 2, 5, "a"))
	_, _ = c.members[2].Offer(t.Context(), grow(b, 2, 5, "b"), "the log")
	for i, m := range c.members {
		c.until(fmt.Sprintf("member %d holds evidence", i), func() bool { return m.convicts(a.Origin()) })
	}
}

// Evidence against an index goes the way of all other, by messages and by exchange, and
// the checkpoints of its log go on being passed on.
func TestWrongIndexIsKnownToAll(t *testing.T) {
	l := logtest.New(t)
	c := newClub(t, 4, l.Policy(), func(int) []string { return []string{l.FileURL()} }, nil)
	for i := range 3 { // in a row
		c.start(i, func(j int) bool { return j == i-1 })
	}
	key, err := policy.ParseKey(l.VKey())
	if err != nil {
		t.Fatal(err)
	}
	wrong := func(size uint64) []byte {
		leaf := func(root byte) []byte {
			return l.State(&statement.Revision{Origin: l.Origin(), Size: size, Root: [32]byte{root}, MapVersion: 1})
		}
		e, err := fraud.FromRevisions(key, leaf(1), leaf(2))
		if err != nil {
			t.Fatal(err)
		}
		return e.Marshal()
	}
	holds := func(m *member, size uint64) func() bool {
		return func() bool {
			all, err := m.Evidence()
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(all, func(e federation.Evidence) bool { return e.Kind == evidence.KindIndex && e.Size == size })
		}
	}
	for size := uint64(1); size < 7; size++ { // the larger ones take the place of the smaller
		if added, err := c.members[0].AddEvidence(wrong(size), "test"); err != nil || !added {
			t.Fatal(added, err)
		}
	}
	for i, m := range c.members[:3] {
		c.until(fmt.Sprintf("member %d has the largest", i), holds(m, 6))
	}
	c.members[0].end() // what is told from now on the others tell
	late := c.start(3, func(j int) bool { return j == 2 })
	c.until("who comes late has it", holds(late, 6))
	note := grow(l, 0, 5, "leaf")
	c.members[1].wants(federation.Larger, note)
	for i, m := range c.members[1:] {
		c.until(fmt.Sprintf("member %d has the checkpoint", i+1), func() bool { return bytes.Equal(m.Latest(l.Origin()), note) })
		if m.Convicted(l.Origin()) {
			t.Errorf("member %d convicts the log", i+1)
		}
		for _, other := range c.members {
			if got := m.Score(other.key.ID()); got < 0 {
				t.Errorf("member %d scores an honest one with %v", i+1, got)
			}
		}
	}
}

// cable is a connection that can be pulled out.
type cable struct {
	t      testing.TB
	listen net.Listener
	target string
	plug   chan bool
	cut    chan struct{}
}

// newCable returns a multiaddr that leads to another one.
func newCable(t testing.TB, to string) (*cable, string) {
	t.Helper()
	parts := strings.Split(to, "/") // "", ip4, ADDRESS, tcp, PORT, p2p, ID
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &cable{t: t, listen: l, target: net.JoinHostPort(parts[2], parts[4]), plug: make(chan bool), cut: make(chan struct{})}
	go c.run()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return c, "/ip4/127.0.0.1/tcp/" + port + "/p2p/" + parts[6]
}

func (c *cable) run() {
	conns := make(chan net.Conn)
	go func() {
		defer close(conns)
		for {
			conn, err := c.listen.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	in := true
	var open []net.Conn
	for {
		select {
		case conn, ok := <-conns:
			if !ok {
				return
			}
			far, err := net.Dial("tcp", c.target)
			if !in || err != nil {
				conn.Close()
				continue
			}
			open = append(open, conn, far)
			go relay(conn, far)
			go relay(far, conn)
		case in = <-c.plug:
			if !in {
				for _, conn := range open {
					conn.Close()
				}
				open = nil
			}
		}
	}
}

func relay(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// Two halves of three peers each, joined by one cable.
func TestPartitionHeals(t *testing.T) {
	a, b := fork(t, 4, logtest.Witnesses(2, 2))
	var plug *cable
	var c *club
	c = newClub(t, 6, a.Policy(), func(i int) []string {
		if i < 3 {
			return []string{a.FileURL()}
		}
		return []string{b.FileURL()}
	}, func(i int, o *p2p.Options) {
		if i < 3 {
			return
		}
		// The others' half dials within itself and, the first of it, the cable.
		o.Peers = o.Peers[3:]
		addr := c.members[0].key.ID()
		if i == 3 {
			plug, addr = newCable(t, c.members[0].Addrs()[0])
			o.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
		}
		p, err := p2p.ParsePeer(addr)
		if err != nil {
			t.Fatal(err)
		}
		o.Peers = append(o.Peers, p)
	})
	for i := range c.members {
		c.start(i, func(j int) bool { return j < i && (i < 3) == (j < 3) })
	}
	joined := func() bool { return len(c.members[0].Connected()) == 3 }
	c.until("the halves are joined", joined)

	first := grow(a, 4, 6, "leaf")
	c.members[1].wants(federation.Larger, first)
	for i, m := range c.members {
		c.until(fmt.Sprintf("member %d has the first", i), func() bool { return bytes.Equal(m.Best(a.Origin()), first) })
	}

	plug.plug <- false
	c.until("the halves are apart", func() bool { return !joined() })
	grow(b, 4, 6, "leaf")
	here, there := grow(a, 6, 8, "leaf"), grow(b, 6, 11, "leaf")
	c.members[2].wants(federation.Larger, here)
	c.members[5].wants(federation.Larger, there)
	for i, m := range c.members {
		want := here
		if i >= 3 {
			want = there
		}
		c.until(fmt.Sprintf("member %d has its half's", i), func() bool { return bytes.Equal(m.Best(a.Origin()), want) })
	}

	// The tree of the far half is a continuation of the near one: its tiles can
	// be read now.
	grow(a, 8, 11, "leaf")
	plug.plug <- true
	for i, m := range c.members {
		c.until(fmt.Sprintf("member %d has the largest", i), func() bool { return sizeOf(t, m.Best(a.Origin())) == 11 })
		if m.convicts(a.Origin()) {
			t.Errorf("member %d holds evidence against an honest log", i)
		}
	}
}

// spoil returns a note whose nth signature is wrong.
func spoil(t testing.TB, note []byte, nth int) []byte {
	t.Helper()
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	sig := bytes.Clone(n.Signatures[nth].Sig)
	sig[len(sig)-1] ^= 1
	n.Signatures[nth].Sig = sig
	return n.Marshal()
}

func TestFloodOfBadMessagesIsGraylisted(t *testing.T) {
	s := newStranger(t)
	l := logtest.New(t)
	c := newClub(t, 3, l.Policy(), func(int) []string { return []string{l.FileURL()} }, func(i int, o *p2p.Options) {
		if i < 2 {
			o.Peers = append(o.Peers, s.admitted(t))
		}
	})
	c.all()
	m, other := c.members[0], c.members[1]
	for _, m := range c.members[:2] {
		if err := s.connect(t, m.Addrs()[0]); err != nil {
			t.Fatal(err)
		}
	}
	bad := spoil(t, grow(l, 0, 5, "leaf"), 0)
	for i := range 10000 {
		// Every message is another one: the text is, and so nothing is signed.
		publish1 := bytes.Replace(bad, []byte("\n5\n"), fmt.Appendf(nil, "\n%d\n", 6+i), 1)
		if i == 0 {
			publish(t, s.checkpoints, publish1)
		} else if err := s.checkpoints.Publish(t.Context(), publish1); err != nil {
			t.Fatal(err)
		}
		if i%2000 == 1999 {
			note := l.Publish()
			if i > 2000 {
				note = grow(l, int(l.Size()), int(l.Size())+1, "leaf")
			}
			start := time.Now()
			_, _ = c.members[2].Offer(t.Context(), note, "test")
			c.until("honest traffic arrives", func() bool { return bytes.Equal(m.Latest(l.Origin()), note) })
			t.Logf("after %d bad messages an honest one takes %v", i+1, time.Since(start))
		}
	}
	for _, m := range []*member{m, other} {
		c.until("the flooder is graylisted", func() bool { return len(m.Graylisted()) == 1 && m.Graylisted()[0] == s.host.ID().String() })
		if n := m.counted("messages_total", "reject"); n < 3 || n > 100 {
			t.Errorf("%v messages were judged, want a few: the rest is not looked at", n)
		}
		c.until("the flooder is out", func() bool { return len(m.Connected()) == 2 })
		if got := m.Score(c.members[2].key.ID()); got < 0 {
			t.Errorf("an honest peer has score %v", got)
		}
	}
	status := m.Status()
	if status.ID != m.key.ID() || status.Connected() != 2 || status.ShutOut() != 1 || len(status.Peers) != 3 || status.Rejected < 3 || status.Accepted == 0 {
		t.Errorf("status %+v", status)
	}
	if err := s.connect(t, m.Addrs()[0]); err == nil {
		c.until("the flooder does not come back", func() bool { return len(m.Connected()) == 2 })
	}
}

// What is not of a log that is followed is nobody's fault, and is looked at only
// so many times.
func TestFloodOfUnknownMessagesIsBounded(t *testing.T) {
	s := newStranger(t)
	l := logtest.New(t)
	c := newClub(t, 2, l.Policy(), func(int) []string { return []string{l.FileURL()} }, func(i int, o *p2p.Options) {
		if i == 0 {
			o.Peers = append(o.Peers, s.admitted(t))
		}
	})
	c.all()
	m := c.members[0]
	if err := s.connect(t, m.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	for i := range 10000 {
		data := fmt.Appendf(nil, "elsewhere.example/%d\n1\n", i)
		if i == 0 {
			publish(t, s.checkpoints, data)
		} else if err := s.checkpoints.Publish(t.Context(), data); err != nil {
			t.Fatal(err)
		}
	}
	c.until("most of it is surplus", func() bool { return m.counted("surplus_total", "messages") > 4000 })
	note := grow(l, 0, 3, "leaf")
	c.members[1].wants(federation.Larger, note)
	c.until("honest traffic arrives", func() bool { return bytes.Equal(m.Latest(l.Origin()), note) })
	if len(m.Graylisted()) > 0 {
		t.Errorf("graylisted %v for what others may know", m.Graylisted())
	}
}

func TestStrangersMayNotConnect(t *testing.T) {
	s := newStranger(t)
	l := logtest.New(t)
	c := newClub(t, 1, l.Policy(), func(int) []string { return nil }, nil)
	m := c.start(0, nil)
	_ = s.connect(t, m.Addrs()[0]) // the dialler may learn only afterwards
	c.until("the stranger is refused", func() bool { return m.counted("refused_connections_total", "unknown") > 0 })
	if got := m.Connected(); len(got) > 0 {
		t.Errorf("connected to %v", got)
	}
}

// A peer publishes one checkpoint of a log in a Pace, however many there are, and
// the last of them in the end.
func TestPublishingHasAPace(t *testing.T) {
	l := logtest.New(t)
	c := newClub(t, 2, l.Policy(), func(int) []string { return []string{l.FileURL()} }, func(_ int, o *p2p.Options) {
		o.Pace = time.Hour
	})
	c.all()
	m := c.members[0]
	for i := range 20 {
		m.wants(federation.Larger, grow(l, i, i+1, "leaf"))
	}
	c.until("the newest arrives by exchange", func() bool { return sizeOf(t, c.members[1].Latest(l.Origin())) == 20 })
	if got := m.counted("published_total"); got != 1 {
		t.Errorf("published %v messages, want 1", got)
	}
}

func TestStaleCheckpointsAreNotPassedOn(t *testing.T) {
	s := newStranger(t)
	l := logtest.New(t)
	c := newClub(t, 1, l.Policy(), func(int) []string { return []string{l.FileURL()} }, func(_ int, o *p2p.Options) {
		o.Peers = append(o.Peers, s.admitted(t))
	})
	m := c.start(0, nil)
	old, now := grow(l, 0, 3, "leaf"), grow(l, 3, 9, "leaf")
	m.wants(federation.Larger, now)
	if err := s.connect(t, m.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	publish(t, s.checkpoints, old)
	c.until("it is ignored", func() bool { return m.counted("messages_total", "ignore", "stale") == 1 })
	c.until("it is compared all the same", func() bool { return m.counted("offers_total", "stale") == 1 })
}

// An honest log and honest witnesses; peers that come and go, clocks that are
// years off, replayed checkpoints, mirrors that are behind: never evidence, and in
// the end everybody has the largest checkpoint.
func TestHonestLogNeverYieldsEvidence(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { honestSchedule(t, seed) })
	}
}

func honestSchedule(t *testing.T, seed uint64) {
	const peers = 5
	r := rand.New(rand.NewPCG(seed, 7))
	l := logtest.New(t, logtest.Witnesses(3, 2))
	behind := t.TempDir()
	clocks := make([]clock, peers)
	c := newClub(t, peers, l.Policy(), func(i int) []string {
		if i%2 == 1 {
			return []string{"file://" + behind, l.FileURL()}
		}
		return []string{l.FileURL()}
	}, func(i int, o *p2p.Options) { o.Now = clocks[i].now })
	up := make([]bool, peers)
	start := func(i int) {
		c.start(i, func(j int) bool { return up[j] })
		up[i] = true
	}
	for i := range peers {
		start(i)
	}
	shown := [][]byte{grow(l, 0, 1, "leaf")}
	for range 80 {
		i := r.IntN(peers)
		switch r.IntN(6) {
		case 0:
			if up[i] {
				c.members[i].end()
				up[i] = false
			} else {
				start(i)
			}
		case 1:
			clocks[i].mu.Lock()
			clocks[i].offset = time.Duration(r.IntN(3)-1) * 365 * 24 * time.Hour
			clocks[i].mu.Unlock()
		case 2:
			if r.IntN(4) == 0 {
				os.RemoveAll(behind)
				if err := os.CopyFS(behind, os.DirFS(l.Dir())); err != nil {
					t.Fatal(err)
				}
			}
		case 3: // replay
			_, _ = c.members[i].Offer(t.Context(), shown[r.IntN(len(shown))], "replay")
		default:
			n := int(l.Size())
			shown = append(shown, grow(l, n, n+1+r.IntN(9), "leaf"))
			_, _ = c.members[i].Offer(t.Context(), shown[len(shown)-1], "log")
		}
	}
	for i := range peers {
		if !up[i] {
			start(i)
		}
	}
	_, _ = c.members[0].Offer(t.Context(), shown[len(shown)-1], "log")
	for i, m := range c.members {
		c.until(fmt.Sprintf("member %d has the largest", i), func() bool { return sizeOf(t, m.Best(l.Origin())) == l.Size() })
		if all, err := m.Evidence(); err != nil || len(all) > 0 {
			t.Errorf("member %d holds %d pieces of evidence (%v)", i, len(all), err)
		}
		for j, other := range c.members {
			if got := m.Score(other.key.ID()); got < 0 {
				t.Errorf("member %d scores honest member %d with %v", i, j, got)
			}
		}
	}
}

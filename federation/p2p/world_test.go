package p2p_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/federation/p2p"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 60 * time.Second

// member is a peer: a hub of one log and a node on loopback.
type member struct {
	*federation.Hub
	*p2p.Node
	t        testing.TB
	key      *p2p.Key
	dir      string
	registry *prometheus.Registry
	stop     context.CancelFunc
	ended    chan struct{}
}

// club is peers that know of each other.
type club struct {
	t       testing.TB
	members []*member
	change  func(i int, o *p2p.Options)
}

// newClub makes n peers. tiles returns from where each reads the log; change may
// be nil.
func newClub(t testing.TB, n int, pol *policy.Policy, tiles func(i int) []string, change func(i int, o *p2p.Options)) *club {
	t.Helper()
	c := &club{t: t, change: change}
	for i := range n {
		key, _, err := p2p.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		m := &member{t: t, key: key, dir: t.TempDir()}
		o := federation.Options{
			Dir: filepath.Join(m.dir, "hub"), Evidence: evidence.NewStore(filepath.Join(m.dir, "evidence"), evidence.WithJudge(fraud.Judge)),
			Timeout: 5 * time.Second, Logger: words(t, fmt.Sprint("hub", i)),
		}
		for _, origin := range pol.Origins() {
			o.Logs = append(o.Logs, federation.Log{Policy: pol, Origin: origin, URLs: tiles(i)})
		}
		if m.Hub, err = federation.NewHub(o); err != nil {
			t.Fatal(err)
		}
		c.members = append(c.members, m)
	}
	return c
}

// words logs to stderr if FIRN_TEST_WORDS is set, so that a failure can be read.
func words(t testing.TB, who string) *slog.Logger {
	w := io.Discard
	if os.Getenv("FIRN_TEST_WORDS") != "" {
		w = os.Stderr
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})).With("who", who)
}

// start runs member i, who dials those before it that run and are in knows, and
// admits all members.
func (c *club) start(i int, knows func(j int) bool) *member {
	c.t.Helper()
	m := c.members[i]
	m.registry = prometheus.NewRegistry()
	o := p2p.Options{
		Hub: m.Hub, Key: m.key, Listen: []string{"/ip4/127.0.0.1/tcp/0"},
		Pace: 50 * time.Millisecond, AntiEntropy: 500 * time.Millisecond,
		Logger: words(c.t, fmt.Sprint("node", i)), Metrics: p2p.NewMetrics(m.registry),
	}
	for j, other := range c.members {
		if j == i {
			continue
		}
		at := other.key.ID()
		if other.Node != nil && knows(j) {
			at = other.Addrs()[0]
		}
		p, err := p2p.ParsePeer(at)
		if err != nil {
			c.t.Fatal(err)
		}
		o.Peers = append(o.Peers, p)
	}
	if c.change != nil {
		c.change(i, &o)
	}
	node, err := p2p.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m.Node, m.stop, m.ended = node, stop, make(chan struct{})
	go func() {
		defer close(m.ended)
		if err := node.Run(ctx); err != nil {
			c.t.Errorf("member %d: %v", i, err)
		}
	}()
	c.t.Cleanup(m.end)
	return m
}

// end stops a member; the hub stays.
func (m *member) end() {
	m.stop()
	<-m.ended
}

// all starts everybody and waits until all are connected with all.
func (c *club) all() {
	c.t.Helper()
	for i := range c.members {
		c.start(i, func(j int) bool { return j < i })
	}
	for i, m := range c.members {
		c.until(fmt.Sprintf("member %d is connected", i), func() bool { return len(m.Connected()) == len(c.members)-1 })
	}
}

// until waits for something that happens by itself.
func (c *club) until(what string, ok func() bool) {
	c.t.Helper()
	waitFor(c.t, what, ok)
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

func (m *member) wants(want federation.Outcome, note []byte) {
	m.t.Helper()
	if got, err := m.Offer(context.Background(), note, "test"); got != want {
		m.t.Fatalf("outcome %v (%v), want %v", got, err, want)
	}
}

func (m *member) convicts(origin string) bool {
	all, err := m.Evidence()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range all {
		if e.Kind == evidence.KindLog && e.Origin == origin {
			return true
		}
	}
	return false
}

// counted returns a counter or gauge, summed over all whose labels include these.
func (m *member) counted(name string, labels ...string) float64 {
	m.t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		m.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "firn_peer_gossip_"+name {
			continue
		}
		for _, x := range f.GetMetric() {
			text, all := []byte(x.String()), true
			for _, l := range labels {
				all = all && bytes.Contains(text, []byte(`"`+l+`"`))
			}
			if all {
				sum += x.GetCounter().GetValue() + x.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// grow adds leaves from to to-1 and publishes.
func grow(l *logtest.Log, from, to int, what string) []byte {
	for i := from; i < to; i++ {
		l.Add(fmt.Appendf(nil, "%s %d", what, i))
	}
	return l.Publish()
}

// fork returns two logs that are one log with two histories, which part at size
// common.
func fork(t testing.TB, common int, opts ...logtest.Option) (a, b *logtest.Log) {
	a, b = logtest.New(t, opts...), logtest.New(t, opts...)
	grow(a, 0, common, "leaf")
	grow(b, 0, common, "leaf")
	return a, b
}

func sizeOf(t testing.TB, note []byte) uint64 {
	if note == nil {
		return 0
	}
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	h, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		t.Fatal(err)
	}
	return h.Size
}

// clock is a clock that a test sets.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

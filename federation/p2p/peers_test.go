package p2p_test

import (
	"testing"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/federation/p2p"
	"github.com/firn-log/firn/log/logtest"
)

// Two hubs that nobody has told of each other before they run.
func TestPeersComeAndGoWhileANodeRuns(t *testing.T) {
	l := logtest.New(t)
	note := grow(l, 0, 3, "leaf")
	c := newClub(t, 2, l.Policy(), func(int) []string { return []string{l.FileURL()} }, func(_ int, o *p2p.Options) {
		o.Peers, o.Room = nil, 1
	})
	nobody := func(int) bool { return false }
	near, far := c.start(0, nobody), c.start(1, nobody)
	as := func(m *member, addrs ...string) []p2p.Peer {
		t.Helper()
		p, err := p2p.NewPeer(m.key.ID(), addrs)
		if err != nil {
			t.Fatal(err)
		}
		return []p2p.Peer{p}
	}
	set := func(m *member, list []p2p.Peer) {
		t.Helper()
		if err := m.SetPeers(list); err != nil {
			t.Fatal(err)
		}
	}
	at := near.Addrs()[0]
	at = at[:len(at)-len("/p2p/")-len(near.ID())]

	// Only one of them knows the other: it is refused.
	set(far, as(near, at))
	c.until("a stranger is refused", func() bool { return near.counted("refused_connections_total", "unknown") > 0 })
	if len(near.Connected()) > 0 {
		t.Error("it is connected")
	}
	set(near, as(far))
	c.until("both are connected", func() bool { return len(near.Connected()) == 1 && len(far.Connected()) == 1 })
	near.wants(federation.Larger, note)
	c.until("a checkpoint goes from one to the other", func() bool { return far.Latest(l.Origin()) != nil })
	set(near, as(far)) // the same again changes nothing
	if len(near.Connected()) != 1 {
		t.Error("it is disconnected")
	}

	set(near, nil)
	c.until("it is disconnected", func() bool { return len(near.Connected()) == 0 })
	before := near.counted("refused_connections_total", "unknown")
	c.until("and refused when it dials again", func() bool { return near.counted("refused_connections_total", "unknown") > before })
	set(near, as(far))
	c.until("it may come back", func() bool { return len(near.Connected()) == 1 })
}

func TestNoMorePeersThanThereIsRoomFor(t *testing.T) {
	l := logtest.New(t)
	c := newClub(t, 2, l.Policy(), func(int) []string { return nil }, func(_ int, o *p2p.Options) { o.Room = 2 })
	m := c.start(0, func(int) bool { return false })
	var list []p2p.Peer
	for range 3 {
		k, _, err := p2p.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		p, err := p2p.NewPeer(k.ID(), nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if err := m.SetPeers(list); err == nil {
		t.Error("three, where two have room")
	}
	// The node itself and those of the configuration take no room.
	for _, key := range []*p2p.Key{m.key, c.members[1].key} {
		p, err := p2p.NewPeer(key.ID(), nil)
		if err != nil {
			t.Fatal(err)
		}
		list[2] = p
		if err := m.SetPeers(list); err != nil {
			t.Error(err)
		}
	}
	if err := m.SetPeers(nil); err != nil {
		t.Error(err)
	}
	c.start(1, func(int) bool { return true })
	c.until("a peer of the configuration did not go with the others", func() bool { return len(m.Connected()) == 1 })
}

func TestAddressesThatNobodyCanDial(t *testing.T) {
	k, _, err := p2p.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, addrs := range [][]string{{"/ip4/192.0.2.1/udp/1/quic-v1"}, {"/nonsense"}, {"/"}, {"/ip4/192.0.2.1"}} {
		if p, err := p2p.NewPeer(k.ID(), addrs); err == nil {
			t.Errorf("%q: %v", addrs, p)
		}
	}
	if _, err := p2p.NewPeer(k.ID(), []string{"/ip4/192.0.2.1/udp/1/quic-v1", "/ip4/192.0.2.1/tcp/1"}); err != nil {
		t.Error(err)
	}
	if _, err := p2p.NewPeer("alice", nil); err == nil {
		t.Error("any word is a peer id")
	}
}

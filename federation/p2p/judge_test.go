package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// quiet is a node of one log that nobody is connected with.
func quiet(t testing.TB, l *logtest.Log, urls ...string) (*Node, *federation.Hub) {
	t.Helper()
	hub, err := federation.NewHub(federation.Options{
		Logs:     []federation.Log{{Policy: l.Policy(), Origin: l.Origin(), URLs: urls}},
		Evidence: evidence.NewStore(t.TempDir(), evidence.WithJudge(fraud.Judge)),
	})
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(Options{Hub: hub, Key: k})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, hub
}

func edit(t testing.TB, note []byte, change func(n *policy.Note)) []byte {
	t.Helper()
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	change(n)
	return n.Marshal()
}

func spoilt(sig []byte) []byte {
	sig = bytes.Clone(sig)
	sig[len(sig)-1] ^= 1
	return sig
}

func fill(l *logtest.Log, to int) []byte {
	for i := int(l.Size()); i < to; i++ {
		l.Add([]byte{byte(i), byte(i >> 8)})
	}
	return l.Publish()
}

// What each message to the checkpoint topic deserves, and whether the hub sees it.
func TestCheckpointVerdicts(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 1))
	old := fill(l, 3)
	held := fill(l, 5)
	good := fill(l, 8)
	l.SetTime(time.Now().Add(time.Hour))
	ahead := l.Publish()
	l.SetTime(time.Now())
	empty := l.Sign(policy.Head{Origin: l.Origin(), Root: sha256.Sum256(nil)})
	unknown := policy.Signature{Name: "who.example", ID: 7, Sig: bytes.Repeat([]byte{1}, 72)}
	other := logtest.New(t, logtest.OtherKey())
	tests := []struct {
		name  string
		data  []byte
		word  string
		why   string
		taken bool
	}{
		{"good", good, "accept", "new", true},
		{"the held one again", held, "accept", "new", true},
		{"fewer cosignatures", edit(t, good, func(n *policy.Note) { n.Signatures = n.Signatures[:1] }), "accept", "new", true},
		{"too large", append(bytes.Clone(good), make([]byte, MaxCheckpoint)...), "reject", "size", false},
		{"nothing", nil, "reject", "malformed", false},
		{"one line", []byte(l.Origin()), "reject", "malformed", false},
		{"cut off", good[:len(good)-9], "reject", "malformed", false},
		{"another log", []byte("elsewhere.example\n1\nx\n"), "ignore", "origin", false},
		{"spoilt log signature", edit(t, good, func(n *policy.Note) { n.Signatures[0].Sig = spoilt(n.Signatures[0].Sig) }), "reject", "signature", false},
		{"spoilt cosignature", edit(t, good, func(n *policy.Note) { n.Signatures[2].Sig = spoilt(n.Signatures[2].Sig) }), "reject", "signature", false},
		{"cosignatures only", edit(t, good, func(n *policy.Note) { n.Signatures = n.Signatures[1:] }), "ignore", "unsigned", false},
		{"another key of this log", fill(other, 9), "ignore", "unsigned", false},
		{"a signature that nobody here can check", edit(t, good, func(n *policy.Note) { n.Signatures = append(n.Signatures, unknown) }), "ignore", "unknown-signature", true},
		{"one signature twice", edit(t, good, func(n *policy.Note) { n.Signatures = append(n.Signatures, n.Signatures[1]) }), "ignore", "twice", false},
		{"cosigned in the future", ahead, "ignore", "future", true},
		{"older than the held one", old, "ignore", "stale", true},
		{"no entries", empty, "ignore", "empty", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, hub := quiet(t, l, l.FileURL())
			if _, err := hub.Offer(t.Context(), held, "test"); err != nil {
				t.Fatal(err)
			}
			got := n.judgeCheckpoint("someone", tt.data)
			if got.word() != tt.word || got.why != tt.why {
				t.Errorf("%s: %s, want %s: %s", got.word(), got.why, tt.word, tt.why)
			}
			if c := n.intakes[l.Origin()].next(); (c != nil) != tt.taken {
				t.Errorf("taken in: %v, want %v", c != nil, tt.taken)
			}
		})
	}
}

func TestSurplusCheckpointsAreIgnored(t *testing.T) {
	l := logtest.New(t)
	n, _ := quiet(t, l)
	now := time.Now()
	n.rates.now = func() time.Time { return now }
	words := func(from peer.ID, count int) (all []string) {
		for range count {
			v := n.judgeCheckpoint(from, fill(l, int(l.Size())+1))
			all = append(all, v.word()+" "+v.why)
		}
		return all
	}
	got := words("a", 20)
	want := strings.Repeat("accept new;", 16) + strings.Repeat("ignore surplus;", 4)
	if strings.Join(got, ";")+";" != want {
		t.Errorf("verdicts %q, want %q", got, want)
	}
	// Each has its own pace, and it comes back.
	if got := words("b", 1)[0]; got != "accept new" {
		t.Errorf("another peer: %s", got)
	}
	now = now.Add(time.Second)
	if got := words("a", 3); strings.Join(got, ";") != "accept new;accept new;ignore surplus" {
		t.Errorf("a second later: %q", got)
	}
	now = now.Add(-time.Hour)
	if got := words("a", 1)[0]; got != "ignore surplus" {
		t.Errorf("a clock that goes back gives: %s", got)
	}
	// The hub is never given more than a few at once.
	waiting := 0
	for n.intakes[l.Origin()].next() != nil {
		waiting++
	}
	if waiting != maxOfOne+1 {
		t.Errorf("%d checkpoints wait, want %d of one peer and 1 of the other", waiting, maxOfOne)
	}
}

func TestReplaysOfOldCheckpointsAreFew(t *testing.T) {
	l := logtest.New(t)
	var old [][]byte
	for i := range 12 {
		old = append(old, fill(l, i+1))
	}
	n, hub := quiet(t, l, l.FileURL())
	if _, err := hub.Offer(t.Context(), fill(l, 40), "test"); err != nil {
		t.Fatal(err)
	}
	for _, note := range old {
		if v := n.judgeCheckpoint("replayer", note); v.word() != "ignore" || v.why != "stale" {
			t.Errorf("%s: %s", v.word(), v.why)
		}
	}
	// A fresh one is compared before them.
	fresh := fill(l, 41)
	n.judgeCheckpoint("honest", fresh)
	in := n.intakes[l.Origin()]
	if c := in.next(); c == nil || !bytes.Equal(c.note, fresh) {
		t.Error("a fresh checkpoint waits behind stale ones")
	}
	waiting := 0
	for in.next() != nil {
		waiting++
	}
	if waiting != int(paceStale.burst) {
		t.Errorf("%d replayed checkpoints are compared, want %v", waiting, paceStale.burst)
	}
}

// proofOf returns evidence against l, made of two checkpoints of one size.
func proofOf(t testing.TB, l *logtest.Log, salt byte) []byte {
	t.Helper()
	sign := func(root byte) []byte {
		return l.Sign(policy.Head{Origin: l.Origin(), Size: 5, Root: [32]byte{root, salt}})
	}
	all, err := evidence.FromNotes(l.Policy(), sign(1), sign(2), [32]byte{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all[0].Marshal()
}

func TestEvidenceVerdicts(t *testing.T) {
	l := logtest.New(t)
	stranger := logtest.New(t, logtest.Origin("elsewhere.example/1"))
	good := proofOf(t, l, 0)
	lines := strings.SplitAfter(string(good), "\n")
	spoilt := good
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.HasPrefix(lines[i], "— ") {
			b := []byte(lines[i])
			if b[len(b)-8] == 'A' {
				b[len(b)-8] = 'B'
			} else {
				b[len(b)-8] = 'A'
			}
			lines[i] = string(b)
			spoilt = []byte(strings.Join(lines, ""))
			break
		}
	}
	tests := []struct {
		name, word, why string
		data            []byte
	}{
		{"good", "accept", "new", good},
		{"too large", "reject", "size", make([]byte, MaxEvidence+1)},
		{"nothing", "reject", "malformed", nil},
		{"a checkpoint", "reject", "malformed", fill(l, 2)},
		{"a spoilt signature", "reject", "convicts-nobody", spoilt},
		{"against a log that is not followed", "ignore", "unknown", proofOf(t, stranger, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, hub := quiet(t, l)
			got := n.judgeEvidence("someone", tt.data)
			if got.word() != tt.word || got.why != tt.why {
				t.Errorf("%s: %s, want %s: %s", got.word(), got.why, tt.word, tt.why)
			}
			if hub.Convicted(l.Origin()) != (tt.word == "accept") {
				t.Errorf("convicted: %v", hub.Convicted(l.Origin()))
			}
		})
	}
}

// However many forks a log has, a peer passes on a few.
func TestEvidenceIsPassedOnWhileItIsNews(t *testing.T) {
	l := logtest.New(t)
	n, hub := quiet(t, l)
	accepted := 0
	for i := range 20 {
		v := n.judgeEvidence("someone", proofOf(t, l, byte(i)))
		if v.word() == "accept" {
			accepted++
		} else if v.word() != "ignore" {
			t.Errorf("%s: %s", v.word(), v.why)
		}
	}
	if accepted != evidence.MaxHeld {
		t.Errorf("%d messages are passed on, want %d", accepted, evidence.MaxHeld)
	}
	if all, err := hub.Evidence(); err != nil || len(all) != evidence.MaxHeld {
		t.Errorf("%d pieces are held (%v)", len(all), err)
	}
}

func TestKeyIsPKCS8(t *testing.T) {
	k, text, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(text)
	if err != nil || again.ID() != k.ID() || !strings.HasPrefix(k.ID(), "12D3KooW") {
		t.Errorf("%v, %v", again, err)
	}
	if !bytes.Equal(mustRaw(t, again), mustRaw(t, k)) || len(mustRaw(t, k)) != ed25519.PrivateKeySize {
		t.Error("the key is another one after reading")
	}
	for _, bad := range []string{"", "PRIVATE+KEY+x", strings.Replace(text, "PRIVATE", "RSA PRIVATE", 2), text + text, text[:40]} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("read %q", bad)
		} else if strings.Contains(err.Error(), text[30:60]) {
			t.Errorf("the error holds the key: %v", err)
		}
	}
}

func mustRaw(t *testing.T, k *Key) []byte {
	t.Helper()
	raw, err := k.private.Raw()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestParsePeer(t *testing.T) {
	const id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
	for s, addrs := range map[string]int{
		id: 0, "/p2p/" + id: 0, "/ip4/192.0.2.1/tcp/8490/p2p/" + id: 1, "/dns/peer.example/tcp/1/p2p/" + id: 1, "/ip6/::1/tcp/1/p2p/" + id: 1,
	} {
		p, err := ParsePeer(s)
		if err != nil || p.ID() != id || len(p.addrs) != addrs {
			t.Errorf("%s: %v %v, %v", s, p.ID(), p.addrs, err)
		}
	}
	for _, s := range []string{"", "peer.example:8490", "/ip4/192.0.2.1/tcp/8490", "/ip4/192.0.2.1/udp/1/quic-v1/p2p/" + id, id[1:]} {
		if _, err := ParsePeer(s); err == nil {
			t.Errorf("read %q", s)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	l := logtest.New(t)
	n, hub := quiet(t, l)
	k := n.o.Key
	self, err := ParsePeer(k.ID())
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"no hub":          {Key: k},
		"no key":          {Hub: hub},
		"itself as peer":  {Hub: hub, Key: k, Peers: []Peer{self}},
		"too many peers":  {Hub: hub, Key: k, Peers: make([]Peer, MaxPeers+1)},
		"no address":      {Hub: hub, Key: k, Listen: []string{"127.0.0.1:1"}},
		"not TCP":         {Hub: hub, Key: k, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}},
		"not its address": {Hub: hub, Key: k, Listen: []string{"/ip4/192.0.2.1/tcp/1"}},
	} {
		if n, err := New(o); err == nil {
			n.Close()
			t.Errorf("%s: made a node", name)
		}
	}
}

func TestGateShutsOutForAWhile(t *testing.T) {
	now := time.Now()
	g := newGate(Options{Metrics: NewMetrics(nil), Now: func() time.Time { return now }})
	g.admit("a")
	if !g.allows("a") || g.allows("b") {
		t.Fatal("the gate does not go by the list")
	}
	if !g.shut("a") || g.shut("a") || g.allows("a") {
		t.Error("a peer that was shut out may connect")
	}
	now = now.Add(shutOut / 2)
	g.shut("a") // as the score says each second
	now = now.Add(shutOut / 2)
	if !g.allows("a") {
		t.Error("a peer stays shut out")
	}
	if params, _ := scoring(); params.RetainScore >= shutOut {
		t.Error("who may come back is shut out again for what it did before")
	}
	g.shut("b")
	if now = now.Add(2 * shutOut); g.allows("b") || len(g.until) != 1 {
		t.Error("strangers leave traces")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	n, _ := quiet(t, logtest.New(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err != nil {
		t.Error(err)
	}
}

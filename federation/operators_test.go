package federation_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

func peerID(t testing.TB) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n := new(big.Int).SetBytes(append([]byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}, pub...))
	var text []byte
	for digit := new(big.Int); n.Sign() > 0; {
		n.DivMod(n, big.NewInt(58), digit)
		text = append(text, alphabet[digit.Int64()])
	}
	slices.Reverse(text)
	return "1" + string(text)
}

// multi makes a peer that follows several logs under one policy, each at its own URL.
func multi(t testing.TB, logs ...*logtest.Log) *peer {
	t.Helper()
	var text strings.Builder
	for _, l := range logs {
		fmt.Fprintf(&text, "log %s %s\n", l.VKey(), l.URL())
	}
	text.WriteString("quorum none\n")
	pol, err := policy.Parse([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, pol)
	for i, l := range logs {
		p.o.Logs[i].URL, p.o.Logs[i].URLs = l.URL(), []string{l.URL()}
	}
	p.restart()
	return p
}

// follow makes what follows operators in a peer.
func (p *peer) follow(room int, ids ...statement.ID) *federation.Operators {
	p.t.Helper()
	o, err := federation.NewOperators(federation.OperatorsOptions{Hub: p.Hub, IDs: ids, Path: filepath.Join(p.dir, "operators.json"), Max: room})
	if err != nil {
		p.t.Fatal(err)
	}
	return o
}

func named(o *federation.Operators) []string {
	var all []string
	for _, x := range o.Peers() {
		all = append(all, x.ID+" "+strings.Join(x.Addrs, " "))
	}
	return all
}

func wantNamed(t testing.TB, what string, o *federation.Operators, want ...string) {
	t.Helper()
	if got := named(o); !slices.Equal(sorted(got), sorted(want)) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// registered is an operator in logs.
func registered(name string, logs ...*logtest.Log) *sample.Operator {
	op := sample.NewOperator(name, logs[0].Origin())
	say(op.Registration(), logs...)
	return op
}

func say(leaves [][]byte, logs ...*logtest.Log) {
	for _, l := range logs {
		for _, leaf := range leaves {
			l.Add(leaf)
		}
		l.Publish()
	}
}

func runs(op *sample.Operator, id string, addrs ...string) []byte {
	return op.People(&statement.Peer{OperatorID: op.ID, PeerID: id, Addrs: addrs})
}

func retracts(op *sample.Operator, id statement.ID) []byte {
	return op.People(&statement.Retract{OperatorID: op.ID, Statement: id, Reason: "a test"})
}

func idOf(t testing.TB, leaf []byte) statement.ID {
	t.Helper()
	s, err := statement.Parse(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID()
}

// signed is a statement about people by any key, after any other.
func signed(t testing.TB, s statement.Signer, body statement.Body, prev statement.ID) []byte {
	t.Helper()
	st, err := statement.Sign(t.Context(), s, body, "", &prev)
	if err != nil {
		t.Fatal(err)
	}
	return st.Leaf()
}

func TestPeersThatAnOperatorNamesAreFollowed(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 2))
	op := registered("alice", l)
	a, b := peerID(t), peerID(t)
	say([][]byte{runs(op, a, "/dns/a.example/tcp/8491")}, l)
	p := newPeer(t, l.Policy(), l.URL())
	p.o.Logs[0].URL = l.URL()
	p.restart()
	o := p.follow(10, op.ID)
	wantNamed(t, "before anything is read", o)
	o.Refresh(t.Context())
	wantNamed(t, "one peer", o, a+" /dns/a.example/tcp/8491")
	if p.size(p.Latest(l.Origin())) == 0 {
		t.Error("the checkpoint of the answer is not compared")
	}

	second := runs(op, b)
	say([][]byte{second, runs(op, a, "/ip4/192.0.2.1/tcp/1", "/dns/a.example/tcp/2")}, l)
	o.Refresh(t.Context())
	wantNamed(t, "the newest statement about each", o, a+" /ip4/192.0.2.1/tcp/1 /dns/a.example/tcp/2", b+" ")

	say([][]byte{retracts(op, idOf(t, second))}, l)
	o.Refresh(t.Context())
	wantNamed(t, "one is retracted", o, a+" /ip4/192.0.2.1/tcp/1 /dns/a.example/tcp/2")
	if got := p.counted("firn_peer_operator_peers"); got != 1 {
		t.Errorf("metrics: %v", got)
	}

	l.Lie(func(lies *logtest.Lies) { lies.Down = true })
	o.Refresh(t.Context())
	wantNamed(t, "the log is down", o, a+" /ip4/192.0.2.1/tcp/1 /dns/a.example/tcp/2")
	if st := o.Logs(); len(st) != 1 || st[0].Error == "" {
		t.Errorf("nothing is said of it: %+v", st)
	}
	p.restart()
	wantNamed(t, "after a restart, the log still down", p.follow(10, op.ID), a+" /ip4/192.0.2.1/tcp/1 /dns/a.example/tcp/2")
}

// What could not be written is written in the next round, although nothing is new then.
func TestWhatOperatorsSaidIsKeptInTheEnd(t *testing.T) {
	l := logtest.New(t)
	op := registered("alice", l)
	say([][]byte{runs(op, peerID(t))}, l)
	dir := filepath.Join(t.TempDir(), "gone")
	o, err := federation.NewOperators(federation.OperatorsOptions{Hub: multi(t, l).Hub, IDs: []statement.ID{op.ID}, Path: filepath.Join(dir, "operators.json"), Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	o.Refresh(t.Context())
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o.Refresh(t.Context())
	if _, err := os.Stat(filepath.Join(dir, "operators.json")); err != nil {
		t.Error(err)
	}
}

// What an answer holds counts although it is not all; and that is said.
func TestAnAnswerThatIsNotAllIsNamed(t *testing.T) {
	l := logtest.New(t)
	op := registered("alice", l)
	a := peerID(t)
	say([][]byte{runs(op, a)}, l)
	o := multi(t, l).follow(10, op.ID)
	o.Refresh(t.Context())
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
	b := peerID(t)
	say([][]byte{runs(op, b), l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 1, Size: l.Size()})}, l)
	o.Refresh(t.Context())
	wantNamed(t, "in the tail", o, a+" ", b+" ")
	if st := o.Logs(); !strings.Contains(st[0].Error, "has taken its index back") {
		t.Errorf("%+v", st)
	}
}

// The newest statement about a peer decides: if it is retracted, an older one does not
// come back.
func TestARetractedStatementBringsNothingBack(t *testing.T) {
	l := logtest.New(t)
	op := registered("alice", l)
	a := peerID(t)
	older, newest := runs(op, a, "/ip4/192.0.2.1/tcp/1"), runs(op, a, "/ip4/192.0.2.1/tcp/2")
	say([][]byte{older, newest, retracts(op, idOf(t, newest))}, l)
	o := multi(t, l).follow(10, op.ID)
	o.Refresh(t.Context())
	wantNamed(t, "retracted", o)
}

func TestStatementsThatNameNobody(t *testing.T) {
	addr := "/ip4/192.0.2.1/tcp/1"
	for name, leaves := range map[string]func(t *testing.T, op *sample.Operator, last statement.ID, id string) [][]byte{
		"of an operator that is not followed": func(_ *testing.T, op *sample.Operator, _ statement.ID, id string) [][]byte {
			other := sample.NewOperator("mallory", "log.example/0123abcd")
			return append(other.Registration(), runs(other, id, addr))
		},
		"in the name of the operator, by a stranger": func(t *testing.T, op *sample.Operator, last statement.ID, id string) [][]byte {
			return [][]byte{signed(t, sample.Signer("mallory"), &statement.Peer{OperatorID: op.ID, PeerID: id, Addrs: []string{addr}}, last)}
		},
		"by a build key": func(t *testing.T, op *sample.Operator, last statement.ID, id string) [][]byte {
			return [][]byte{signed(t, op.Build, &statement.Peer{OperatorID: op.ID, PeerID: id, Addrs: []string{addr}}, last)}
		},
		"with a spoilt signature": func(t *testing.T, op *sample.Operator, _ statement.ID, id string) [][]byte {
			leaf := runs(op, id, addr)
			leaf[len(leaf)-1] ^= 1
			return [][]byte{leaf}
		},
		"after a statement that nobody knows": func(t *testing.T, op *sample.Operator, _ statement.ID, id string) [][]byte {
			return [][]byte{signed(t, op.Identity, &statement.Peer{OperatorID: op.ID, PeerID: id, Addrs: []string{addr}}, statement.ID{1})}
		},
		"by an identity key that was revoked before": func(t *testing.T, op *sample.Operator, _ statement.ID, id string) [][]byte {
			thief := sample.Signer("thief")
			add := op.AddKey(thief, statement.RoleIdentity)
			revoke := op.Revoke(thief.PublicKey().ID())
			return [][]byte{add, revoke, signed(t, thief, &statement.Peer{OperatorID: op.ID, PeerID: id, Addrs: []string{addr}}, idOf(t, revoke))}
		},
		"by an identity key that was revoked later": func(t *testing.T, op *sample.Operator, _ statement.ID, id string) [][]byte {
			old := sample.Signer("old")
			add := op.AddKey(old, statement.RoleIdentity)
			peer := signed(t, old, &statement.Peer{OperatorID: op.ID, PeerID: id, Addrs: []string{addr}}, idOf(t, add))
			revoke := signed(t, op.Identity, &statement.KeyRevoke{
				OperatorID: op.ID, KeyID: old.PublicKey().ID(), Reason: statement.Rotated, Cuts: map[string]uint64{}, Elsewhere: statement.Keep,
			}, idOf(t, peer))
			return [][]byte{add, peer, revoke}
		},
		"behind a fork of the chain": func(t *testing.T, op *sample.Operator, last statement.ID, id string) [][]byte {
			one := signed(t, op.Identity, &statement.Peer{OperatorID: op.ID, PeerID: peerID(t), Addrs: []string{addr}}, last)
			return [][]byte{one, runs(op, id, addr)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := logtest.New(t)
			op := registered("alice", l)
			good := peerID(t)
			first := runs(op, good, addr)
			say([][]byte{first}, l)
			o := multi(t, l).follow(10, op.ID)
			o.Refresh(t.Context())
			wantNamed(t, "before", o, good+" "+addr)
			say(leaves(t, op, idOf(t, first), peerID(t)), l)
			o.Refresh(t.Context())
			if st := o.Logs(); st[0].Error != "" {
				t.Fatal(st[0].Error)
			}
			wantNamed(t, "after", o, good+" "+addr)
		})
	}
}

// Only an identity key can make a fork, behind which nothing counts.
func TestABuildKeyMakesNoFork(t *testing.T) {
	l := logtest.New(t)
	op := registered("alice", l)
	a, b := peerID(t), peerID(t)
	first := runs(op, a)
	say([][]byte{first}, l)
	say([][]byte{
		signed(t, op.Build, &statement.Peer{OperatorID: op.ID, PeerID: peerID(t)}, idOf(t, first)),
		signed(t, sample.Signer("mallory"), &statement.Peer{OperatorID: op.ID, PeerID: peerID(t)}, idOf(t, first)),
		runs(op, b),
	}, l)
	o := multi(t, l).follow(10, op.ID)
	o.Refresh(t.Context())
	wantNamed(t, "after both", o, a+" ", b+" ")
	if o.Status()[0].Forked {
		t.Error("they have made a fork")
	}
}

// A revocation counts in whichever log it is, and what was once read cannot be hidden.
func TestARevocationInAnotherLogCounts(t *testing.T) {
	home, other := logtest.New(t), logtest.New(t, logtest.Origin("other.example/00000001"))
	op := registered("alice", home, other)
	old, id := sample.Signer("old"), peerID(t)
	add := op.AddKey(old, statement.RoleIdentity)
	revoke := op.Revoke(old.PublicKey().ID())
	// A fork off the statement before: in the home log the revocation was first.
	peer := signed(t, old, &statement.Peer{OperatorID: op.ID, PeerID: id, Addrs: []string{"/ip4/192.0.2.1/tcp/1"}}, idOf(t, add))
	say([][]byte{add, peer}, other)
	p := multi(t, home, other)
	o := p.follow(10, op.ID)
	o.Refresh(t.Context())
	wantNamed(t, "while nobody knows better", o, id+" /ip4/192.0.2.1/tcp/1")
	say([][]byte{add, revoke}, home)
	o.Refresh(t.Context())
	wantNamed(t, "revoked in the home log", o)
	next := peerID(t)
	say([][]byte{runs(op, next)}, home) // the thief makes no fork, behind which this would not count
	o.Refresh(t.Context())
	wantNamed(t, "what the operator says after it", o, next+" ")
	home.Lie(func(lies *logtest.Lies) { lies.Omit = map[string]bool{"operator:" + op.ID.String(): true} })
	o.Refresh(t.Context())
	wantNamed(t, "the home log hides it", o, next+" ")
	home.Lie(func(lies *logtest.Lies) { lies.Down = true })
	p.restart()
	o = p.follow(10, op.ID)
	o.Refresh(t.Context())
	wantNamed(t, "after a restart", o, next+" ")
}

// What a log answers counts only under a checkpoint of the history that everybody sees.
func TestAnotherHistoryNamesNobody(t *testing.T) {
	for name, size := range map[string]int{"smaller, so it is a fork": 30, "larger, and its tiles are nowhere": 11} {
		t.Run(name, func(t *testing.T) {
			a, b := fork(t, 10)
			op := registered("alice", b)
			say([][]byte{runs(op, peerID(t), "/ip4/192.0.2.1/tcp/1")}, b)
			p := newPeer(t, a.Policy(), a.URL())
			p.o.Logs[0].URL = b.URL()
			p.restart()
			o := p.follow(10, op.ID)
			p.wants(federation.Larger, grow(a, 10, size, "a"))
			for range 2 { // the second time its text is known
				o.Refresh(t.Context())
				wantNamed(t, "another history", o)
				if st := o.Logs(); st[0].Error == "" {
					t.Error("nothing is said of it")
				}
			}
		})
	}
}

func TestWithoutAQuorumNobodyIsNamed(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 2))
	op := registered("alice", l)
	say([][]byte{runs(op, peerID(t), "/ip4/192.0.2.1/tcp/1")}, l)
	p := newPeer(t, l.Policy(), l.URL())
	p.o.Logs[0].URL = l.URL()
	p.restart()
	o := p.follow(10, op.ID)
	note := l.Publish()
	l.Lie(func(lies *logtest.Lies) { lies.Checkpoint = only(t, note, "w1") })
	o.Refresh(t.Context())
	wantNamed(t, "one of two witnesses", o)
}

func TestNeverMorePeersThanABound(t *testing.T) {
	l := logtest.New(t)
	alice, bob := registered("alice", l), registered("bob", l)
	var ids []string
	for range 20 {
		ids = append(ids, peerID(t))
		say([][]byte{runs(alice, ids[len(ids)-1])}, l)
	}
	bobs := peerID(t)
	say([][]byte{runs(bob, bobs)}, l)
	p := multi(t, l)
	o := p.follow(100, alice.ID, bob.ID)
	o.Refresh(t.Context())
	got := o.Peers()
	if len(got) != 17 || got[0].ID != ids[19] || got[15].ID != ids[4] || got[16].ID != bobs {
		t.Errorf("%d peers: %v", len(got), named(o))
	}
	if st := o.Status(); len(st) != 2 || st[0].Left != 4 || st[0].Name != "alice" {
		t.Errorf("%+v", st)
	}
	o = p.follow(5, alice.ID, bob.ID)
	o.Refresh(t.Context())
	if got := o.Peers(); len(got) != 5 {
		t.Errorf("%d peers, where 5 have room", len(got))
	}
}

// What two operators say of one peer is taken together: neither can take it away.
func TestTwoOperatorsOfOnePeer(t *testing.T) {
	l := logtest.New(t)
	alice, bob := registered("alice", l), registered("bob", l)
	id := peerID(t)
	wrong := runs(bob, id, "/ip4/203.0.113.9/tcp/9")
	say([][]byte{wrong, runs(alice, id, "/ip4/192.0.2.1/tcp/1")}, l)
	o := multi(t, l).follow(10, bob.ID, alice.ID)
	o.Refresh(t.Context())
	wantNamed(t, "both", o, id+" /ip4/203.0.113.9/tcp/9 /ip4/192.0.2.1/tcp/1")
	say([][]byte{retracts(bob, idOf(t, wrong))}, l)
	o.Refresh(t.Context())
	wantNamed(t, "one", o, id+" /ip4/192.0.2.1/tcp/1")
}

// Rounds go on by themselves, and who listens is told of changes only.
func TestOperatorsAreAskedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := logtest.New(t)
		op := registered("alice", l)
		pol, err := policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n"))
		if err != nil {
			t.Fatal(err)
		}
		hub, err := federation.NewHub(federation.Options{
			Logs: []federation.Log{{Policy: pol, Origin: l.Origin(), URL: "http://log.example", URLs: []string{"http://log.example"}}}, Evidence: newPeer(t, pol).o.Evidence,
			HTTP: &http.Client{Transport: within{l.Handler()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var told [][]federation.OperatorPeer
		o, err := federation.NewOperators(federation.OperatorsOptions{
			Hub: hub, IDs: []statement.ID{op.ID}, Max: 10, Changed: func(all []federation.OperatorPeer) { told = append(told, all) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); o.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(told) != 1 || len(told[0]) != 0 {
			t.Errorf("told %v", told)
		}
		say([][]byte{runs(op, peerID(t))}, l)
		time.Sleep(2 * federation.DefaultOperatorsInterval)
		stop()
		<-done
		if len(told) != 2 || len(told[1]) != 1 {
			t.Errorf("told %v", told)
		}
	})
}

// within answers requests without a network.
type within struct{ http.Handler }

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w.ServeHTTP(rec, r)
	return rec.Result(), nil
}

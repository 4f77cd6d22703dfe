package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

// edit replaces a text in the configuration of a peer.
func edit(t *testing.T, dir, old, text string) {
	t.Helper()
	file := filepath.Join(dir, configName)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := strings.Replace(string(b), old, text, 1)
	if out == string(b) {
		t.Fatalf("no %s in\n%s", old, b)
	}
	if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Two peers that know an operator and nothing of each other.
func TestTwoPeersFindEachOtherByAStatement(t *testing.T) {
	l := logtest.New(t)
	op := sample.NewOperator("alice", l.Origin())
	add := func(leaves ...[]byte) {
		for _, leaf := range leaves {
			l.Add(leaf)
		}
		l.Publish()
	}
	add(op.Registration()...)
	peer := func() (dir, id string) {
		dir = made(t, "--policy", policyFile(t, l), "--p2p-listen", "/ip4/127.0.0.1/tcp/0", "--p2p-operator", op.ID.String())
		edit(t, dir, "operators-interval = '5m0s'", "operators-interval = '1s'")
		return dir, command(t, "id", dir)
	}
	nearDir, nearID := peer()
	farDir, farID := peer()
	near, far := start(t, nearDir), start(t, farDir)
	_, rest, _ := strings.Cut(near.until(t, "msg=gossiping"), "/ip4/127.0.0.1/tcp/")
	port, _, _ := strings.Cut(rest, "/")
	// The far one only dials; the near one is where it says.
	says := &statement.Peer{OperatorID: op.ID, PeerID: nearID, Addrs: []string{"/ip4/127.0.0.1/tcp/" + port}}
	last := op.People(says)
	add(op.People(&statement.Peer{OperatorID: op.ID, PeerID: farID}))
	add(last)
	for _, p := range []*program{near, far} {
		eventually(t, "they are connected", func() bool {
			return strings.Contains(get(t, p.url+"/metrics"), "firn_peer_gossip_peers 1\n")
		})
		page := get(t, p.url+"/")
		for _, want := range []string{"alice", nearID, farID} {
			if !strings.Contains(page, want) {
				t.Errorf("the status page does not name %s", want)
			}
		}
	}
	s, err := statement.Parse(last)
	if err != nil {
		t.Fatal(err)
	}
	add(op.People(&statement.Retract{OperatorID: op.ID, Statement: s.ID(), Reason: "a test"}))
	eventually(t, "they part", func() bool {
		return strings.Contains(get(t, far.url+"/metrics"), "firn_peer_gossip_peers 0\n")
	})
}

// A log forks before the eyes of a peer, and the evidence is in the other log.
func TestEvidenceIsInTheOtherLogByItself(t *testing.T) {
	bad, good := logtest.New(t, logtest.Origin("bad.example/00000001")), logtest.New(t)
	grow(bad, 0, 7, "leaf")
	grow(good, 0, 7, "leaf")
	dir := made(t, "--policy", policyFile(t, bad), "--policy", policyFile(t, good))
	p := start(t, dir)
	eventually(t, "both are known", func() bool {
		resp, err := http.Get(p.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	other := bad.Sign(policy.Head{Origin: bad.Origin(), Size: 7, Root: [32]byte{1}})
	bad.Lie(func(lies *logtest.Lies) { lies.Checkpoint = other })
	eventually(t, "the metrics say so", func() bool {
		return strings.Contains(get(t, p.url+"/metrics"), `firn_peer_submissions_total{origin="`+good.Origin()+`",outcome="accepted"} 1`)
	})
	if page := get(t, p.url+"/"); !strings.Contains(page, "Submitted to all logs") {
		t.Error("the status page does not say so")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "submitted.json")); err != nil || !strings.Contains(string(b), good.Origin()) {
		t.Errorf("%s %v", b, err)
	}
}

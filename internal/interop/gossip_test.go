package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A gossiper is a firn-peer on a host of its own that knows others over libp2p
// alone.
type gossiper struct {
	host, address, dir, id string
}

// newGossiper makes a host with a peer that follows the log at url; if that is "",
// nobody tells it where the log is. It is not started.
func (n *network) newGossiper(l *firnLog, host, url string) *gossiper {
	n.t.Helper()
	g := &gossiper{host: host, address: n.host(host), dir: filepath.Join(n.t.TempDir(), host)}
	policy := write(n.t, "watch.policy", strings.TrimSpace("log "+l.vkey+" "+url)+"\nquorum none\n")
	g.id = strings.TrimSpace(run(n.t, ours(n.t, "firn-peer"), "init", "--name", host, "--listen", g.address+":8490", "--policy", policy,
		"--p2p-listen", "/ip4/"+g.address+"/tcp/8491", g.dir))
	return g
}

// serve lets the others in, and starts the peer.
func (n *network) serve(g *gossiper, others ...*gossiper) {
	n.t.Helper()
	var peers []string
	for _, o := range others {
		if o != g {
			peers = append(peers, fmt.Sprintf("'/ip4/%s/tcp/8491/p2p/%s'", o.address, o.id))
		}
	}
	config := filepath.Join(g.dir, "firn-peer.toml")
	b, err := os.ReadFile(config)
	if err != nil {
		n.t.Fatal(err)
	}
	for pattern, line := range map[string]string{
		`(?m)^interval = .*$`:     "interval = '200ms'",
		`(?m)^anti-entropy = .*$`: "anti-entropy = '1s'",
		`(?m)^peers = .*$`:        "peers = [" + strings.Join(peers, ", ") + "]",
	} {
		re := regexp.MustCompile(pattern)
		if !re.Match(b) {
			n.t.Fatalf("firn-peer.toml has no line %s:\n%s", pattern, b)
		}
		b = re.ReplaceAll(b, []byte(line))
	}
	if err := os.WriteFile(config, b, 0o644); err != nil {
		n.t.Fatal(err)
	}
	n.start(g.host, ours(n.t, "firn-peer"), "serve", g.dir).hears(n.t, address)
}

// latest returns the checkpoint that a peer shows on its own host.
func (n *network) latest(g *gossiper, l *firnLog) (string, error) {
	origin, _, _ := strings.Cut(l.vkey, "+")
	args := append(n.at(g.host), "curl", "-fsS", "--max-time", "5",
		strings.TrimSuffix(monitoringURL("http://"+g.address+":8490/", origin), "checkpoint")+"latest")
	return try(args[0], args[1:]...)
}

func (g *gossiper) evidence() ([]string, error) { return files(g.dir, "evidence/*.firn-evidence") }

// Peers that know each other over libp2p alone, with a fifth of the packets
// lost: one is cut off from the start, and one sees another history of the log where
// it is cut off. With the cable back the first has the checkpoint, and after the
// second is back all have the evidence.
func TestGossipCrossesAHealedPartition(t *testing.T) {
	n := newNetwork(t)
	l := initLog(t)
	l.policy = write(t, "log.policy", "log "+l.vkey+"\nquorum none\n")
	l.url = "http://" + n.host("log") + ":8470"
	l.readers = n.at("log")
	serve := func(host, at, dir string, more ...string) {
		t.Helper()
		n.start(host, ours(t, "firn-log"), append([]string{"serve", "--listen", at}, append(more, dir)...)...).hears(t, address)
	}
	fork := &firnLog{home: t.TempDir(), dir: filepath.Join(l.home, "fork"), vkey: l.vkey, url: "http://127.0.0.1:8470", readers: n.at("log"), policy: l.policy}
	run(t, "cp", "-a", l.dir, fork.dir)

	near := n.newGossiper(l, "near", l.url)
	far := n.newGossiper(l, "far", "")
	fooled := n.newGossiper(l, "fooled", fork.url)
	all := []*gossiper{near, far, fooled}
	fork.readers = n.at("fooled")
	n.cut("far", "fooled")
	n.lose("near", "far", "fooled")
	serve("log", strings.TrimPrefix(l.url, "http://"), l.dir)
	serve("fooled", "127.0.0.1:8470", fork.dir, "--no-witness-check")
	l.awaitCheckpoint(t)
	fork.awaitCheckpoint(t)
	l.register(t, "in-the-log", "30s")
	fork.register(t, "in-the-fork", "30s")

	shown := func(g *gossiper) string {
		t.Helper()
		var note string
		eventually(t, "what "+g.host+" has seen", func() (err error) { note, err = n.latest(g, l); return err })
		return note
	}
	// Each is started just before its cable is back: the longer a peer has not been
	// reached, the later it is tried again.
	n.serve(near, all...)
	n.serve(far, all...)
	shown(near)
	if note, err := n.latest(far, l); err == nil {
		t.Fatalf("who is cut off and knows no log has seen %s", note)
	}

	n.heal("far")
	eventually(t, "the checkpoint is where nobody told of the log", func() error {
		note, err := n.latest(far, l)
		if want := shown(near); err == nil && note != want {
			err = fmt.Errorf("it has %q, want %q", note, want)
		}
		return err
	})
	n.serve(fooled, all...)
	if note := shown(near); note == shown(fooled) {
		t.Fatalf("there is one history only: %s", note)
	}
	for _, g := range all {
		if found, err := g.evidence(); err == nil {
			t.Fatalf("%s has evidence before the two sides could meet: %v", g.host, found)
		}
	}

	n.heal("fooled")
	for _, g := range all {
		var found []string
		eventually(t, "evidence at "+g.host, func() (err error) { found, err = g.evidence(); return err })
		if out := run(t, ours(t, "firn"), "evidence", "verify", slices.Min(found), "--log-policy", l.policy); !strings.Contains(out, "has signed two histories") {
			t.Errorf("the evidence at %s says %q", g.host, out)
		}
	}
}

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// startPeer makes a firn-peer on a host that finds the log at url, asks the
// peer other, and starts it. It returns its folder.
func (n *network) startPeer(l *firnLog, host, at, url, other string) string {
	n.t.Helper()
	text, err := os.ReadFile(l.policy)
	if err != nil {
		n.t.Fatal(err)
	}
	dir := filepath.Join(n.t.TempDir(), host)
	policy := write(n.t, "watch.policy", strings.Replace(string(text), "log "+l.vkey, "log "+l.vkey+" "+url, 1))
	run(n.t, ours(n.t, "firn-peer"), "init", "--name", host, "--listen", at, "--policy", policy, "--peer", other, dir)
	config := filepath.Join(dir, "firn-peer.toml")
	b, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, []byte(strings.Replace(string(b), "interval = '10s'", "interval = '200ms'", 1)), 0o644)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.start(host, ours(n.t, "firn-peer"), "serve", dir).hears(n.t, address)
	return dir
}

// files returns the files that match below a folder, or an error if there are none.
func files(dir, pattern string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s has no %s", dir, pattern)
	}
	return found, err
}

// A log shows one history to the world and, where the cable is cut, another to a
// peer. Neither side can know. When the cable is back, both have the evidence,
// and it convicts the log offline.
func TestForkInAPartitionIsFoundWhenItHeals(t *testing.T) {
	n, l := spread(t)
	l.register(t, "before-the-fork", "30s")
	p1, p2 := n.host("p1")+":8490", n.host("p2")+":8490"

	fork := &firnLog{home: l.home, dir: filepath.Join(l.home, "fork"), vkey: l.vkey, url: "http://127.0.0.1:8470", readers: n.at("p2")}
	run(t, "cp", "-a", l.dir, fork.dir)
	fork.set(t, "[witnessing]", "policy", "")
	fork.policy = write(t, "no-witness.policy", "log "+l.vkey+"\nquorum none\n")
	n.cut("p2")
	n.start("p2", ours(t, "firn-log"), "serve", "--no-witness-check", "--listen", "127.0.0.1:8470", fork.dir).hears(t, address)
	fork.home = t.TempDir() // another state folder: its readers have seen nothing else
	fork.awaitCheckpoint(t)
	fork.register(t, "only-in-the-fork", "30s")
	l.register(t, "only-in-the-log", "30s")

	dirs := []string{
		n.startPeer(l, "p1", p1, l.url, "http://"+p2),
		n.startPeer(l, "p2", p2, fork.url, "http://"+p1),
	}
	for _, dir := range dirs {
		eventually(t, "what the peer has seen", func() error { _, err := files(dir, "hub/*.json"); return err })
		if found, err := files(dir, "evidence/*.firn-evidence"); err == nil {
			t.Fatalf("evidence before the two sides could meet: %v", found)
		}
	}
	n.heal("p2")
	for _, dir := range dirs {
		var found []string
		eventually(t, "evidence", func() (err error) { found, err = files(dir, "evidence/*.firn-evidence"); return err })
		out := run(t, ours(t, "firn"), "evidence", "verify", slices.Min(found), "--log-policy", l.policy)
		if !strings.Contains(out, "has signed two histories") {
			t.Errorf("the evidence says %q", out)
		}
	}
}

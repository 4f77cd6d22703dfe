package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// A network is hosts, each a network namespace of its own, around one switch.
type network struct {
	t      *testing.T
	prefix string
	hosts  int
}

// newNetwork makes the switch. Everything is removed when the test ends.
func newNetwork(t *testing.T) *network {
	t.Helper()
	testreq.Command(t, "netns", "ip")
	testreq.Command(t, "netns", "tc")
	n := &network{t: t, prefix: "firn" + strconv.Itoa(os.Getpid())}
	if err := n.add("switch"); err != nil {
		testreq.Missing(t, "netns", err.Error())
	}
	n.ip("switch", "link", "add", "name", "bridge", "type", "bridge")
	n.ip("switch", "link", "set", "bridge", "up")
	return n
}

func (n *network) namespace(host string) string { return n.prefix + "-" + host }

// add adds a namespace.
func (n *network) add(host string) error {
	n.t.Cleanup(func() { _, _ = try("ip", "netns", "del", n.namespace(host)) })
	_, err := try("ip", "netns", "add", n.namespace(host))
	return err
}

// ip runs ip in the namespace of a host.
func (n *network) ip(host string, args ...string) {
	n.t.Helper()
	run(n.t, "ip", append([]string{"-n", n.namespace(host)}, args...)...)
}

// host makes a host and returns its address.
func (n *network) host(name string) string {
	n.t.Helper()
	if err := n.add(name); err != nil {
		n.t.Fatal(err)
	}
	n.hosts++
	address := "10.77.0." + strconv.Itoa(n.hosts)
	n.ip("switch", "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", n.namespace(name))
	n.ip("switch", "link", "set", "dev", name, "master", "bridge", "up")
	n.ip(name, "address", "add", address+"/24", "dev", "eth0")
	n.ip(name, "link", "set", "eth0", "up")
	n.ip(name, "link", "set", "lo", "up")
	return address
}

// at is the command that runs a command on a host.
func (n *network) at(host string) []string {
	return []string{"ip", "netns", "exec", n.namespace(host)}
}

// start starts a program on a host.
func (n *network) start(host, program string, args ...string) *process {
	n.t.Helper()
	all := slices.Concat(n.at(host), []string{program}, args)
	return start(n.t, all[0], all[1:]...)
}

// cut pulls the cable of a host out of the switch; heal puts it back.
func (n *network) cut(hosts ...string) {
	n.t.Helper()
	for _, h := range hosts {
		n.ip("switch", "link", "set", "dev", h, "down")
	}
}

func (n *network) heal(hosts ...string) {
	n.t.Helper()
	for _, h := range hosts {
		n.ip("switch", "link", "set", "dev", h, "up")
	}
}

// lose makes the switch lose a fifth of the packets to each host. The program,
// for a kernel without netem, is: load a random number; if it is at least four
// fifths of 2³², drop; else let pass.
func (n *network) lose(hosts ...string) {
	n.t.Helper()
	for _, h := range hosts {
		in := n.at("switch")
		netem := append(slices.Clone(in), "tc", "qdisc", "add", "dev", h, "root", "netem", "loss", "20%")
		if _, err := try(netem[0], netem[1:]...); err == nil {
			continue
		}
		run(n.t, in[0], append(in[1:], "tc", "qdisc", "add", "dev", h, "clsact")...)
		filter := append(slices.Clone(in), "tc", "filter", "add", "dev", h, "egress", "bpf", "da",
			"bytecode", "4,32 0 0 4294963256,53 0 1 3435973836,6 0 0 2,6 0 0 0")
		if _, err := try(filter[0], filter[1:]...); err != nil {
			testreq.Missing(n.t, "netns", "this kernel can lose packets neither with netem nor with a filter: "+err.Error())
		}
	}
}

// spread makes a log under a 2-of-3 quorum whose log, witnesses and readers are
// on hosts of their own: log, w1, w2, w3 and reader.
func spread(t *testing.T) (*network, *firnLog) {
	t.Helper()
	n := newNetwork(t)
	l := initLog(t)
	var lines []string
	for _, name := range []string{"w1", "w2", "w3"} {
		dir, at := filepath.Join(t.TempDir(), name), n.host(name)+":8480"
		vkey := strings.TrimSpace(run(t, ours(t, "firn-witness"), "init", "--name", "witness.example/"+name, "--listen", at, "--log", l.vkey, dir))
		n.start(name, ours(t, "firn-witness"), "serve", dir).hears(t, address)
		lines = append(lines, fmt.Sprintf("witness %s %s http://%s/\n", name, vkey, at))
	}
	l.configure(t, 2, lines...)
	l.set(t, "[witnessing]", "timeout", "1s")
	l.url = "http://" + n.host("log") + ":8470"
	n.host("reader")
	l.readers = n.at("reader")
	l.process = n.start("log", ours(t, "firn-log"), "serve", "--listen", strings.TrimPrefix(l.url, "http://"), l.dir)
	l.awaitCheckpoint(t)
	return n, l
}

// mustProve checks that everything that was acknowledged is proven to readers.
func (l *firnLog) mustProve(t *testing.T, all []*sent) {
	t.Helper()
	proof := filepath.Join(l.home, "one.tlog-proof")
	for _, s := range all {
		for _, st := range s.Statements {
			eventually(t, fmt.Sprintf("entry %d, acknowledged", st.Index), func() error {
				_, err := l.firn(t, "log", "prove", st.ID, "--wait", "5s", "--output", proof)
				return err
			})
		}
	}
}

// A witness is lost, then the quorum, then the readers; each comes back.
// Nothing acknowledged is lost, nothing without a quorum is shown, and
// cosigning goes on.
func TestPartitionsHeal(t *testing.T) {
	n, l := spread(t)
	var all []*sent
	acknowledged := func(name, wait string, proven bool) {
		t.Helper()
		s := l.register(t, name, wait)
		if s.proven() != proven {
			t.Fatalf("%s: proven: %v, want %v", name, s.proven(), proven)
		}
		all = append(all, s)
	}
	acknowledged("everybody", "30s", true)

	n.cut("w3")
	acknowledged("without-w3", "30s", true)

	n.cut("w2")
	before, err := l.checkpoint(t)
	if err != nil {
		t.Fatal(err)
	}
	acknowledged("without-quorum", "2s", false)
	if after, err := l.checkpoint(t); err != nil || after != before {
		t.Fatalf("without a quorum the checkpoint went from size %d to %d, %v", before, after, err)
	}
	n.heal("w2")
	l.mustProve(t, all)
	acknowledged("quorum-again", "30s", true)

	n.cut("reader")
	if _, err := l.tryRegister(t, "cut-off", "1s"); err == nil {
		t.Fatal("a reader without a network has heard from the log")
	}
	n.heal("reader", "w3")
	acknowledged("whole-again", "30s", true)

	// w3 has missed much and catches up.
	n.cut("w1")
	acknowledged("with-w3", "60s", true)
	l.mustProve(t, all)
	if out, err := l.firn(t, "log", "audit"); err != nil {
		t.Fatalf("the audit: %v\n%s", err, out)
	}
}

// A fifth of all packets is lost, both ways.
func TestPacketLoss(t *testing.T) {
	n, l := spread(t)
	n.lose("log", "w1", "w2", "w3", "reader")
	var all []*sent
	for i := range 5 {
		name := "lossy-" + strconv.Itoa(i)
		eventually(t, name, func() error {
			s, err := l.tryRegister(t, name, "20s")
			if err == nil {
				all = append(all, s)
			}
			return err
		})
	}
	l.mustProve(t, all)
}

// The helpers must be able to cut: what is reachable is not after cut.
func TestNetworkCuts(t *testing.T) {
	n := newNetwork(t)
	n.host("a")
	address := n.host("b")
	dial := func() error {
		args := append(n.at("a"), "bash", "-c", "exec 3<>/dev/tcp/"+address+"/9")
		cmd := exec.Command("timeout", append([]string{"1"}, args...)...)
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "refused") {
			return nil // somebody is there, and says no
		}
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	n.cut("b")
	if dial() == nil {
		t.Fatal("a host that was cut off answers")
	}
	n.heal("b")
	eventually(t, "after heal", dial)
}

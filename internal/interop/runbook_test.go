package interop

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// A rehearsal is a machine, in a folder, on which the runbook is tried: systemctl
// is the test itself, scp copies within the folder.
type rehearsal struct {
	*firnLog
	t         *testing.T
	root      string
	addresses map[string]string // of units
	units     map[string]*process
	operators int
}

const (
	controlStub = `#!/bin/bash
exec 3<>"/dev/tcp/127.0.0.1/$RUNBOOK_PORT"
echo "$(basename "$0") $*" >&3
read -r answer <&3
[[ $answer == ok ]] || { echo "$answer" >&2; exit 1; }
`
	scpStub = `#!/bin/bash
cp -r "${2#*:}" "$3"
`
)

// newRehearsal makes a log and three witnesses, all of which must cosign; one
// of them is that of the runbook.
func newRehearsal(t *testing.T) *rehearsal {
	t.Helper()
	testreq.Command(t, "curl", "curl")
	r := &rehearsal{firnLog: initLog(t), t: t, root: t.TempDir(), addresses: map[string]string{}, units: map[string]*process{}}
	for _, unit := range []string{"firn-log", "firn-witness", "firn-auditor", "firn-peer"} {
		r.addresses[unit] = freeAddress(t)
	}
	for _, dir := range []string{"var/lib", "var/backups", "home", "bin"} {
		if err := os.MkdirAll(filepath.Join(r.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"systemctl": controlStub, "hook": controlStub, "scp": scpStub} {
		if err := os.WriteFile(filepath.Join(r.root, "bin", name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	witnessDir := filepath.Join(r.root, "var/lib/firn-witness")
	vkey := strings.TrimSpace(run(t, ours(t, "firn-witness"), "init", "--name", "witness.example/w1", "--log", r.vkey, witnessDir))
	lines := []string{fmt.Sprintf("witness w1 %s http://%s/\n", vkey, r.addresses["firn-witness"])}
	for _, name := range []string{"w2", "w3"} {
		lines = append(lines, startWitness(t, "witness.example/"+name, r.vkey).policyLine(name))
	}
	r.url = "http://" + r.addresses["firn-log"]
	r.policy = filepath.Join(r.root, "home/log.policy")
	r.configure(t, 3, lines...)
	r.set(t, "[witnessing]", "policy", "witness.policy")
	r.edit(r.policy, "log "+r.vkey, "log "+r.vkey+" "+r.url)
	text, err := os.ReadFile(r.policy)
	if err == nil {
		err = os.WriteFile(filepath.Join(r.dir, "witness.policy"), text, 0o644)
	}
	if err == nil {
		err = os.Rename(r.dir, filepath.Join(r.root, "var/lib/firn-log"))
	}
	if err != nil {
		t.Fatal(err)
	}
	r.dir = filepath.Join(r.root, "var/lib/firn-log")
	return r
}

// edit replaces old, which must be there, in a file.
func (r *rehearsal) edit(path, old, replacement string) {
	r.t.Helper()
	b, err := os.ReadFile(path)
	if err == nil && !bytes.Contains(b, []byte(old)) {
		err = fmt.Errorf("%s has no %q", path, old)
	}
	if err == nil {
		err = os.WriteFile(path, bytes.ReplaceAll(b, []byte(old), []byte(replacement)), 0o644)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// systemctl does what systemctl would.
func (r *rehearsal) systemctl(args []string) error {
	verb, unit := args[0], args[len(args)-1]
	p := r.units[unit]
	if verb != "start" && verb != "enable" && p != nil {
		p.stop()
		delete(r.units, unit)
	}
	if verb == "stop" || verb == "disable" {
		return nil
	}
	dir := filepath.Join(r.root, "var/lib", unit)
	if unit == "firn-peer" {
		r.edit(filepath.Join(dir, "firn-peer.toml"), "interval = '10s'", "interval = '200ms'")
	}
	p = start(r.t, ours(r.t, unit), "serve", "--listen", r.addresses[unit], dir)
	p.hears(r.t, address)
	r.units[unit] = p
	return nil
}

// grow adds an operator to the log, which all witnesses must cosign.
func (r *rehearsal) grow() {
	r.t.Helper()
	r.operators++
	name := fmt.Sprintf("operator-%d", r.operators)
	if !r.register(r.t, name, "30s").proven() {
		r.t.Fatalf("%s is not proven: not all witnesses cosign", name)
	}
}

// lose stops a unit and deletes its folder, when the peer shows, at path, the
// newest checkpoint.
func (r *rehearsal) lose(unit, path string) {
	r.t.Helper()
	size := r.quiet()
	eventually(r.t, "the peer has the newest checkpoint", func() error {
		b, err := get("http://" + r.addresses["firn-peer"] + path)
		if err == nil && !strings.Contains(string(b), fmt.Sprintf("\n%d\n", size)) {
			err = fmt.Errorf("it has %q, want size %d", b, size)
		}
		return err
	})
	if err := r.systemctl([]string{"stop", unit}); err != nil {
		r.t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(r.root, "var/lib", unit)); err != nil {
		r.t.Fatal(err)
	}
}

// quiet waits until the log has nothing more to say by itself, and returns its size: the
// last entry is the revision of all others, and public.
func (r *rehearsal) quiet() (size int) {
	r.t.Helper()
	eventually(r.t, "the log is quiet", func() error {
		b, err := get("http://" + r.addresses["firn-log"] + "/metrics")
		if err != nil {
			return err
		}
		n := make(map[string]int)
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				n[name], _ = strconv.Atoi(value)
			}
		}
		size = n["firn_log_tree_size"]
		if n["firn_log_published_size"] != size || n["firn_log_revision_size"] != size-1 {
			return fmt.Errorf("size %d, public %d, revision of %d", size, n["firn_log_published_size"], n["firn_log_revision_size"])
		}
		return nil
	})
	return size
}

// before does what happens before a section of the runbook begins.
func (r *rehearsal) before(section string) {
	r.t.Helper()
	origin, _, _ := strings.Cut(r.vkey, "+")
	hash := strings.TrimSuffix(strings.TrimPrefix(monitoringURL("/", origin), "/"), "/checkpoint")
	switch section {
	case "Back up a log":
		if err := r.systemctl([]string{"start", "firn-witness"}); err != nil {
			r.t.Fatal(err)
		}
		if err := r.systemctl([]string{"start", "firn-log"}); err != nil {
			r.t.Fatal(err)
		}
		r.awaitCheckpoint(r.t)
		r.grow()
	case "Restore a log":
		r.grow()
		r.lose("firn-log", "/mirror/"+hash+"/checkpoint")
	case "Restore a witness":
		r.grow()
		vkey := strings.TrimSpace(run(r.t, ours(r.t, "firn-witness"), "vkey", filepath.Join(r.root, "var/lib/firn-witness")))
		key := strings.TrimSuffix(strings.TrimPrefix(monitoringURL("/", vkey), "/"), "/checkpoint")
		r.lose("firn-witness", "/witness/"+key+"/"+hash+"/checkpoint")
	case "When evidence arrives":
		r.bringEvidence()
	case "The end":
		r.heeds()
	case "Move a log", "Disk growth of a log", "Move a witness", "Disk growth of a witness", "Add an auditor to a log", "End a log":
		// What was restored or moved goes on.
		r.grow()
	}
}

// bringEvidence leaves evidence against another log, which the witness has as well,
// and the policy of that log, where the runbook finds them.
func (r *rehearsal) bringEvidence() {
	r.t.Helper()
	other := initLog(r.t)
	fork := &firnLog{dir: filepath.Join(other.home, "fork"), home: other.home, vkey: other.vkey}
	run(r.t, "cp", "-a", other.dir, fork.dir)
	config := filepath.Join(r.root, "var/lib/firn-witness/firn-witness.toml")
	text, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, fmt.Appendf(text, "\n[[log]]\nvkey = '%s'\n", other.vkey), 0o644)
	}
	if err == nil {
		err = r.systemctl([]string{"restart", "firn-witness"})
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(r.root, "home/other.policy"), []byte("log "+other.vkey+"\nquorum none\n"), 0o644)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	for i, l := range []*firnLog{other, fork} {
		l.policy = filepath.Join(r.root, "home/other.policy")
		l.process = start(r.t, ours(r.t, "firn-log"), "serve", "--no-witness-check", l.dir)
		l.url = "http://" + l.hears(r.t, address)
		l.home = r.t.TempDir() // who asks the one has seen nothing of the other
		l.awaitCheckpoint(r.t)
		l.register(r.t, fmt.Sprintf("operator-of-%d", i), "30s")
	}
	// One reader who asks both.
	fork.home = other.home
	if out, err := fork.firn(r.t, "log", "checkpoint"); err == nil {
		r.t.Fatalf("two histories are no fork: %s", out)
	}
	found, err := files(filepath.Join(other.home, "state"), "evidence/*.firn-evidence")
	if err != nil {
		r.t.Fatal(err)
	}
	run(r.t, "cp", found[0], filepath.Join(r.root, "home/FILE.firn-evidence"))
}

// heeds checks that what the witness was given makes it refuse the log for good.
func (r *rehearsal) heeds() {
	r.t.Helper()
	b, err := get("http://" + r.addresses["firn-witness"] + "/metrics")
	if err != nil || !strings.Contains(string(b), "firn_witness_refused_logs 1\n") {
		r.t.Fatalf("the witness does not heed the evidence: %v\n%s", err, b)
	}
}

// names are what the runbook calls this machine's folders and addresses.
func (r *rehearsal) names() *strings.Replacer {
	return strings.NewReplacer(
		"/var/lib/", r.root+"/var/lib/", "-C /var/lib ", "-C "+r.root+"/var/lib ",
		"/var/backups/", r.root+"/var/backups/", "/srv/", r.root+"/srv/",
		"https://log.example", r.url, "https://peer.example", "http://"+r.addresses["firn-peer"],
		"127.0.0.1:8470", r.addresses["firn-log"], "127.0.0.1:8480", r.addresses["firn-witness"],
		"https://auditor.example", "http://"+r.addresses["firn-auditor"], "127.0.0.1:8490", r.addresses["firn-auditor"],
	)
}

// scriptOf turns a page into a script: its sh blocks, each in a shell of its
// own, and a hook before each section.
func scriptOf(text string, names *strings.Replacer) (script string, blocks int) {
	parts := regexp.MustCompile("(?ms)^##+ ([^\n]+)$|^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1)
	var b strings.Builder
	b.WriteString("set -euo pipefail\n")
	for _, p := range parts {
		if p[1] != "" {
			fmt.Fprintf(&b, "hook '%s'\n", strings.ReplaceAll(p[1], "'", `'\''`))
			continue
		}
		blocks++
		fmt.Fprintf(&b, "( set -x\n%s)\n", names.Replace(p[2]))
	}
	return b.String(), blocks
}

// TestRunbook tries every step of docs/runbook.md.
func TestRunbook(t *testing.T) {
	r := newRehearsal(t)
	playPage(t, "docs/runbook.md", 20, r.root, r.names(), r.serve)
}

// playPage runs the sh blocks of a page, of which there are at least so many, below
// root: with root/bin first in PATH and root/home as the current and home folder.
// The programs in root/bin that are controlStub are answered by serve.
func playPage(t *testing.T, page string, least int, root string, names *strings.Replacer, serve func(net.Conn)) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testreq.Root(), page))
	if err != nil {
		t.Fatal(err)
	}
	script, blocks := scriptOf(string(text), names)
	if blocks < least {
		t.Fatalf("only %d blocks were found", blocks)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())

	var out bytes.Buffer
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(root, "home"), &out, &out
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(root, "bin")+":"+built+":"+os.Getenv("PATH"),
		"HOME="+cmd.Dir, "XDG_STATE_HOME="+cmd.Dir+"/state", "RUNBOOK_PORT="+port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// A step that fails ends the test in the middle of the script.
	defer func() { _ = cmd.Process.Kill() }()
	calls := make(chan net.Conn)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			calls <- c
		}
	}()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s failed: %v\n%s", page, err, tail(out.String(), 40))
			}
			return
		case c := <-calls:
			serve(c)
		}
	}
}

// serve answers one call of systemctl or hook.
func (r *rehearsal) serve(c net.Conn) {
	r.t.Helper()
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		r.t.Fatal(err)
	}
	name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	answer := "ok"
	if name == "hook" {
		r.before(rest)
	} else if err := r.systemctl(strings.Fields(rest)); err != nil {
		answer = err.Error()
	}
	fmt.Fprintln(c, answer)
}

// tail returns the last n lines.
func tail(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

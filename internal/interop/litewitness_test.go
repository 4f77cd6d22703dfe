package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// startLitewitness starts a litewitness whose key is only in an ssh-agent and
// that knows one log. It returns its line of a policy.
func startLitewitness(t *testing.T, name, origin, vkey string) (line string) {
	t.Helper()
	lite, ctl := peer(t, "litewitness"), peer(t, "witnessctl")
	keygen := testreq.Command(t, "ssh", "ssh-keygen")
	// The path of a socket is at most 107 bytes long.
	dir, err := os.MkdirTemp("", "lw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	key, socket, db := filepath.Join(dir, "key"), filepath.Join(dir, "agent"), filepath.Join(dir, "lw.db")
	run(t, keygen, "-q", "-t", "ed25519", "-N", "", "-f", key)
	start(t, testreq.Command(t, "ssh", "ssh-agent"), "-D", "-a", socket)
	eventually(t, "ssh-add", func() error {
		add := exec.Command(testreq.Command(t, "ssh", "ssh-add"), "-q", key)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		return add.Run()
	})
	fingerprint := strings.Fields(run(t, keygen, "-lf", key+".pub"))[1]
	run(t, ctl, "add-log", "-db", db, "-origin", origin)
	run(t, ctl, "add-key", "-db", db, "-origin", origin, "-key", vkey)
	listen := freeAddress(t)
	p := start(t, lite, "-db", db, "-name", name, "-key", fingerprint, "-ssh-agent", socket, "-listen", listen)
	wkey := p.hears(t, `vkey=(\S+)`)
	eventually(t, "litewitness", func() error { _, err := get("http://" + listen + "/"); return err })
	return fmt.Sprintf("witness lite %s http://%s/\n", wkey, listen)
}

// litewitness is the only witness of a firn log: what the log shows, it has
// cosigned, while the log grows and after the log was started again.
func TestLitewitnessCosignsAFirnLog(t *testing.T) {
	l := initLog(t)
	origin, _, _ := strings.Cut(l.vkey, "+")
	line := startLitewitness(t, "witness.example/lite", origin, l.vkey)
	wkey := strings.Fields(line)[2]
	l.serve(t, 1, line)
	for _, name := range []string{"alice", "bob"} {
		if !l.register(t, name, "30s").proven() {
			t.Fatalf("%s is in the log and in no cosigned checkpoint", name)
		}
	}
	l.stop()
	l.serve(t, 1, line)
	if !l.register(t, "carol", "30s").proven() {
		t.Fatal("started again, the log has no cosigned checkpoint")
	}

	cp, err := get(l.url + "/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(cp), "\n\n")
	if _, err := cosignature(wkey, text+"\n", string(cp)); err != nil {
		t.Fatal(err)
	}
	run(t, peer(t, "torchcheck"), "checkpoint", l.policy, write(t, "checkpoint", string(cp)))
}

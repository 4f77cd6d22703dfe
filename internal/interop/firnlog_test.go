package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A firnLog is a log with witnesses, made and run with firn's programs only.
type firnLog struct {
	*process
	home           string // folder of those who use it
	dir, vkey, url string
	policy         string   // path of its policy
	readers        []string // a command that runs a command where the readers are
}

// initLog makes a log; serve starts it.
func initLog(t *testing.T) *firnLog {
	t.Helper()
	l := &firnLog{home: t.TempDir()}
	l.dir, l.policy = filepath.Join(l.home, "log"), filepath.Join(l.home, "log.policy")
	l.vkey = strings.TrimSpace(run(t, ours(t, "firn-log"), "init", "--name", "log.example", "--listen", "127.0.0.1:0", "--mode", "open", l.dir))
	return l
}

// serve writes the policy, under which k of the witnesses (lines of a policy)
// must have cosigned, and starts the log.
func (l *firnLog) serve(t *testing.T, k int, witnesses ...string) {
	t.Helper()
	l.configure(t, k, witnesses...)
	l.process = start(t, ours(t, "firn-log"), "serve", l.dir)
	l.url = "http://" + l.hears(t, address)
	l.awaitCheckpoint(t)
}

// awaitCheckpoint waits until readers see a checkpoint that the witnesses have
// cosigned.
func (l *firnLog) awaitCheckpoint(t *testing.T) {
	t.Helper()
	eventually(t, "the first checkpoint", func() error { _, err := l.checkpoint(t); return err })
}

// checkpoint returns the size that a reader sees in the public checkpoint.
func (l *firnLog) checkpoint(t *testing.T) (size uint64, err error) {
	t.Helper()
	out, err := l.firn(t, "log", "checkpoint", "--json")
	if err != nil {
		return 0, err
	}
	var cp struct{ Size uint64 }
	err = json.Unmarshal([]byte(out), &cp)
	return cp.Size, err
}

func (l *firnLog) configure(t *testing.T, k int, witnesses ...string) {
	t.Helper()
	text, group := "log "+l.vkey+"\n", fmt.Sprintf("group witnesses %d", k)
	for _, w := range witnesses {
		text += w
		group += " " + strings.Fields(w)[1]
	}
	if err := os.WriteFile(l.policy, []byte(text+group+"\nquorum witnesses\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.set(t, "[witnessing]", "policy", l.policy)
	l.set(t, "[witnessing]", "interval", "200ms")
}

// set changes a text setting of the log's configuration.
func (l *firnLog) set(t *testing.T, section, name, value string) {
	t.Helper()
	path := filepath.Join(l.dir, "firn-log.toml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	top, below, ok := strings.Cut(string(b), section+"\n")
	lines := strings.Split(below, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, name+" = ") {
			lines[i] = fmt.Sprintf("%s = '%s'", name, value)
			if err := os.WriteFile(path, []byte(top+section+"\n"+strings.Join(lines, "\n")), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("firn-log.toml has no setting %s in %s (section found: %v)", name, section, ok)
}

// sent is what firn operator register --json says.
type sent struct {
	Operator   string
	Statements []struct {
		ID     string
		Index  uint64
		Status string
		Proven bool
	}
}

// register makes the keys of an operator and registers it, with statements that
// must be durable in the log when it returns. They are proven by a checkpoint
// that satisfies the policy if there is one within wait.
func (l *firnLog) register(t *testing.T, name, wait string) *sent {
	t.Helper()
	s, err := l.tryRegister(t, name, wait)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Statements) != 2 || s.Statements[0].Status != "accepted" || s.Statements[1].Status != "accepted" {
		t.Fatalf("%s: not two accepted statements: %+v", name, s)
	}
	return s
}

// tryRegister is register that may fail, and be tried again after that.
func (l *firnLog) tryRegister(t *testing.T, name, wait string) (*sent, error) {
	t.Helper()
	key := filepath.Join(l.home, name)
	if _, err := os.Stat(key); err != nil {
		run(t, ours(t, "firn"), "key", "new", key)
		run(t, ours(t, "firn"), "key", "new", key+".build")
	}
	out, err := l.firn(t, "operator", "register", "--json", "--identity", key, "--key", key+".build",
		"--name", name, "--contact", name+"@example.org", "--wait", wait)
	if err != nil {
		return nil, err
	}
	s := new(sent)
	return s, json.Unmarshal([]byte(out), s)
}

// proven reports whether every statement was proven when it was sent.
func (s *sent) proven() bool {
	for _, st := range s.Statements {
		if !st.Proven {
			return false
		}
	}
	return true
}

// firn runs a command of firn with this log where its readers are.
func (l *firnLog) firn(t *testing.T, args ...string) (string, error) {
	t.Helper()
	args = slices.Concat(l.readers, []string{ours(t, "firn")}, args, []string{
		"--log", l.url, "--log-policy", l.policy, "--state", filepath.Join(l.home, "state"),
	})
	return try(args[0], args[1:]...)
}

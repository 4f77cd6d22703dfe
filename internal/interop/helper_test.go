package interop

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/testreq"
)

// built is the folder of the programs; TestMain removes it.
var built string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "firn-interop")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		built = dir
		return m.Run()
	}())
}

// buildOnce returns a function that builds packages of the module in dir (from
// the project's root) into built, once. It looks at every folder of the
// project, so that go test does not take an older run for this one: it cannot
// know what go build reads.
func buildOnce(dir string, packages ...string) func() error {
	return sync.OnceValue(func() error {
		for _, top := range []string{"cmd", "federation", "ingest", "internal", "log", "verify", "witness"} {
			err := filepath.WalkDir(filepath.Join(testreq.Root(), top), func(_ string, _ fs.DirEntry, err error) error { return err })
			if err != nil {
				return err
			}
		}
		args := append([]string{"build", "-C", filepath.Join(testreq.Root(), dir), "-o", built + "/"}, packages...)
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	})
}

var (
	buildOurs  = buildOnce(".", "./cmd/firn", "./cmd/firn-log", "./cmd/firn-peer", "./cmd/firn-witness", "./cmd/firn-auditor")
	buildPeers = buildOnce("internal/peers", "filippo.io/torchwood/cmd/litewitness", "filippo.io/torchwood/cmd/witnessctl", "./torchcheck")
)

// ours returns the path of one of firn's programs.
func ours(t *testing.T, name string) string {
	t.Helper()
	if err := buildOurs(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(built, name)
}

// peer returns the path of a program of internal/peers.
func peer(t *testing.T, name string) string {
	t.Helper()
	if err := buildPeers(); err != nil {
		testreq.Missing(t, "peers", err.Error())
	}
	return filepath.Join(built, name)
}

// run runs a command that must exit with 0 and returns its standard output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try runs a command and returns its standard output; the error has the rest.
func try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String(), nil
}

// A process is a running program.
type process struct {
	cmd  *exec.Cmd
	name string
	read chan struct{} // closed when everything that it said was read

	mu   sync.Mutex // guards what follows
	said bytes.Buffer
	more chan struct{} // closed and replaced when something is said
}

// start starts a program, which is stopped when the test ends.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), name: strings.Join(append([]string{filepath.Base(name)}, args...), " "), read: make(chan struct{}), more: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout = nil
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.listen(r)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, p.output())
		}
	})
	return p
}

func (p *process) listen(r io.Reader) {
	defer close(p.read)
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		p.mu.Lock()
		p.said.WriteString(line)
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// stop stops the program and waits for its end. It may be called again.
func (p *process) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.read
	_ = p.cmd.Wait()
}

// hears waits until the program has said something that matches and returns the
// first group.
func (p *process) hears(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		m, more := re.FindStringSubmatch(p.said.String()), p.more
		p.mu.Unlock()
		if m != nil {
			return m[len(m)-1]
		}
		select {
		case <-more:
		case <-p.read:
			t.Fatalf("%s ended and never said %q:\n%s", p.name, pattern, p.output())
		case <-deadline:
			t.Fatalf("%s never said %q:\n%s", p.name, pattern, p.output())
		}
	}
}

// patience bounds every wait; nothing is expected to take long.
const patience = time.Minute

// eventually calls f, with growing pauses, until it returns nil.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	end, pause := time.Now().Add(patience), 5*time.Millisecond
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(pause)
		pause = min(2*pause, 200*time.Millisecond)
	}
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// get returns the body of a 200 answer.
func get(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, b)
	}
	return b, err
}

// write writes a file into a folder of the test and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const address = `msg=serving .*address=(\S+)`

// A witness is a running firn-witness.
type witness struct {
	*process
	dir, vkey, url string // url ends in a slash
}

// startWitness makes a firn-witness of the logs and starts it.
func startWitness(t *testing.T, name string, logs ...string) *witness {
	t.Helper()
	w := &witness{dir: filepath.Join(t.TempDir(), "witness")}
	args := []string{"init", "--name", name, "--listen", "127.0.0.1:0"}
	for _, vkey := range logs {
		args = append(args, "--log", vkey)
	}
	w.vkey = strings.TrimSpace(run(t, ours(t, "firn-witness"), append(args, w.dir)...))
	w.serve(t)
	return w
}

func (w *witness) serve(t *testing.T) {
	t.Helper()
	w.process = start(t, ours(t, "firn-witness"), "serve", w.dir)
	w.url = "http://" + w.hears(t, address) + "/"
}

// policyLines returns the witness line of a policy.
func (w *witness) policyLine(name string) string {
	return fmt.Sprintf("witness %s %s %s\n", name, w.vkey, w.url)
}

package crashtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
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
	"github.com/firn-log/firn/witness"
	"github.com/firn-log/firn/witness/sample"
)

// firnWitness builds the program once and returns its path.
var firnWitness = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "firn-witness-test")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "firn-witness")
	cmd := exec.Command("go", "build", "-o", program, "./cmd/firn-witness")
	cmd.Dir = testreq.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if program, err := firnWitness(); err == nil {
		os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := firnWitness()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(program, args...)
}

// initWitness makes a witness of logs in dir.
func initWitness(t *testing.T, dir string, logs []*sample.Log) {
	t.Helper()
	args := []string{"init", "--name", "witness.example/w1", dir}
	for _, l := range logs {
		args = append(args, "--log", l.Key.String())
	}
	if out, err := command(t, args...).CombinedOutput(); err != nil {
		t.Fatalf("init: %v: %s", err, out)
	}
}

// process is a running firn-witness.
type process struct {
	cmd   *exec.Cmd
	url   string
	ended chan error

	mu     sync.Mutex
	stderr strings.Builder
}

var serving = regexp.MustCompile(`msg=serving .*address=(\S+)`)

// serve starts the program and waits until it serves.
func serve(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{ended: make(chan error, 1), cmd: command(t, "serve", "--listen", "127.0.0.1:0", dir)}
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			p.mu.Lock()
			fmt.Fprintln(&p.stderr, lines.Text())
			p.mu.Unlock()
			if m := serving.FindStringSubmatch(lines.Text()); m != nil {
				p.url = "http://" + m[1]
				close(started)
			}
		}
	}()
	go func() {
		<-read
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	select {
	case <-started:
		return p
	case err := <-p.ended:
		t.Fatalf("firn-witness did not start: %v: %s", err, p.output())
	case <-time.After(60 * time.Second):
		t.Fatalf("firn-witness did not start within a minute: %s", p.output())
	}
	return nil
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// kill ends the process at once and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.ended
}

// stop asks the process to end and returns how it did.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return <-p.ended
}

// post submits a request; an error means that no answer came.
func (p *process) post(body []byte) (int, string, error) {
	resp, err := http.Post(p.url+"/add-checkpoint", "", bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// latest returns the checkpoint that the monitoring endpoint has.
func (p *process) latest(t *testing.T, origin string) (int, string) {
	t.Helper()
	resp, err := http.Get(p.url + "/" + witness.OriginHash(origin) + "/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

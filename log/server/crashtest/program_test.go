package crashtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/server/store"
)

// firnLog builds the program once and returns its path. It looks at the folders
// of the program, so that go test does not take an older run for this one: it
// cannot know what go build reads.
var firnLog = sync.OnceValues(func() (string, error) {
	for _, part := range []string{"cmd/firn-log", "internal", "log"} {
		err := filepath.WalkDir(filepath.Join(testreq.Root(), part), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			return "", err
		}
	}
	dir, err := os.MkdirTemp("", "firn-log-test")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "firn-log")
	cmd := exec.Command("go", "build", "-o", program, "./cmd/firn-log")
	cmd.Dir = testreq.Root()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if program, err := firnLog(); err == nil {
		os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

// command returns a command of the real program.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := firnLog()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(program, args...)
}

// initLog makes a log in dir whose budgets allow a test.
func initLog(t *testing.T, dir string) {
	t.Helper()
	if out, err := command(t, "init", "--name", "log.example", "--mode", "open", dir).CombinedOutput(); err != nil {
		t.Fatalf("init: %v: %s", err, out)
	}
}

// process is a running firn-log.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	origin string
	ended  chan error

	mu     sync.Mutex
	stderr strings.Builder
}

var serving = regexp.MustCompile(`msg=serving origin=(\S+) address=(\S+)`)

// serve starts the program and waits until it serves.
func serve(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p, err := tryServe(t, dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tryServe(t *testing.T, dir string, args ...string) (*process, error) {
	t.Helper()
	p := &process{t: t, ended: make(chan error, 1)}
	p.cmd = command(t, append([]string{"serve", "--listen", "127.0.0.1:0", dir}, args...)...)
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			p.mu.Lock()
			fmt.Fprintln(&p.stderr, lines.Text())
			p.mu.Unlock()
			if m := serving.FindStringSubmatch(lines.Text()); m != nil {
				p.origin, p.url = m[1], "http://"+m[2]
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
		return p, nil
	case err := <-p.ended:
		return nil, fmt.Errorf("firn-log did not start: %w: %s", err, p.output())
	case <-time.After(60 * time.Second):
		return nil, fmt.Errorf("firn-log did not start within a minute: %s", p.output())
	}
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

type answer struct {
	Error   string
	Message string
	Results []struct {
		Status  string
		ID      string
		Index   *uint64
		Error   string
		Message string
	}
}

// post submits leaves; an error means that no answer came.
func (p *process) post(query string, leaves [][]byte) (int, *answer, error) {
	var body []byte
	for _, l := range leaves {
		body = store.AppendFrame(body, l)
	}
	resp, err := http.Post(p.url+"/v1/statements"+query, "application/vnd.firn.leaves", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	a := new(answer)
	return resp.StatusCode, a, json.Unmarshal(b, a)
}

// ack is an acknowledged leaf.
type ack struct {
	leaf  []byte
	index uint64
}

// load submits batches of builds from several senders until the log is gone,
// and returns what was acknowledged. reached is closed after enough acks.
type load struct {
	p    *process
	o    *sample.Operator
	next *atomic.Int64

	mu   sync.Mutex
	acks []ack
	wg   sync.WaitGroup
}

// startLoad begins to send.
func startLoad(p *process, o *sample.Operator, next *atomic.Int64, enough int) (*load, <-chan struct{}) {
	l := &load{p: p, o: o, next: next}
	reached := make(chan struct{})
	var once sync.Once
	for sender := range 6 {
		l.wg.Go(func() {
			size := []int{1, 1, 7, 40, 1, 100}[sender]
			for {
				from := int(next.Add(int64(size))) - size
				leaves := o.Builds(from, from+size)
				_, a, err := p.post("?wait=0s", leaves)
				if err != nil {
					return
				}
				l.mu.Lock()
				for i, r := range a.Results {
					if r.Index != nil {
						l.acks = append(l.acks, ack{leaves[i], *r.Index})
					}
				}
				n := len(l.acks)
				l.mu.Unlock()
				if n >= enough {
					once.Do(func() { close(reached) })
				}
			}
		})
	}
	go func() {
		l.wg.Wait()
		once.Do(func() { close(reached) })
	}()
	return l, reached
}

// wait returns what was acknowledged, after the senders gave up.
func (l *load) wait() []ack {
	l.wg.Wait()
	return l.acks
}

// Package pgtest runs a private PostgreSQL for tests: a cluster of its own in a
// folder that is removed at the end, which survives a crash of the server but not of the machine,
// reached through a Unix socket in it. Nothing of a PostgreSQL that the machine runs is touched.
//
// The server refuses to run as root, so root starts it as the user postgres or
// nobody. Where PostgreSQL is missing the test is skipped, unless FIRN_TEST_REQUIRE
// names postgres (package testreq).
package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/testreq"
)

// lifetime ends a server whose test was killed before it could stop it.
const lifetime = 30 * time.Minute

// start bounds how long a server may take until it answers.
const start = 60 * time.Second

// Server is a running PostgreSQL.
type Server struct {
	dir  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	out  syncBuffer
	mu   sync.Mutex
	n    int // databases given out
	bin  func(string) string
	cred *syscall.Credential
}

// syncBuffer is what the server says, for errors.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.b.Len() > 1<<20 {
		return len(p), nil
	}
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// New starts a server and stops it when the test ends.
func New(t testing.TB) *Server {
	t.Helper()
	s, err := find()
	if err != nil {
		testreq.Missing(t, "postgres", err.Error())
	}
	t.Cleanup(s.remove)
	if err := s.make(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return s
}

// make makes the cluster and starts the server.
func (s *Server) make() (err error) {
	// The folder is short and not the test's own: a socket's name has at most 107 bytes, and another user must get in.
	if s.dir, err = os.MkdirTemp("", "firn-pg-"); err != nil {
		return err
	}
	if err := s.init(); err != nil {
		return err
	}
	return s.Start()
}

// remove stops the server and removes everything of it.
func (s *Server) remove() {
	s.Stop()
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

var shared struct {
	mu  sync.Mutex
	s   *Server
	err error
}

// Shared returns the server that the tests of a package share; none of them stops it. Their TestMain
// is [Main].
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.s == nil {
		s, err := find()
		if err != nil {
			testreq.Missing(t, "postgres", err.Error())
		}
		shared.s, shared.err = s, s.make()
	}
	if shared.err != nil {
		t.Fatalf("pgtest: %v", shared.err)
	}
	return shared.s
}

// Main runs tests and then removes the server that they shared, if there is one.
func Main(m *testing.M) {
	code := m.Run()
	if shared.s != nil {
		shared.s.remove()
	}
	os.Exit(code)
}

// find looks for the programs and for a user to run them as.
func find() (*Server, error) {
	s := &Server{}
	dirs := []string{""}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/run/current-system/sw/bin"} {
		found, _ := filepath.Glob(pattern)
		slices.Reverse(found) // the newest first
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		path, err := exec.LookPath(filepath.Join(dir, "initdb"))
		if err != nil {
			continue
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			continue
		}
		s.bin = func(name string) string { return filepath.Join(filepath.Dir(path), name) }
		if _, err := os.Stat(s.bin("postgres")); err == nil {
			break
		}
		s.bin = nil
	}
	if s.bin == nil {
		return nil, fmt.Errorf("initdb and postgres are not in PATH and not in /usr/lib/postgresql")
	}
	if os.Geteuid() != 0 {
		return s, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{uint32(gid)}}
			return s, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(s.bin(name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + s.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
	return cmd
}

func (s *Server) init() error {
	if s.cred != nil {
		if err := os.Chown(s.dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return err
		}
	}
	cmd := s.command("initdb", "-D", filepath.Join(s.dir, "data"), "-U", "firn", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// Start starts the server again after Stop or Kill.
func (s *Server) Start() error {
	cmd := s.command("postgres", "-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=30",
		"-c", "shared_buffers=32MB", "-c", "autovacuum_naptime=10min", "-c", "max_wal_size=256MB", "-c", "jit=off")
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	timer := time.AfterFunc(lifetime, func() { cmd.Process.Kill() })
	go func() {
		cmd.Wait()
		timer.Stop()
		close(done)
	}()
	s.cmd, s.done = cmd, done
	ctx, cancel := context.WithTimeout(context.Background(), start)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if strings.Contains(s.out.String(), "database system is ready to accept connections") && s.up() {
			tick.Stop()
			return nil
		}
		select {
		case <-tick.C:
		case <-done:
			return fmt.Errorf("postgres ended: %s", s.out.String())
		case <-ctx.Done():
			s.Stop()
			return fmt.Errorf("postgres does not answer after %s: %s", start, s.out.String())
		}
	}
}

// up reports whether the server's socket is there and its process runs.
func (s *Server) up() bool {
	_, err := os.Stat(filepath.Join(s.dir, ".s.PGSQL.5432"))
	return err == nil
}

// Stop ends the server at once: connections break, and nothing is cleaned up.
func (s *Server) Stop() { s.end(syscall.SIGQUIT) } // all processes of it end at once

// Kill ends the server without its knowing.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(how syscall.Signal) {
	if s.cmd == nil {
		return
	}
	to := s.cmd.Process.Pid
	if how == syscall.SIGKILL {
		to = -to
	}
	syscall.Kill(to, how)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.done
	}
	s.cmd = nil
	s.out.mu.Lock()
	s.out.b.Reset()
	s.out.mu.Unlock()
}

// Database makes an empty database and returns its address for pgx, for instance
// postgres:///test1?host=%2Ftmp%2Ffirn-pg-1&user=firn.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	s.n++
	name := fmt.Sprintf("test%d", s.n)
	s.mu.Unlock()
	cmd := s.command("createdb", "-h", s.dir, "-U", "firn", name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pgtest: createdb: %v: %s", err, bytes.TrimSpace(out))
	}
	q := url.Values{"host": {s.dir}, "user": {"firn"}, "sslmode": {"disable"}}
	return "postgres:///" + name + "?" + q.Encode()
}

package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// LockedError says that somebody else holds a lock.
type LockedError struct {
	Path string
	PID  int // the holder, 0 if it is not known
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is locked by another process", e.Path)
	}
	return fmt.Sprintf("%s is locked by process %d", e.Path, e.PID)
}

// held is the in-process registry: flock belongs to an open file, and a
// program that opened one folder twice must be refused like any other.
var held = struct {
	sync.Mutex
	paths map[string]bool
}{paths: make(map[string]bool)}

// Lock is an exclusive lock on a file, held until Unlock or the end of the
// process, however it ends.
type Lock struct {
	f    *os.File
	path string
}

// Acquire takes the lock at path, creating the file if it is missing, and
// writes the process id into it. It never waits: if the lock is held, by this
// process too, it returns a *LockedError naming the holder.
func Acquire(path string) (*Lock, error) { return acquire(path, unix.LOCK_EX|unix.LOCK_NB) }

// AcquireWait is Acquire that waits for a holder in another process; one in
// this process is still refused.
func AcquireWait(path string) (*Lock, error) { return acquire(path, unix.LOCK_EX) }

func acquire(path string, how int) (*Lock, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(real, filepath.Base(abs))
	}
	if !register(abs) {
		return nil, &LockedError{Path: path, PID: os.Getpid()}
	}
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		unregister(abs)
		return nil, err
	}
	if err := flock(f, how); err != nil {
		pid := readPID(f)
		f.Close()
		unregister(abs)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{Path: path, PID: pid}
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	l := &Lock{f: f, path: abs}
	if err := l.writePID(); err != nil {
		l.Unlock()
		return nil, fmt.Errorf("writing process id to %s: %w", path, err)
	}
	return l, nil
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func register(path string) bool {
	held.Lock()
	defer held.Unlock()
	if held.paths[path] {
		return false
	}
	held.paths[path] = true
	return true
}

func unregister(path string) {
	held.Lock()
	defer held.Unlock()
	delete(held.paths, path)
}

func (l *Lock) writePID() error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPID(f *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// Unlock releases the lock. The file stays, so that a waiting process and a
// new one cannot hold two files of one name.
func (l *Lock) Unlock() error {
	// A child that is being started at this moment has a copy of the file, and would hold the
	// lock until it runs its program.
	err := errors.Join(flock(l.f, unix.LOCK_UN), l.f.Close())
	unregister(l.path)
	return err
}

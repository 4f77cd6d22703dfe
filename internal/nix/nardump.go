package nix

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// DumpPath writes the NAR of a path to w: a file, symlink or directory tree.
// Files of other types are refused, and a file that becomes shorter while it
// is read is an error.
func DumpPath(w io.Writer, path string) error {
	_, err := dump(context.Background(), w, path, nil)
	return err
}

// HashPath returns the SHA-256 and the length in bytes of the NAR of a path,
// without holding more of it than one buffer. progress, if not nil, is told
// the number of bytes hashed since it was called last, from the goroutine
// that calls HashPath. It stops with ctx's error soon after ctx is done, and
// may be called concurrently.
func HashPath(ctx context.Context, path string, progress func(n int64)) (Hash, uint64, error) {
	h := sha256.New()
	n, err := dump(ctx, h, path, progress)
	if err != nil {
		return Hash{}, 0, err
	}
	var sum Hash
	h.Sum(sum[:0])
	return sum, n, nil
}

func dump(ctx context.Context, w io.Writer, path string, progress func(int64)) (uint64, error) {
	s := newNarSink(ctx, w, progress)
	defer s.release()
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	if err := s.raw(narMagic); err != nil {
		return 0, err
	}
	if err := s.dumpNode(path, info.Mode().Type(), 0); err != nil {
		return 0, err
	}
	err = s.flush()
	return s.written, err
}

// dumpNode serialises what is at path, which was of type mode when it was
// listed.
func (s *narSink) dumpNode(path string, mode fs.FileMode, depth int) error {
	switch mode {
	case 0:
		return s.dumpFile(path)
	case fs.ModeDir:
		return s.dumpDir(path, depth)
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if err := checkTarget(target); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return errors.Join(s.raw(narSymlink), s.str(target), s.raw(narClose))
	}
	return fmt.Errorf("%s: a NAR cannot hold a file of type %v", path, mode)
}

func (s *narSink) dumpDir(path string, depth int) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if depth == MaxNarDepth {
		return fmt.Errorf("%s: %w: more than %d directories within each other", path, ErrNar, MaxNarDepth)
	}
	entries, err := os.ReadDir(path) // sorted by bytes; types from getdents
	if err != nil {
		return err
	}
	if err := s.raw(narDirectory); err != nil {
		return err
	}
	for _, e := range entries {
		if err := errors.Join(s.raw(narEntry), s.str(e.Name()), s.raw(narNode)); err != nil {
			return err
		}
		if err := s.dumpNode(path+"/"+e.Name(), e.Type(), depth+1); err != nil {
			return err
		}
		if err := s.raw(narClose); err != nil {
			return err
		}
	}
	return s.raw(narClose)
}

// dumpFile uses system calls directly: os.File's registration with the
// poller costs as much as hashing a few kilobytes.
func (s *narSink) dumpFile(path string) error {
	fd, err := openFile(path)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = syscall.Close(fd) }()
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fmt.Errorf("%s: no longer a regular file", path)
	}
	size := st.Size
	if err := s.fileStart(size, st.Mode&syscall.S_IXUSR != 0); err != nil {
		return err
	}
	for left := size; left > 0; {
		if err := s.room(int(min(left, narBufSize/4))); err != nil {
			return err
		}
		b := s.buf[len(s.buf):cap(s.buf)]
		n, err := readFile(fd, b[:min(left, int64(len(b)))])
		if err != nil {
			return &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return fmt.Errorf("%s: became shorter while it was read", path)
		}
		s.buf = s.buf[:len(s.buf)+n]
		left -= int64(n)
	}
	return s.fileEnd(size)
}

// openFile opens for reading; a symlink or FIFO that took the file's place
// neither leads elsewhere nor blocks.
func openFile(path string) (int, error) {
	for {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

func readFile(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

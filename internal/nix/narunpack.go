package nix

import (
	"errors"
	"hash"
	"io"
	"os"
)

// tap hashes and counts what is written to it, and passes it on.
type tap struct {
	h hash.Hash
	n uint64
	w io.Writer
}

func (t *tap) Write(p []byte) (int, error) {
	if t.w != nil {
		if n, err := t.w.Write(p); err != nil {
			return n, err
		}
	}
	t.n += uint64(len(p))
	return t.h.Write(p)
}

// UnpackNar makes the files of the NAR that r delivers at dest, which must
// not exist yet. Nothing outside dest is written, whatever the NAR holds: it
// is read strictly, and files are created below dest only, never through a
// symlink. Directories get mode 0755, files 0644 or 0755, less the umask.
// On an error, what was made so far stays.
func UnpackNar(r io.Reader, dest string) error {
	n := NewNarReader(r)
	h, err := n.Next()
	if err != nil {
		return err
	}
	switch h.Type {
	case Symlink:
		err = os.Symlink(h.Target, dest)
	case Regular:
		err = unpackFile(n, h, func(flag int, perm os.FileMode) (*os.File, error) { return os.OpenFile(dest, flag, perm) })
	case Directory:
		return unpackDir(n, dest)
	}
	if err != nil {
		return err
	}
	if _, err := n.Next(); err != io.EOF {
		return err
	}
	return nil
}

func unpackDir(n *NarReader, dest string) error {
	if err := os.Mkdir(dest, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dest)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for {
		h, err := n.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Type {
		case Directory:
			err = root.Mkdir(h.Path, 0o755)
		case Symlink:
			err = root.Symlink(h.Target, h.Path)
		case Regular:
			err = unpackFile(n, h, func(flag int, perm os.FileMode) (*os.File, error) { return root.OpenFile(h.Path, flag, perm) })
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(n *NarReader, h *NarHeader, open func(int, os.FileMode) (*os.File, error)) error {
	perm := os.FileMode(0o644)
	if h.Executable {
		perm = 0o755
	}
	f, err := open(os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, n)
	return errors.Join(err, f.Close())
}

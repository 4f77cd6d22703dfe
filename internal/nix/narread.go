package nix

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// NarReader reads a NAR file by file as it streams past, and accepts exactly
// what NarWriter writes (spec/nix.md#nar): names that are "", ".", "..",
// hold a slash or NUL, come twice or out of order, padding that is not zero,
// missing fields and bytes after the end are refused. It holds no goroutine
// and nothing to close, and keeps as much memory as directories are open.
// The length of the NAR is not bounded; bound the underlying reader.
type NarReader struct {
	r       *bufio.Reader
	dirs    openDirs
	begun   bool
	inFile  bool
	left    int64 // contents of the current file still to come
	padding int   // zeros after them
	err     error // sticks; io.EOF after the end
}

// NewNarReader returns a reader of the NAR that r delivers. It reads r ahead,
// and up to its end.
func NewNarReader(r io.Reader) *NarReader {
	return &NarReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// Next goes to the next file, over what is unread of the current one, and
// returns its header. It returns io.EOF when the NAR has ended properly and
// nothing follows it; otherwise errors wrap ErrNar or are r's. Directories
// come before their entries. After an error every call returns it.
func (n *NarReader) Next() (*NarHeader, error) {
	if n.err != nil {
		return nil, n.err
	}
	h, err := n.next()
	n.err = err
	return h, err
}

func (n *NarReader) next() (*NarHeader, error) {
	if n.inFile {
		if err := n.skip(); err != nil {
			return nil, err
		}
		if err := n.endFile(); err != nil {
			return nil, err
		}
	}
	if !n.begun {
		n.begun = true
		if err := n.expect("nix-archive-1"); err != nil {
			return nil, err
		}
		return n.node("")
	}
	for len(n.dirs) > 0 {
		tag, err := n.str(len("entry"))
		if err != nil {
			return nil, err
		}
		switch tag {
		case "entry":
			return n.entry()
		case ")":
			n.dirs = n.dirs[:len(n.dirs)-1]
			if err := n.endEntry(); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%w: %q in a directory", ErrNar, tag)
		}
	}
	if _, err := n.r.ReadByte(); err == nil {
		return nil, fmt.Errorf("%w: bytes after the end", ErrNar)
	} else if err != io.EOF {
		return nil, err
	}
	return nil, io.EOF
}

func (n *NarReader) entry() (*NarHeader, error) {
	if err := n.expect("(", "name"); err != nil {
		return nil, err
	}
	name, err := n.str(MaxNarNameLen)
	if err != nil {
		return nil, err
	}
	path, err := n.dirs.entry(name)
	if err != nil {
		return nil, err
	}
	if err := n.expect("node"); err != nil {
		return nil, err
	}
	return n.node(path)
}

// node reads the beginning of a node, and all of a symlink.
func (n *NarReader) node(path string) (*NarHeader, error) {
	if err := n.expect("(", "type"); err != nil {
		return nil, err
	}
	kind, err := n.str(len("directory"))
	if err != nil {
		return nil, err
	}
	h := &NarHeader{Path: path}
	switch kind {
	case "regular":
		return h, n.regular(h)
	case "directory":
		h.Type = Directory
		return h, n.dirs.push(path)
	case "symlink":
		h.Type = Symlink
		if err := n.expect("target"); err != nil {
			return nil, err
		}
		if h.Target, err = n.str(MaxNarTargetLen); err != nil {
			return nil, err
		}
		if err := checkTarget(h.Target); err != nil {
			return nil, err
		}
		if err := n.expect(")"); err != nil {
			return nil, err
		}
		return h, n.endEntry()
	}
	return nil, fmt.Errorf("%w: type %q", ErrNar, kind)
}

// regular reads a regular file up to its contents.
func (n *NarReader) regular(h *NarHeader) error {
	tag, err := n.str(len("executable"))
	if err != nil {
		return err
	}
	if tag == "executable" {
		h.Executable = true
		if err := n.expect("", "contents"); err != nil {
			return err
		}
	} else if tag != "contents" {
		return fmt.Errorf("%w: %q in a regular file", ErrNar, tag)
	}
	size, err := n.u64()
	if err != nil {
		return err
	}
	if size > math.MaxInt64 {
		return fmt.Errorf("%w: file of %d bytes", ErrNar, size)
	}
	h.Size = int64(size)
	n.inFile, n.left, n.padding = true, h.Size, int(pad(size))
	return nil
}

// Read reads contents of the regular file that Next returned last. It returns
// io.EOF at their end, and at once for other files.
func (n *NarReader) Read(p []byte) (int, error) {
	if n.err != nil && n.err != io.EOF {
		return 0, n.err
	}
	if n.left == 0 {
		return 0, io.EOF
	}
	m, err := n.r.Read(p[:min(int64(len(p)), n.left)])
	n.left -= int64(m)
	if err != nil {
		err = narEOF(err)
		n.err = err
	}
	return m, err
}

var errNarShort = fmt.Errorf("%w: %w", ErrNar, io.ErrUnexpectedEOF)

// skip passes over the rest of the contents.
func (n *NarReader) skip() error {
	for n.left > 0 {
		m, err := n.r.Discard(int(min(n.left, 1<<30)))
		n.left -= int64(m)
		if err != nil {
			return narEOF(err)
		}
	}
	return nil
}

// endFile reads what follows the contents.
func (n *NarReader) endFile() error {
	n.inFile = false
	if err := n.zeros(n.padding); err != nil {
		return err
	}
	if err := n.expect(")"); err != nil {
		return err
	}
	return n.endEntry()
}

// endEntry reads the end of the entry that a finished node is in, unless it
// was the root.
func (n *NarReader) endEntry() error {
	if len(n.dirs) == 0 {
		return nil
	}
	return n.expect(")")
}

func (n *NarReader) expect(want ...string) error {
	for _, w := range want {
		got, err := n.str(max(len(w), 16))
		if err != nil {
			return err
		}
		if got != w {
			return fmt.Errorf("%w: %q where %q belongs", ErrNar, clip(got), w)
		}
	}
	return nil
}

func (n *NarReader) u64() (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(n.r, b[:]); err != nil {
		return 0, narEOF(err)
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// str reads a string of at most limit bytes.
func (n *NarReader) str(limit int) (string, error) {
	size, err := n.u64()
	if err != nil {
		return "", err
	}
	if size > uint64(limit) {
		return "", fmt.Errorf("%w: string of %d bytes where at most %d belong", ErrNar, size, limit)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(n.r, b); err != nil {
		return "", narEOF(err)
	}
	return string(b), n.zeros(int(pad(size)))
}

func (n *NarReader) zeros(count int) error {
	var b [8]byte
	if _, err := io.ReadFull(n.r, b[:count]); err != nil {
		return narEOF(err)
	}
	if b != [8]byte{} {
		return fmt.Errorf("%w: padding that is not zero", ErrNar)
	}
	return nil
}

func narEOF(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNarShort
	}
	return err
}

// CopyNar copies one NAR from r to w (which may be nil) while it checks the
// form as NarReader does, and returns its SHA-256 and length in bytes. Bytes
// reach w before they have been judged: what w holds counts only if the error
// is nil. r is read to its end.
func CopyNar(w io.Writer, r io.Reader) (Hash, uint64, error) {
	t := &tap{h: sha256.New(), w: w}
	n := NewNarReader(io.TeeReader(r, t))
	for {
		_, err := n.Next()
		if err == io.EOF {
			var sum Hash
			t.h.Sum(sum[:0])
			return sum, t.n, nil
		}
		if err != nil {
			return Hash{}, 0, err
		}
	}
}

package nix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errNarState is returned for calls in a wrong order.
var errNarState = errors.New("NAR writer: call out of order")

// NarWriter writes a NAR file by file, in the order in which the format has
// them: a directory before its entries, entries strictly ascending by bytes.
type NarWriter struct {
	sink  *narSink
	dirs  openDirs
	begun bool
	file  bool  // within a regular file of
	size  int64 // so many bytes, of which
	left  int64 // are still to come
	err   error
}

// NewNarWriter returns a writer that writes to w in large blocks.
func NewNarWriter(w io.Writer) *NarWriter {
	return &NarWriter{sink: newNarSink(context.Background(), w, nil)}
}

// WriteHeader begins a file. The first must be the root, with an empty path;
// it refuses what a NarReader would refuse, wrapping ErrNar. After an error
// the writer is of no more use.
func (w *NarWriter) WriteHeader(h *NarHeader) error {
	if w.err == nil {
		w.err = w.writeHeader(h)
	}
	return w.err
}

func (w *NarWriter) writeHeader(h *NarHeader) error {
	if err := h.check(); err != nil {
		return err
	}
	if w.file || w.sink == nil {
		return errNarState
	}
	if err := w.place(h.Path); err != nil {
		return err
	}
	switch h.Type {
	case Directory:
		if err := w.dirs.push(h.Path); err != nil {
			return err
		}
		return w.sink.raw(narDirectory)
	case Symlink:
		if err := errors.Join(w.sink.raw(narSymlink), w.sink.str(h.Target), w.sink.raw(narClose)); err != nil {
			return err
		}
		return w.endEntry()
	}
	w.file, w.size, w.left = true, h.Size, h.Size
	if err := w.sink.fileStart(h.Size, h.Executable); err != nil {
		return err
	}
	return w.fileDone()
}

// place closes the directories that path is not in, and writes the entry's
// name.
func (w *NarWriter) place(path string) error {
	if !w.begun {
		w.begun = true
		if path != "" {
			return fmt.Errorf("%w: the root comes first", ErrNar)
		}
		return w.sink.raw(narMagic)
	}
	parent, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		parent, name = path[:i], path[i+1:]
	}
	for len(w.dirs) > 0 && w.dirs[len(w.dirs)-1].path != parent {
		if err := w.closeDir(); err != nil {
			return err
		}
	}
	if len(w.dirs) == 0 {
		return fmt.Errorf("%w: %q is in no open directory", ErrNar, clip(path))
	}
	if full, err := w.dirs.entry(name); err != nil {
		return err
	} else if full != path {
		return fmt.Errorf("%w: path %q", ErrNar, clip(path))
	}
	return errors.Join(w.sink.raw(narEntry), w.sink.str(name), w.sink.raw(narNode))
}

func (w *NarWriter) closeDir() error {
	w.dirs = w.dirs[:len(w.dirs)-1]
	if err := w.sink.raw(narClose); err != nil {
		return err
	}
	return w.endEntry()
}

// endEntry closes the entry that a finished node is in, unless it is the root.
func (w *NarWriter) endEntry() error {
	if len(w.dirs) == 0 {
		return nil
	}
	return w.sink.raw(narClose)
}

// Write writes contents of the regular file that was begun last.
func (w *NarWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if !w.file && len(p) > 0 || int64(len(p)) > w.left {
		w.err = fmt.Errorf("%w: more contents than announced", ErrNar)
		return 0, w.err
	}
	for rest := p; len(rest) > 0; {
		if w.err = w.sink.room(1); w.err != nil {
			return 0, w.err
		}
		b := w.sink.buf
		n := copy(b[len(b):cap(b)], rest)
		w.sink.buf = b[:len(b)+n]
		rest = rest[n:]
	}
	w.left -= int64(len(p))
	if w.file {
		w.err = w.fileDone()
	}
	return len(p), w.err
}

// fileDone ends the current file if all of it has come.
func (w *NarWriter) fileDone() error {
	if w.left > 0 {
		return nil
	}
	w.file = false
	if err := w.sink.fileEnd(w.size); err != nil {
		return err
	}
	return w.endEntry()
}

// Close ends the NAR and writes what is buffered; it does not close the
// underlying writer. It fails if nothing was written or a file is incomplete.
func (w *NarWriter) Close() error {
	if w.sink == nil {
		return w.err
	}
	if w.err == nil && (!w.begun || w.file) {
		w.err = fmt.Errorf("%w: closed before its end", ErrNar)
	}
	for w.err == nil && len(w.dirs) > 0 {
		w.err = w.closeDir()
	}
	if w.err == nil {
		w.err = w.sink.flush()
	}
	w.sink.release()
	w.sink = nil
	return w.err
}

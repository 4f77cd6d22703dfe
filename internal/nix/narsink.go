package nix

import (
	"context"
	"encoding/binary"
	"io"
	"strings"
	"sync"
)

// narBufSize is how much of a NAR is collected before it is hashed or
// written: large against the cost of a system call, and small enough to stay
// in the second-level cache between the read and the hash.
const narBufSize = 256 << 10

var narBufs = sync.Pool{New: func() any {
	b := make([]byte, 0, narBufSize)
	return &b
}}

// zeros is padding.
var zeros [8]byte

// narString returns the text of a NAR string: length, bytes, padding.
func narString(s string) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(s)))) + s + string(zeros[:pad(len(s))])
}

// pad returns how many zeros follow n bytes.
func pad[T int | int64 | uint64](n T) T { return -n & 7 }

func narStrings(list ...string) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(narString(s))
	}
	return b.String()
}

// The constant parts of a NAR.
var (
	narMagic      = narString("nix-archive-1")
	narRegular    = narStrings("(", "type", "regular", "contents")
	narExecutable = narStrings("(", "type", "regular", "executable", "", "contents")
	narSymlink    = narStrings("(", "type", "symlink", "target")
	narDirectory  = narStrings("(", "type", "directory")
	narEntry      = narStrings("entry", "(", "name")
	narNode       = narString("node")
	narClose      = narString(")")
	narFileEnd    = func() (ends [8]string) { // by length of the padding
		for i := range ends {
			ends[i] = string(zeros[:i]) + narClose
		}
		return ends
	}()
)

// narSink collects a NAR in one large buffer, which file contents are read
// into directly, and passes it on when it is full.
type narSink struct {
	ctx      context.Context
	w        io.Writer
	buf      []byte // cap narBufSize
	pooled   *[]byte
	written  uint64
	progress func(int64)
	err      error // sticks: nothing is written after a failed write
}

func newNarSink(ctx context.Context, w io.Writer, progress func(int64)) *narSink {
	b := narBufs.Get().(*[]byte)
	return &narSink{ctx: ctx, w: w, buf: (*b)[:0], pooled: b, progress: progress}
}

// release gives the buffer back; the sink must not be used after it.
func (s *narSink) release() {
	narBufs.Put(s.pooled)
	s.buf, s.pooled = nil, nil
}

func (s *narSink) flush() error {
	n := len(s.buf)
	if s.err != nil || n == 0 {
		return s.err
	}
	if s.err = s.ctx.Err(); s.err != nil {
		return s.err
	}
	if _, s.err = s.w.Write(s.buf); s.err != nil {
		return s.err
	}
	s.written += uint64(n)
	s.buf = s.buf[:0]
	if s.progress != nil {
		s.progress(int64(n))
	}
	return nil
}

// room makes room for n bytes, n ≤ narBufSize.
func (s *narSink) room(n int) error {
	if cap(s.buf)-len(s.buf) < n {
		return s.flush()
	}
	return nil
}

// raw appends constant parts.
func (s *narSink) raw(text string) error {
	if err := s.room(len(text)); err != nil {
		return err
	}
	s.buf = append(s.buf, text...)
	return nil
}

// str appends a NAR string that is at most MaxNarTargetLen bytes long.
func (s *narSink) str(text string) error {
	if err := s.room(len(text) + 16); err != nil {
		return err
	}
	s.buf = binary.LittleEndian.AppendUint64(s.buf, uint64(len(text)))
	s.buf = append(s.buf, text...)
	s.buf = append(s.buf, zeros[:pad(len(text))]...)
	return nil
}

// fileStart begins a regular file of size bytes.
func (s *narSink) fileStart(size int64, executable bool) error {
	head := narRegular
	if executable {
		head = narExecutable
	}
	if err := s.room(len(head) + 8); err != nil {
		return err
	}
	s.buf = append(s.buf, head...)
	s.buf = binary.LittleEndian.AppendUint64(s.buf, uint64(size))
	return nil
}

// fileEnd ends it.
func (s *narSink) fileEnd(size int64) error {
	return s.raw(narFileEnd[pad(size)])
}

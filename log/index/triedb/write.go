package triedb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/firn-log/firn/log/index"
)

// A runWriter writes the bytes of a run: its signers, then its records, each in order and as
// many as the header says, then end.
type runWriter struct {
	w     io.Writer
	buf   []byte
	sum   uint32
	err   error
	cells []uint32
	next  int // the first cell that has not been set
	n     int // records so far
	bits  int
}

// writeBuffer is how many bytes are written at once.
const writeBuffer = 256 << 10

func newRunWriter(w io.Writer, h header) *runWriter {
	rw := &runWriter{w: w, bits: dirBits(h.records), buf: make([]byte, 0, min(h.size(), writeBuffer+recordSize))}
	rw.cells = make([]uint32, 1<<rw.bits+1)
	rw.buf = h.append(rw.buf)
	return rw
}

// memory collects what is written.
type memory struct{ data []byte }

func (m *memory) Write(b []byte) (int, error) {
	m.data = append(m.data, b...)
	return len(b), nil
}

// A memoryWriter makes a run in memory.
type memoryWriter struct {
	*runWriter
	m      *memory
	origin [32]byte
}

func newMemoryWriter(h header) memoryWriter {
	m := &memory{data: make([]byte, 0, h.size())}
	return memoryWriter{newRunWriter(m, h), m, h.origin}
}

func (w memoryWriter) memoryRun() *run {
	w.end()
	r, err := parseRun(w.m.data, w.origin)
	if err != nil {
		panic("triedb: a run that was just written: " + err.Error()) // a mistake in this package
	}
	return r
}

func (w *runWriter) signer(id []byte) {
	w.buf = append(w.buf, id...)
	w.flush(writeBuffer)
}

func (w *runWriter) record(kh *index.Hash, word uint64) {
	for c := cellOf(kh, w.bits); w.next <= c; w.next++ {
		w.cells[w.next] = uint32(w.n)
	}
	w.n++
	w.buf = append(w.buf, kh[:]...)
	w.buf = binary.BigEndian.AppendUint64(w.buf, word)
	w.flush(writeBuffer)
}

// flush writes the buffer if it holds at least so much.
func (w *runWriter) flush(atLeast int) {
	if len(w.buf) < atLeast {
		return
	}
	w.sum = crc32.Update(w.sum, castagnoli, w.buf)
	if w.err == nil {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

// end writes what follows the records.
func (w *runWriter) end() error {
	for ; w.next < len(w.cells); w.next++ {
		w.cells[w.next] = uint32(w.n)
	}
	for _, c := range w.cells {
		w.buf = binary.BigEndian.AppendUint32(w.buf, c)
		w.flush(writeBuffer)
	}
	w.flush(0)
	sum := binary.BigEndian.AppendUint32(nil, w.sum)
	if w.err == nil {
		_, w.err = w.w.Write(sum)
	}
	return w.err
}

// syncEvery is how many bytes of a file are written between syncs, so that those
// of other files on the disk do not wait for gigabytes.
const syncEvery = 32 << 20

type syncingFile struct {
	f     *os.File
	since int
}

func (s *syncingFile) Write(b []byte) (int, error) {
	n, err := s.f.Write(b)
	if s.since += n; err == nil && s.since >= syncEvery {
		s.since, err = 0, s.f.Sync()
	}
	return n, err
}

func runName(seq uint64) string { return fmt.Sprintf("%012d.run", seq) }

// writeFile writes a run to a new file, durably but for its name, and returns it
// mapped.
func writeFile(dir string, seq uint64, origin [32]byte, write func(io.Writer) error) (*run, error) {
	path := filepath.Join(dir, runName(seq))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriterSize(&syncingFile{f: f}, writeBuffer)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	var r *run
	if err == nil {
		r, err = mapRun(dir, seq, origin)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return r, nil
}

// mapRun maps the file of a run and reads its header. The error names the file.
func mapRun(dir string, seq uint64, origin [32]byte) (*run, error) {
	path := filepath.Join(dir, runName(seq))
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() < headerSize+sumSize {
		return nil, damaged(path, errors.New("cut off"))
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	r, err := parseRun(data, origin)
	if err != nil {
		return nil, errors.Join(damaged(path, err), unix.Munmap(data))
	}
	r.seq = seq
	return r, nil
}

// unmap gives the memory of a file's run back. Nothing may use it any more.
func (r *run) unmap() {
	if r.seq == 0 || r.data == nil {
		return
	}
	_ = unix.Munmap(r.data) // cannot fail: data is what Mmap returned
	r.data, r.signers, r.records, r.cells = nil, nil, nil, nil
}

// damaged is ErrDamaged about one file.
func damaged(path string, why error) error { return fmt.Errorf("%s: %w: %w", path, why, ErrDamaged) }

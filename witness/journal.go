package witness

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/firn-log/firn/internal/durable"
)

// A journal is a file of frames, each with the records of one group of requests
// (spec/witness.md#journal). A frame is written and synced before the next one
// is begun, so whatever follows a broken frame was never acknowledged.
//
// The form of a frame never changes; a new one is a new magic.
var frameMagic = []byte{0, 'f', 'i', 'r', 'n', 'w', 0, 1}

const (
	// frameHeader is magic, generation (8 bytes), number (8), length (4), CRC (4).
	frameHeader = 32
	maxFrame    = 64 << 20
	// maxKept is the size of a buffer in bytes that is kept for the next frame.
	maxKept = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends a frame to b.
func appendFrame(b []byte, generation, number uint64, records []byte) []byte {
	start := len(b)
	b = append(b, frameMagic...)
	b = binary.BigEndian.AppendUint64(b, generation)
	b = binary.BigEndian.AppendUint64(b, number)
	b = binary.BigEndian.AppendUint32(b, uint32(len(records)))
	sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, records)
	b = binary.BigEndian.AppendUint32(b, sum)
	return append(b, records...)
}

// parseFrame reads the frame at the start of b. ok is false if there is none
// that is whole.
func parseFrame(b []byte) (generation, number uint64, records []byte, ok bool) {
	if len(b) < frameHeader || !bytes.HasPrefix(b, frameMagic) {
		return 0, 0, nil, false
	}
	n := int(binary.BigEndian.Uint32(b[24:]))
	if n > maxFrame || len(b)-frameHeader < n {
		return 0, 0, nil, false
	}
	records = b[frameHeader : frameHeader+n]
	sum := crc32.Update(crc32.Checksum(b[:28], castagnoli), castagnoli, records)
	if sum != binary.BigEndian.Uint32(b[28:]) {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:]), records, true
}

// readFrames calls f with the records of every frame of a generation, in order.
// What follows the last whole frame is the remains of a write that was never
// acknowledged, unless a later frame is whole: then the file is damaged, and
// that is an error.
func readFrames(b []byte, generation uint64, f func(records []byte) error) error {
	next, pos := uint64(1), 0
	for pos < len(b) {
		g, n, records, ok := parseFrame(b[pos:])
		if !ok || g != generation || n != next {
			break
		}
		if err := f(records); err != nil {
			return fmt.Errorf("journal, frame %d: %w", n, err)
		}
		next++
		pos += frameHeader + len(records)
	}
	for at := pos; ; at++ {
		i := bytes.Index(b[at:], frameMagic)
		if i < 0 {
			return nil
		}
		at += i
		if g, n, _, ok := parseFrame(b[at:]); ok && g == generation && n > next {
			return fmt.Errorf("the journal is damaged: frame %d at byte %d is broken, and frame %d after it is not", next, pos, n)
		}
	}
}

// Kinds of records.
const (
	recordCheckpoint = 'c' // a note: the checkpoint cosigned last for its origin
	recordRefused    = 'r' // an origin, a newline, the name of the file of evidence
	recordMoved      = 'm' // nothing: this witness never signs here again
	recordRestored   = 'p' // nothing: this copy was once in doubt, and peers confirmed it
)

func appendRecord(b []byte, kind byte, data ...string) []byte {
	n := 0
	for _, d := range data {
		n += len(d)
	}
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	for _, d := range data {
		b = append(b, d...)
	}
	return b
}

// readRecords calls f with each record in b.
func readRecords(b []byte, f func(kind byte, data []byte) error) error {
	for len(b) > 0 {
		if len(b) < 5 || uint64(len(b)-5) < uint64(binary.BigEndian.Uint32(b[1:])) {
			return errors.New("a record is cut off")
		}
		n := int(binary.BigEndian.Uint32(b[1:]))
		if err := f(b[0], b[5:5+n]); err != nil {
			return err
		}
		b = b[5+n:]
	}
	return nil
}

// journal is the open journal. Only the goroutine that writes uses it.
type journal struct {
	f          *os.File
	generation uint64
	frames     uint64
	size       int64
	buf        []byte
}

// createJournal makes the empty journal of a generation durable.
func createJournal(path string, generation uint64) (*journal, error) {
	if err := durable.CreateFile(path, nil, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return nil, err
	}
	return &journal{f: f, generation: generation}, nil
}

// append makes records durable. After an error nothing is known about the file.
func (j *journal) append(records []byte) error {
	if cap(j.buf) > maxKept {
		j.buf = nil
	}
	j.buf = appendFrame(j.buf[:0], j.generation, j.frames+1, records)
	if _, err := j.f.WriteAt(j.buf, j.size); err != nil {
		return err
	}
	for {
		err := unix.Fdatasync(int(j.f.Fd()))
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("syncing the journal: %w", err)
		}
	}
	j.frames++
	j.size += int64(len(j.buf))
	return nil
}

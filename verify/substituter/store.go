package substituter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
)

// storeMagic begins a file of decisions (spec/substituter.md#state).
const storeMagic = "firn-decisions-1\n"

const (
	maxDecision = 16 << 20 // bytes of one record
	recordHead  = 8 + len(hashPart{})
	// slack is how many bytes of old decisions a file may have before it is written anew.
	slack = 32 << 20
)

// A store is a file with the newest decision about each path: records that are only appended, and
// in memory where each is. It is derived: what is damaged is left out, and nothing is synced.
// Its methods may be called concurrently.
type store struct {
	dir  nix.StoreDir
	name string
	most int

	mu    sync.RWMutex // guards what follows
	file  *os.File
	size  int64
	at    map[hashPart]place
	waste int64
}

// place is where a record's decision is.
type place struct {
	offset int64
	length uint32
}

// openStore opens the file of decisions in a folder; it holds at most so many.
func openStore(folder string, dir nix.StoreDir, most int) (*store, error) {
	s := &store{dir: dir, name: filepath.Join(folder, "decisions"), most: most}
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s.file = f
	if err := s.load(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return s, nil
}

// load finds the records, up to the first that is not whole; what follows that is cut off.
func (s *store) load() error {
	s.at = make(map[hashPart]place)
	r := bufio.NewReaderSize(s.file, 1<<20)
	magic := make([]byte, len(storeMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != storeMagic {
		return s.empty()
	}
	s.size = int64(len(storeMagic))
	var head [recordHead]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			break
		}
		n := binary.BigEndian.Uint32(head[:])
		if n > maxDecision {
			break
		}
		sum := crc32.NewIEEE()
		sum.Write(head[8:])
		if _, err := io.CopyN(sum, r, int64(n)); err != nil || sum.Sum32() != binary.BigEndian.Uint32(head[4:]) {
			break
		}
		s.set(hashPart(head[8:]), place{s.size + int64(recordHead), n})
	}
	return s.file.Truncate(s.size)
}

func (s *store) empty() error {
	if err := s.file.Truncate(0); err != nil {
		return err
	}
	_, err := s.file.WriteAt([]byte(storeMagic), 0)
	s.size, s.waste, s.at = int64(len(storeMagic)), 0, make(map[hashPart]place)
	return err
}

// set notes a record that begins at the end of the file.
func (s *store) set(h hashPart, p place) {
	if old, ok := s.at[h]; ok {
		s.waste += int64(recordHead) + int64(old.length)
	}
	s.at[h] = p
	s.size += int64(recordHead) + int64(p.length)
}

// get returns the decision about a path, nil if there is none.
func (s *store) get(h hashPart) *decision {
	d, err := decodeDecision(s.dir, s.read(h))
	if err != nil {
		return nil
	}
	return d
}

// read returns an encoded decision, nil if there is none.
func (s *store) read(h hashPart) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.at[h]
	if !ok {
		return nil
	}
	b := make([]byte, p.length)
	if _, err := s.file.ReadAt(b, p.offset); err != nil {
		return nil
	}
	return b
}

// put keeps decisions.
func (s *store) put(all []*decision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.at) > s.most {
		s.shed()
	}
	if s.waste > slack && s.waste > s.size/2 {
		if err := s.rewrite(); err != nil {
			return err
		}
	}
	var b []byte
	places := make(map[hashPart]place, len(all))
	for _, d := range all {
		h, ok := parseHashPart(d.path().HashPart())
		if !ok {
			continue
		}
		body := d.encode()
		b = appendRecord(b, h, body)
		places[h] = place{s.size + int64(len(b)-len(body)), uint32(len(body))}
	}
	if _, err := s.file.WriteAt(b, s.size); err != nil {
		return err
	}
	end := s.size + int64(len(b))
	for h, p := range places {
		s.set(h, p)
	}
	s.size = end
	return nil
}

func appendRecord(b []byte, h hashPart, body []byte) []byte {
	sum := crc32.ChecksumIEEE(h[:])
	sum = crc32.Update(sum, crc32.IEEETable, body)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, sum)
	return append(append(b, h[:]...), body...)
}

// shed forgets a tenth of the decisions, any: they can be made again.
func (s *store) shed() {
	n := len(s.at) / 10
	for h, p := range s.at {
		if n--; n < 0 {
			return
		}
		delete(s.at, h)
		s.waste += int64(recordHead) + int64(p.length)
	}
}

// rewrite leaves out what is old.
func (s *store) rewrite() error {
	f, err := os.OpenFile(s.name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	next := &store{dir: s.dir, name: s.name, most: s.most, file: f, at: make(map[hashPart]place, len(s.at))}
	w := bufio.NewWriterSize(f, 1<<20)
	_, err = w.WriteString(storeMagic)
	next.size = int64(len(storeMagic))
	for h, p := range s.at {
		b := make([]byte, p.length)
		if _, e := s.file.ReadAt(b, p.offset); e != nil {
			continue
		}
		next.set(h, place{next.size + int64(recordHead), p.length})
		_, e := w.Write(appendRecord(nil, h, b))
		err = errors.Join(err, e)
	}
	if err = errors.Join(err, w.Flush()); err == nil {
		err = os.Rename(f.Name(), s.name)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(s.name+".new"))
	}
	s.file.Close()
	s.file, s.size, s.at, s.waste = f, next.size, next.at, 0
	return nil
}

// drop forgets the decision about a path until the next start.
func (s *store) drop(h hashPart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.at[h]; ok {
		s.waste += int64(recordHead) + int64(p.length)
		delete(s.at, h)
	}
}

// count is the number of decisions.
func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}

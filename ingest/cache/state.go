package cache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// State is what earlier runs brought into one log: which paths of which caches,
// with their references, and what each key signed. It is a folder with a lock and
// an append-only journal (spec/import.md#state). Its methods may be called
// concurrently.
type State struct {
	lock *durable.Lock

	mu     sync.Mutex // guards what follows
	file   *os.File
	size   int64  // of the file, up to the last whole record
	buf    []byte // records that are not written yet
	broken error  // the first failure to write; nothing is written after it
	// Dropped is how many bytes were cut off at the end of the journal when it
	// was opened: a record that a crash left unfinished.
	Dropped int64

	caches map[[2]string]uint64
	keys   map[keyRef]uint64
	names  []keyRef
	paths  map[string]uint64
	texts  []string
	infos  []map[uint64]pathInfo  // by cache, then path
	signed map[[2]uint64][]signed // by path and key
	seen   map[[2]uint64]uint64   // by cache and path: seconds
	twice  int                    // pairs of a path and a key that signed different content
}

// keyRef is a key, or the name of one that was not listed: then key is zero.
type keyRef struct {
	name string
	key  [32]byte
}

type pathInfo struct {
	refs  []uint64
	other []uint64
}

type signed struct {
	hash nix.Hash
	size uint64
	id   statement.ID
}

// flushBytes is how much is gathered before it is written and synced.
const flushBytes = 64 << 10

// OpenState opens the state in folder dir, which is made if it is missing. A
// second one of the same folder is a *durable.LockedError. Sync and Close belong
// to the caller.
func OpenState(dir string) (*State, error) {
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := durable.Acquire(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	s := newState()
	s.lock = lock
	if err := s.open(filepath.Join(dir, "journal")); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return s, nil
}

func newState() *State {
	return &State{
		caches: make(map[[2]string]uint64), keys: make(map[keyRef]uint64), paths: make(map[string]uint64),
		signed: make(map[[2]uint64][]signed), seen: make(map[[2]uint64]uint64),
	}
}

func (s *State) open(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	s.file = f
	if err := s.read(path); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// read loads the journal and cuts off what is no record, which is what a crash
// can leave at its end.
func (s *State) read(path string) error {
	st, err := s.file.Stat()
	if err != nil {
		return err
	}
	err = s.load(bufio.NewReaderSize(s.file, 1<<20))
	if err == errRecord {
		return fmt.Errorf("%s is not the journal of an import, or of a newer version", path)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if s.Dropped = st.Size() - s.size; s.Dropped > 0 {
		return s.file.Truncate(s.size)
	}
	return nil
}

// load takes the records of a journal into memory, up to the first that is none;
// s.size is where that begins. It is errRecord if the journal begins as no other.
func (s *State) load(r *bufio.Reader) error {
	head := make([]byte, len(magic))
	n, err := io.ReadFull(r, head)
	if string(head[:n]) != magic[:n] {
		return errRecord
	}
	if n < len(magic) { // new, or a crash when it was
		s.buf = append(s.buf, magic...)
		return shortRead(err)
	}
	for s.size = int64(n); err == nil; {
		var got int64
		got, err = s.readOne(r)
		s.size += got
	}
	return shortRead(err)
}

// shortRead is what err is to a journal: its end, wherever that is, is none.
func shortRead(err error) error {
	if err == io.EOF || err == errRecord || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func (s *State) readOne(r *bufio.Reader) (int64, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxRecord {
		return 0, errRecord
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, err
	}
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return 0, errRecord
	}
	rec, err := parseRecord(body)
	if err != nil {
		return 0, err
	}
	if err := s.apply(rec); err != nil {
		return 0, err
	}
	return int64(8 + n), nil
}

// apply takes a record into memory. One that speaks of what was not named before
// it is none.
func (s *State) apply(r *record) error {
	inPaths := func(list ...uint64) bool { return inRange(uint64(len(s.texts)), list...) }
	inKeys := func(list ...uint64) bool { return inRange(uint64(len(s.names)), list...) }
	inCaches := func(n uint64) bool { return inRange(uint64(len(s.infos)), n) }
	switch r.typ {
	case recCache:
		s.caches[[2]string{r.text, r.dir}] = uint64(len(s.infos))
		s.infos = append(s.infos, make(map[uint64]pathInfo))
	case recKey:
		k := keyRef{r.text, r.key}
		s.keys[k] = uint64(len(s.names))
		s.names = append(s.names, k)
	case recPath:
		if _, err := nix.ParseStorePath(r.text); err != nil {
			return errRecord
		}
		s.paths[r.text] = uint64(len(s.texts))
		s.texts = append(s.texts, r.text)
	case recSigned:
		if !inPaths(r.path) || !inKeys(r.number) {
			return errRecord
		}
		s.addSigned(r)
	case recInfo:
		if !inCaches(r.cache) || !inPaths(r.path) || !inPaths(r.refs...) || !inKeys(r.other...) {
			return errRecord
		}
		s.infos[r.cache][r.path] = pathInfo{r.refs, r.other}
		delete(s.seen, [2]uint64{r.cache, r.path})
	case recSeen:
		if !inCaches(r.cache) || !inPaths(r.path) {
			return errRecord
		}
		s.seen[[2]uint64{r.cache, r.path}] = r.number
	}
	return nil
}

func inRange(end uint64, list ...uint64) bool {
	for _, n := range list {
		if n >= end {
			return false
		}
	}
	return true
}

func (s *State) addSigned(r *record) {
	at := [2]uint64{r.path, r.number}
	before := s.signed[at]
	same := true
	for _, b := range before {
		if b.id == r.id {
			return
		}
		same = same && b.hash == r.hash && b.size == r.size
	}
	if !same && !contradicts(before) {
		s.twice++
	}
	s.signed[at] = append(before, signed{r.hash, r.size, r.id})
}

// contradicts reports whether a key signed different content.
func contradicts(list []signed) bool {
	for _, b := range list {
		if b.hash != list[0].hash || b.size != list[0].size {
			return true
		}
	}
	return false
}

// put takes a record into memory and into the journal. Nothing of it is durable
// before Sync. s.mu is held.
func (s *State) put(r *record) {
	_ = s.apply(r) // numbers are given by this package
	s.buf = appendRecord(s.buf, r)
}

// cache returns the number of a cache.
func (s *State) cache(url string, dir nix.StoreDir) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := [2]string{url, string(dir)}
	if _, ok := s.caches[at]; !ok {
		s.put(&record{typ: recCache, text: url, dir: string(dir)})
	}
	return s.caches[at]
}

// key returns the number of a key, or of the name of one that is not listed.
func (s *State) key(k keyRef) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.keys[k]; !ok {
		s.put(&record{typ: recKey, text: k.name, key: k.key})
	}
	return s.keys[k]
}

// path returns the number of a store path.
func (s *State) path(p nix.StorePath) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := p.String()
	if _, ok := s.paths[text]; !ok {
		s.put(&record{typ: recPath, text: text})
	}
	return s.paths[text]
}

// knows reports whether a store path has a number.
func (s *State) knows(p nix.StorePath) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.paths[p.String()]
	return ok
}

// text is the opposite of path.
func (s *State) text(path uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.texts[path]
}

// name returns the name of a key.
func (s *State) name(key uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[key].name
}

// info returns what a cache said about a path.
func (s *State) info(cache, path uint64) (pathInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.infos[cache][path]
	return i, ok
}

// hashParts returns the numbers of all known paths of a cache, by hash part.
func (s *State) hashParts(cache uint64) map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := make(map[string]uint64, len(s.infos[cache]))
	for path := range s.infos[cache] {
		if p, err := nix.ParseStorePath(s.texts[path]); err == nil {
			parts[p.HashPart()] = path
		}
	}
	return parts
}

// signedBy returns what a key is known to have signed about a path.
func (s *State) signedBy(path, key uint64) []signed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signed[[2]uint64{path, key}]
}

// A Standing is what a log is known to have about a path.
type Standing int

// Standings, from nothing to the best.
const (
	Unknown  Standing = iota // not everything about the path was brought
	Unsigned                 // the cache has the path, and no signature by a listed key
	Signed                   // the log has a signature by a listed key
)

// Standing returns what is known of a path of the cache c.
func (s *State) Standing(c *bincache.Client, p nix.StorePath, keys Keys) Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, ok := s.paths[p.String()]
	if !ok {
		return Unknown
	}
	for name, list := range keys {
		for _, k := range list {
			if n, ok := s.keys[keyRef{name, [32]byte(k.Key)}]; ok && len(s.signed[[2]uint64{path, n}]) > 0 {
				return Signed
			}
		}
	}
	if n, ok := s.caches[[2]string{c.URL(), string(c.StoreDir())}]; ok {
		if _, ok := s.infos[n][path]; ok {
			return Unsigned
		}
	}
	return Unknown
}

// contradictions returns how many pairs of a path and a key there are of which
// the key signed different content.
func (s *State) contradictions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.twice
}

// seenAt returns when a path was seen whose observation may be on its way, or
// notes that it is now.
func (s *State) seenAt(cache, path, now uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.seen[[2]uint64{cache, path}]; ok {
		return t
	}
	s.put(&record{typ: recSeen, cache: cache, path: path, number: now})
	return now
}

// noteSigned keeps that the log has a statement.
func (s *State) noteSigned(path, key uint64, v signed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(&record{typ: recSigned, path: path, number: key, hash: v.hash, size: v.size, id: v.id})
}

// noteInfo keeps that everything about a path is in the log.
func (s *State) noteInfo(cache, path uint64, i pathInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(&record{typ: recInfo, cache: cache, path: path, refs: i.refs, other: i.other})
}

// full reports whether a flush is due.
func (s *State) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buf) >= flushBytes
}

// Write hands what is noted to the operating system: from now on it survives the
// end of the program, and after Sync that of the machine.
func (s *State) Write() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil || len(s.buf) == 0 {
		return s.broken
	}
	if n, err := s.file.WriteAt(s.buf, s.size); err != nil {
		s.broken = journalError(s.file.Name(), err)
		// Half a record would be cut off at the next start in any case.
		if n > 0 {
			_ = s.file.Truncate(s.size)
		}
		return s.broken
	}
	s.size += int64(len(s.buf))
	s.buf = s.buf[:0]
	return nil
}

// Sync makes everything that is noted durable.
func (s *State) Sync() error {
	if err := s.Write(); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = journalError(s.file.Name(), err)
		return s.broken
	}
	return nil
}

func journalError(path string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("no space is left for %s: what was sent is in the log, and the next run goes on from there", path)
	}
	return fmt.Errorf("writing %s: %w", path, err)
}

// Close syncs, and gives the lock back.
func (s *State) Close() error {
	return errors.Join(s.Sync(), s.file.Close(), s.lock.Unlock())
}

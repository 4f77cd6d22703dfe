package witness

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/place"
	"github.com/firn-log/firn/log/policy"
)

const (
	snapshotHeader = "firn-witness state v1"
	noPlace        = "unknown" // of a state that no place was confirmed for
)

// snapshot is the file `state`: everything up to the beginning of a journal
// (spec/witness.md#state).
type snapshot struct {
	place      place.Place // where the witness last knew itself to be the newest copy
	generation uint64      // of the journal that continues it
	records    []byte
}

func (s *snapshot) marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nmachine %s\nfilesystem %s\ndirectory %s\njournal %d\n\n",
		snapshotHeader, s.place.Machine, s.place.FileSystem, s.place.Directory, s.generation)
	b.Write(s.records)
	return binary.BigEndian.AppendUint32(b.Bytes(), crc32.Checksum(b.Bytes(), castagnoli))
}

// parseSnapshot accepts exactly what marshal writes.
func parseSnapshot(b []byte) (*snapshot, error) {
	if len(b) < 4 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return nil, errors.New("its checksum is wrong")
	}
	top, records, ok := bytes.Cut(b[:len(b)-4], []byte("\n\n"))
	lines := strings.Split(string(top), "\n")
	if !ok || len(lines) != 5 || lines[0] != snapshotHeader {
		return nil, errors.New("it is not the state of a firn witness")
	}
	s := &snapshot{records: records}
	var number string
	for i, f := range []struct {
		name string
		v    *string
	}{
		{"machine", &s.place.Machine},
		{"filesystem", &s.place.FileSystem},
		{"directory", &s.place.Directory},
		{"journal", &number},
	} {
		if *f.v, ok = strings.CutPrefix(lines[i+1], f.name+" "); !ok {
			return nil, fmt.Errorf("line %d: want %q", i+2, f.name)
		}
	}
	var err error
	if s.generation, err = policy.ParseDecimal(number); err != nil {
		return nil, fmt.Errorf("line 5: %q is not the number of a journal", number)
	}
	return s, nil
}

// Names in a store (spec/witness.md#directory).
const (
	stateName     = "state"
	journalPrefix = "journal-"
	lockName      = "lock"
)

func journalName(generation uint64) string {
	return journalPrefix + strconv.FormatUint(generation, 10)
}

// load reads state and journal into s and says where the newest copy was last
// known to be. What is missing is a reason for doubt, what is damaged an error.
func (s *Store) load() (was place.Place, err error) {
	was = place.Place{Machine: noPlace, FileSystem: noPlace, Directory: noPlace}
	b, err := os.ReadFile(s.path(stateName))
	if errors.Is(err, fs.ErrNotExist) {
		s.doubt = "the file " + s.path(stateName) + " is missing, which says what this witness has cosigned"
		_, err := s.laterJournals(0)
		return was, err
	}
	if err != nil {
		return was, fmt.Errorf("reading the state of the witness: %w", err)
	}
	snap, err := parseSnapshot(b)
	if err == nil {
		err = readRecords(snap.records, s.apply)
	}
	if err != nil {
		return was, fmt.Errorf("reading the state of the witness, %s: %w", s.path(stateName), err)
	}
	s.generation = snap.generation
	b, err = os.ReadFile(s.path(journalName(snap.generation)))
	if errors.Is(err, fs.ErrNotExist) {
		s.doubt = "the file " + s.path(journalName(snap.generation)) + " is missing, which says what this witness has cosigned last"
		_, err := s.laterJournals(snap.generation)
		return was, err
	}
	if err == nil {
		err = readFrames(b, snap.generation, func(records []byte) error { return readRecords(records, s.apply) })
	}
	if err != nil {
		return was, fmt.Errorf("reading %s: %w", s.path(journalName(snap.generation)), err)
	}
	later, err := s.laterJournals(snap.generation)
	if err != nil || later == "" {
		return snap.place, err
	}
	s.doubt = "the file " + s.path(later) + " is newer than " + s.path(stateName) + ", so that is one of an older copy"
	return was, nil
}

// laterJournals reads the journals after that of a generation. A snapshot that is
// newer than such a journal has been lost: until it was durable nothing was written
// to the journal. It returns the name of the last one that says anything, or "". What
// they say is the least that this witness has cosigned.
func (s *Store) laterJournals(generation uint64) (name string, err error) {
	later, err := s.generations()
	if err != nil {
		return "", err
	}
	slices.Sort(later)
	for _, g := range later {
		if g <= generation {
			continue
		}
		b, err := os.ReadFile(s.path(journalName(g)))
		if err == nil {
			err = readFrames(b, g, func(records []byte) error {
				name = journalName(g)
				return readRecords(records, s.applyLarger)
			})
		}
		if err != nil {
			return "", fmt.Errorf("reading %s: %w", s.path(journalName(g)), err)
		}
	}
	return name, nil
}

// applyLarger is apply that passes over a checkpoint smaller than what is known.
func (s *Store) applyLarger(kind byte, data []byte) error {
	if kind == recordCheckpoint {
		origin, _, _ := strings.Cut(string(data), "\n")
		st := s.Latest(origin)
		next, err := State{}.withNote(origin, data)
		if err != nil {
			return err
		}
		if st.Note != nil && next.Size < st.Size {
			return nil
		}
	}
	return s.apply(kind, data)
}

// apply takes one record into memory. Nobody else uses s yet.
func (s *Store) apply(kind byte, data []byte) error {
	switch kind {
	case recordCheckpoint:
		origin, _, _ := strings.Cut(string(data), "\n")
		e := s.entry(origin)
		st, err := e.state.Load().withNote(origin, bytes.Clone(data))
		if err != nil {
			return err
		}
		e.state.Store(&st)
	case recordRefused:
		origin, name, ok := strings.Cut(string(data), "\n")
		if !ok || name == "" {
			return errors.New("a refusal without its evidence")
		}
		e := s.entry(origin)
		st := *e.state.Load()
		st.Refused = name
		e.state.Store(&st)
	case recordMoved:
		s.moved.Store(true)
	case recordRestored:
		s.restored.Store(true)
	default:
		return fmt.Errorf("a record of kind %q, which this version does not know", kind)
	}
	return nil
}

// rotate makes a snapshot of everything in memory durable and begins a new
// journal. Only the goroutine that writes calls it, or Open before there is one.
// If it fails, nothing may be written until it succeeded.
func (s *Store) rotate() error {
	generation := s.generation + 1
	s.generation = generation // never tried twice
	j, err := createJournal(s.path(journalName(generation)), generation)
	if err != nil {
		return err
	}
	snap := snapshot{place: s.place, generation: generation, records: s.records()}
	if err := durable.WriteFile(s.path(stateName), snap.marshal(), 0o600); err != nil {
		return errors.Join(err, j.f.Close())
	}
	if s.journal != nil {
		_ = s.journal.f.Close() // it is not read any more
	}
	s.journal, s.snapshotSize = j, int64(len(snap.records))
	return s.removeJournals(generation)
}

// records returns everything as records.
func (s *Store) records() []byte {
	b := s.originRecords()
	if s.moved.Load() {
		b = appendRecord(b, recordMoved)
	}
	return b
}

// originRecords returns what a copy in another place has to know.
func (s *Store) originRecords() []byte {
	var b []byte
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.entries {
		st := e.state.Load()
		if st.Note != nil {
			b = appendRecord(b, recordCheckpoint, string(st.Note))
		}
		if st.Refused != "" {
			b = appendRecord(b, recordRefused, e.origin, "\n", st.Refused)
		}
	}
	if s.restored.Load() {
		b = appendRecord(b, recordRestored)
	}
	return b
}

// removeJournals removes journals other than that of generation.
func (s *Store) removeJournals(generation uint64) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), journalPrefix) && e.Name() != journalName(generation) {
			if err := os.Remove(s.path(e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

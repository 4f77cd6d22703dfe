package hydra

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/firn-log/firn/internal/durable"
)

// State is what earlier runs know of one jobset: a file that is replaced whole
// (spec/import.md#state-of-a-jobset). It is for one goroutine, and for one process:
// that is whoever holds the state of the import from the cache.
type State struct {
	path string
	f    stateFile
	done map[uint64]bool
}

type stateFile struct {
	Schema  int       `json:"schema"`
	Hydra   string    `json:"hydra"`
	Jobset  string    `json:"jobset"`
	Since   uint64    `json:"since"` // from which number on the list was read
	Top     uint64    `json:"top"`   // up to which; 0 if it never was read to its end
	ETag    string    `json:"etag,omitempty"`
	Waiting []waiting `json:"waiting"` // newest first
	Done    []uint64  `json:"done"`    // ascending
}

// waiting is an evaluation that is listed and not stated.
type waiting struct {
	Eval  uint64 `json:"eval"`
	ETag  string `json:"etag,omitempty"`  // of its builds, if they have not all ended
	Tried int64  `json:"tried,omitempty"` // Unix seconds of when it was first imported, if in vain
}

// OpenState reads the state of a jobset in the folder dir, which is made if it is
// missing. A file that is no state is an error.
func OpenState(dir string, h *Hydra, j JobsetName) (*State, error) {
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	id := sha256.Sum256([]byte(h.URL() + "\n" + j.String()))
	s := &State{path: filepath.Join(dir, j.name()+"-"+hex.EncodeToString(id[:8])+".json"), done: make(map[uint64]bool)}
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.f = stateFile{Schema: 1, Hydra: h.URL(), Jobset: j.String()}
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &s.f); err != nil || s.f.Schema != 1 || s.f.Hydra != h.URL() || s.f.Jobset != j.String() {
		return nil, fmt.Errorf("%s is not what an import from %s remembers of %s: without it everything is looked at again", s.path, h.URL(), j)
	}
	for _, id := range s.f.Done {
		s.done[id] = true
	}
	return s, nil
}

func (s *State) save() error {
	b, err := json.Marshal(&s.f)
	if err != nil {
		return err
	}
	return durable.WriteFile(s.path, append(b, '\n'), 0o644)
}

// list adds evaluations that were found, and saves.
func (s *State) list(found []uint64, since, top uint64, etag string) error {
	listed := make(map[uint64]bool, len(s.f.Waiting))
	for _, w := range s.f.Waiting {
		listed[w.Eval] = true
	}
	for _, id := range found {
		if !s.done[id] && !listed[id] {
			listed[id] = true
			s.f.Waiting = append(s.f.Waiting, waiting{Eval: id})
		}
	}
	slices.SortFunc(s.f.Waiting, func(a, b waiting) int {
		if a.Eval > b.Eval {
			return -1
		}
		return 1
	})
	s.f.Since, s.f.Top, s.f.ETag = since, max(s.f.Top, top), etag
	return s.save()
}

// settle notes that an evaluation is stated, and saves.
func (s *State) settle(id uint64) error {
	s.f.Waiting = slices.DeleteFunc(s.f.Waiting, func(w waiting) bool { return w.Eval == id })
	s.done[id] = true
	at, _ := slices.BinarySearch(s.f.Done, id)
	s.f.Done = slices.Insert(s.f.Done, at, id)
	return s.save()
}

// wait replaces what is known of an evaluation that waits, and saves if that is new.
func (s *State) wait(w waiting) error {
	for i := range s.f.Waiting {
		if s.f.Waiting[i].Eval == w.Eval && s.f.Waiting[i] != w {
			s.f.Waiting[i] = w
			return s.save()
		}
	}
	return nil
}

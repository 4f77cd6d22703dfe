package federation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/firn-log/firn/internal/durable"
)

// fileSubmitted is submitted.json (spec/federation.md#state). A new field does not
// change the schema; one that changes its meaning does.
type fileSubmitted struct {
	Schema int                 `json:"schema"`
	Logs   map[string][]string `json:"logs"` // by origin: SHA-256 of evidence that it has, in hexadecimal
}

func (s *Submitter) load() error {
	if s.o.Path == "" {
		return nil
	}
	b, err := os.ReadFile(s.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what logs have: %w", err)
	}
	var f fileSubmitted
	if err := json.Unmarshal(b, &f); err != nil || f.Schema != 1 {
		s.o.Hub.o.Logger.Warn("what logs have is damaged; they are asked again", "file", s.o.Path)
		return nil
	}
	for origin, hashes := range f.Logs {
		for _, h := range hashes {
			if l := s.logs[origin]; l != nil {
				l.done[h] = true
			}
		}
	}
	return nil
}

// save writes what logs have. The caller holds mu.
func (s *Submitter) save() error {
	if s.o.Path == "" {
		return nil
	}
	f := fileSubmitted{Schema: 1, Logs: make(map[string][]string)}
	for origin, l := range s.logs {
		for h := range l.done {
			f.Logs[origin] = append(f.Logs[origin], h)
		}
		slices.Sort(f.Logs[origin])
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return durable.WriteFile(s.o.Path, b, 0o644)
}

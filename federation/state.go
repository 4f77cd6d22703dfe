package federation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/firn-log/firn/internal/durable"
)

// fileState is DIR/<hash>.json (spec/federation.md#state). It holds notes that
// others signed and nothing that a policy does not verify again when it is read.
// A new field does not change the schema; one that changes its meaning does.
type fileState struct {
	Schema    int      `json:"schema"`
	Origin    string   `json:"origin"`
	Latest    string   `json:"latest,omitempty"`
	Recent    []string `json:"recent,omitempty"`
	Pending   []string `json:"pending,omitempty"`
	Witnesses []string `json:"witnesses,omitempty"`
}

func (h *Hub) path(o *origin) string { return filepath.Join(h.o.Dir, o.hash+".json") }

// save writes the state of a log.
func (h *Hub) save(o *origin) error {
	if h.o.Dir == "" {
		return nil
	}
	o.saving.Lock()
	defer o.saving.Unlock()
	o.mu.Lock()
	st := fileState{Schema: 1, Origin: o.Origin, Recent: notes(o.recent), Pending: notes(o.pending)}
	if o.latest != nil {
		st.Latest = string(o.latest.note)
	}
	for _, w := range o.Policy.Witnesses {
		if s := o.byWitness[w.Name]; s != nil {
			st.Witnesses = append(st.Witnesses, string(s.note))
		}
	}
	o.mu.Unlock()
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(h.o.Dir, 0o755); err != nil {
		return fmt.Errorf("writing state of %s: %w", o.Origin, err)
	}
	if err := durable.WriteFile(h.path(o), b, 0o644); err != nil {
		return fmt.Errorf("writing state of %s: %w", o.Origin, err)
	}
	return nil
}

func notes(list []*signed) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s.note)
	}
	return out
}

// load reads the state of a log. What is damaged, or not verified by the policy
// any more, is left out and reported.
func (h *Hub) load(o *origin) error {
	if h.o.Dir == "" {
		return nil
	}
	b, err := os.ReadFile(h.path(o))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading state of %s: %w", o.Origin, err)
	}
	var st fileState
	if err := json.Unmarshal(b, &st); err != nil || st.Schema != 1 || st.Origin != o.Origin {
		h.o.Logger.Warn("state is damaged and starts anew", "origin", o.Origin, "file", h.path(o))
		return nil
	}
	now := h.o.Now()
	read := func(note string) *signed {
		s, _, err := readSigned(o.Policy, []byte(note), now)
		if err != nil || s.head.Origin != o.Origin {
			h.o.Logger.Warn("a checkpoint of the state is dropped", "origin", o.Origin, "error", err)
			return nil
		}
		return s
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, note := range append([]string{st.Latest}, st.Recent...) {
		if note == "" {
			continue
		}
		if s := read(note); s != nil {
			if _, have := find(o.recent, s.text); !have {
				o.proven(s, now)
			}
		}
	}
	for _, note := range st.Pending {
		if s := read(note); s != nil {
			o.postpone(s, now)
		}
	}
	for _, note := range st.Witnesses {
		if s := read(note); s != nil {
			o.noteWitnesses(s, now)
		}
	}
	return nil
}

// some returns up to four checkpoints that wait, the largest always.
func (o *origin) some() []*signed {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.pending)
	if n == 0 {
		return nil
	}
	list := []*signed{o.pending[n-1]}
	for _, i := range rand.Perm(n - 1)[:min(3, n-1)] {
		list = append(list, o.pending[i])
	}
	return list
}

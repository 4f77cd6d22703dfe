package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// watchState is the file in which watches remember how far they were, one for each
// log. New fields may be added; a field that changes its meaning changes the schema.
type watchState struct {
	Schema int                   `json:"schema"`
	Origin string                `json:"origin"`
	Keys   map[string]watchedKey `json:"keys"`
}

// watchedKey says how far a key was watched: its list in a revision of the
// index, which every later list must begin with, and what was printed of it.
type watchedKey struct {
	Count uint64 `json:"count"` // of the list
	Root  string `json:"root"`  // likewise, 64 hexadecimal digits; "" for none
	Size  uint64 `json:"size"`  // of the revision
	Next  uint64 `json:"next"`  // everything below this index was printed
}

func newWatchedKey(k log.Known, next uint64) watchedKey {
	w := watchedKey{Count: k.Count, Size: k.Size, Next: next}
	if k.Count > 0 {
		w.Root = hex.EncodeToString(k.Root[:])
	}
	return w
}

// known is the zero Known for a root that is none.
func (w watchedKey) known() log.Known {
	b, err := hex.DecodeString(w.Root)
	if err != nil || len(b) != len(index.Hash{}) {
		return log.Known{}
	}
	return log.Known{Head: index.Head{Count: w.Count, Root: index.Hash(b)}, Size: w.Size}
}

// watchFile is where the watches of a log are remembered, "" for nowhere.
func watchFile(stateDir, origin string) string {
	if stateDir == "" {
		return ""
	}
	return filepath.Join(stateDir, "watch", fmt.Sprintf("%x.json", sha256.Sum256([]byte(origin))))
}

// readWatchState reads the file; one that is missing says nothing.
func readWatchState(path, origin string) (*watchState, error) {
	s := &watchState{Schema: 1, Origin: origin, Keys: make(map[string]watchedKey)}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("reading how far was watched: %w", err)
	}
	var got watchState
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&got); err != nil || got.Schema != 1 || got.Origin != origin || got.Keys == nil {
		return s, fmt.Errorf("%s does not say how far log %s was watched", path, origin)
	}
	return &got, nil
}

func (w *watching) load() error {
	if w.file == "" {
		return nil
	}
	s, err := readWatchState(w.file, w.c.Origin())
	for _, k := range w.keys {
		w.at[k] = s.Keys[k]
	}
	return err
}

// beginAt heeds --since: of everything before it only the lists are read.
func (w *watching) beginAt(ctx context.Context) error {
	if w.begin == nil {
		return nil
	}
	lists, err := w.c.Lookup(ctx, log.Query{Keys: w.keys, Signers: []statement.KeyID{}})
	if err != nil {
		return err
	}
	for _, k := range w.keys {
		size := lists.Heads[k].Size
		var before index.Frontier
		for _, f := range lists.Of(k) {
			if f.Index < min(*w.begin, size) {
				before.Append(index.Item{Index: f.Index, Signer: f.Signer})
			}
		}
		w.at[k] = newWatchedKey(log.Known{Head: before.Root(), Size: size}, *w.begin)
	}
	w.begin = nil
	return nil
}

// remember notes how far answers went that are whole. Of others nothing is remembered, so that what is missing
// is printed when it comes.
func (w *watching) remember(answers *log.Answers) error {
	changed := false
	for _, k := range w.keys {
		was, head := w.at[k], answers.Heads[k]
		if head.Size == 0 { // not known
			head = was.known()
		}
		w.at[k] = newWatchedKey(head, max(was.Next, answers.Read))
		changed = changed || w.at[k] != was
	}
	maps.DeleteFunc(w.printed, func(i uint64, _ bool) bool { return i < answers.Read })
	if !changed || w.file == "" {
		return nil
	}
	if err := w.save(); err != nil {
		w.warn(fmt.Errorf("how far was watched cannot be remembered: %w", err))
	}
	return nil
}

// save writes down what concerns the keys of this watch; others may be writing too.
func (w *watching) save() error {
	if err := durable.MkdirAll(filepath.Dir(w.file), 0o700); err != nil {
		return err
	}
	lock, err := durable.AcquireWait(w.file + ".lock")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	s, err := readWatchState(w.file, w.c.Origin())
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	for _, k := range w.keys {
		s.Keys[k] = w.at[k]
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.WriteFile(w.file, append(b, '\n'), 0o600)
}

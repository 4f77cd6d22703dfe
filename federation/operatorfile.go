package federation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/statement"
)

// fileOperators is operators.json (spec/federation.md#state): leaves that operators
// signed, which are verified again when they are read. A new field does not change
// the schema; one that changes its meaning does.
type fileOperators struct {
	Schema     int        `json:"schema"`
	Statements []fileSaid `json:"statements"`
}

type fileSaid struct {
	Origin string `json:"origin"` // of a log that has it
	Index  uint64 `json:"index"`
	Leaf   []byte `json:"leaf"`
}

// load returns what was kept, none if nothing was.
func (p *Operators) load() ([]said, error) {
	if p.o.Path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(p.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what operators said: %w", err)
	}
	var f fileOperators
	if err := json.Unmarshal(b, &f); err != nil || f.Schema != 1 {
		p.o.Hub.o.Logger.Warn("what operators said is damaged and is read from the logs again", "file", p.o.Path)
		return nil, nil
	}
	var all []said
	for _, x := range f.Statements {
		if s, err := statement.Parse(x.Leaf); err == nil {
			all = append(all, said{s, s.ID(), x.Leaf, x.Origin, x.Index})
		}
	}
	return all, nil
}

// save writes what is linked, if there is something new. One round is saved at a time.
func (p *Operators) save() error {
	f := fileOperators{Schema: 1, Statements: []fileSaid{}}
	p.mu.Lock()
	if p.o.Path == "" || !p.unkept {
		p.mu.Unlock()
		return nil
	}
	for _, id := range p.o.IDs {
		all := p.chains[id].all()
		slices.SortFunc(all, func(a, b said) int { return slices.Compare(a.id[:], b.id[:]) })
		for _, s := range all {
			f.Statements = append(f.Statements, fileSaid{s.origin, s.index, s.leaf})
		}
	}
	p.mu.Unlock()
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(p.o.Path, b, 0o644); err != nil {
		return err
	}
	p.mu.Lock()
	p.unkept = false
	p.mu.Unlock()
	return nil
}

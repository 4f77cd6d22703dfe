package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/index"
)

// Bounds of a state.
const (
	maxSpans  = 64 // further ones are joined with their neighbours
	maxWrongs = 16 // wrong revisions that evidence is looked for, of one span
)

// state is what is known of the revisions of a log, apart from the map
// (spec/auditor.md#directory).
type state struct {
	checked uint64  // every revision below this size was compared
	reset   uint64  // revisions of at most this size are withdrawn
	spans   []span  // in the order of the log
	wrongs  []wrong // in the order of the log
}

// A span is a range of checkpoints that hold a wrong revision which they do not
// withdraw: those of sizes above from, up to to.
type span struct {
	from uint64 // index of the first wrong revision
	to   uint64 // index of the index-reset that withdraws them all; 0 while there is none
	most uint64 // largest size of a wrong revision
}

// A wrong is a revision that is not right.
type wrong struct {
	at, size  uint64
	root      index.Hash
	withdrawn bool // looked at once more, and then forgotten
}

// in reports whether w is one of list.
func (w wrong) in(list []wrong) bool {
	return slices.ContainsFunc(list, func(v wrong) bool { return v.at == w.at })
}

// clone returns a state that shares nothing with s.
func (s *state) clone() state {
	return state{s.checked, s.reset, append([]span(nil), s.spans...), append([]wrong(nil), s.wrongs...)}
}

// knows returns the size of the smallest checkpoint that holds all that s is about.
func (s *state) knows() uint64 {
	size := max(s.checked, s.reset)
	for _, sp := range s.spans {
		size = max(size, sp.from+1, sp.to+1)
	}
	for _, w := range s.wrongs {
		size = max(size, w.at+1)
	}
	return size
}

// open returns the span that no index-reset has ended, nil if there is none.
func (s *state) open() *span {
	if n := len(s.spans); n > 0 && s.spans[n-1].to == 0 {
		return &s.spans[n-1]
	}
	return nil
}

// refuses returns the span that keeps a checkpoint of this size from being
// cosigned, nil if none does.
func (s *state) refuses(size uint64) *span {
	for i := range s.spans {
		if sp := &s.spans[i]; sp.from < size && (sp.to == 0 || size <= sp.to) {
			return sp
		}
	}
	return nil
}

// add notes a wrong revision, of which evidence is to be found.
func (s *state) add(w wrong) {
	s.refuse(w.at, w.size)
	s.lookFor(w)
}

// refuse notes a revision that no checkpoint is cosigned with.
func (s *state) refuse(at, size uint64) {
	sp := s.open()
	if sp == nil {
		s.spans = append(s.spans, span{from: at})
		sp = &s.spans[len(s.spans)-1]
	}
	sp.most = max(sp.most, size)
	if n := len(s.spans); n > maxSpans {
		// Joined, they refuse more than each of them.
		s.spans[n-2].from = s.spans[n-3].from
		s.spans = append(s.spans[:n-3], s.spans[n-2:]...)
	}
}

// lookFor notes that there should be evidence of a wrong revision. If there is no
// room, one that was withdrawn makes place.
func (s *state) lookFor(w wrong) {
	if w.in(s.wrongs) {
		return
	}
	if len(s.wrongs) >= maxWrongs {
		i := slices.IndexFunc(s.wrongs, func(v wrong) bool { return v.withdrawn })
		if i < 0 {
			return
		}
		s.wrongs = slices.Delete(s.wrongs, i, i+1)
	}
	s.wrongs = append(s.wrongs, w)
}

// withdraw notes that the index-reset at an index withdraws revisions of at most a
// size, and reports whether it ends anything.
func (s *state) withdraw(at, size uint64) bool {
	s.reset = max(s.reset, size)
	sp := s.open()
	if sp == nil || size < sp.most {
		return false
	}
	sp.to = at
	for i := range s.wrongs {
		s.wrongs[i].withdrawn = true
	}
	return true
}

const stateHeader = "firn-auditor state v2"

func (s *state) marshal() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nchecked %d\nreset %d\n", stateHeader, s.checked, s.reset)
	for _, sp := range s.spans {
		fmt.Fprintf(&b, "span %d %d %d\n", sp.from, sp.to, sp.most)
	}
	for _, w := range s.wrongs {
		fmt.Fprintf(&b, "wrong %d %d %x %t\n", w.at, w.size, w.root[:], w.withdrawn)
	}
	b.WriteString("end\n")
	return []byte(b.String())
}

// errState says that a file is not a state.
var errState = errors.New("it is not a state of an audit")

// parseState reads what marshal writes, and nothing else.
func parseState(b []byte) (state, error) {
	var s state
	lines := strings.Split(string(b), "\n")
	if lines[0] != stateHeader {
		return state{}, errState
	}
	for _, line := range lines[1:] {
		word, rest, _ := strings.Cut(line, " ")
		var err error
		switch word {
		case "checked":
			_, err = fmt.Sscanf(rest, "%d", &s.checked)
		case "reset":
			_, err = fmt.Sscanf(rest, "%d", &s.reset)
		case "span":
			var sp span
			_, err = fmt.Sscanf(rest, "%d %d %d", &sp.from, &sp.to, &sp.most)
			s.spans = append(s.spans, sp)
		case "wrong":
			var w wrong
			var root string
			if _, err = fmt.Sscanf(rest, "%d %d %s %t", &w.at, &w.size, &root, &w.withdrawn); err == nil && len(root) == 2*len(w.root) {
				_, err = hex.Decode(w.root[:], []byte(root))
			}
			s.wrongs = append(s.wrongs, w)
		}
		if err != nil {
			return state{}, fmt.Errorf("%w: %.60q", errState, line)
		}
	}
	if string(s.marshal()) != string(b) {
		return state{}, errState
	}
	return s, nil
}

// readState reads the state, the zero one if there is none.
func readState(path string) (state, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	return parseState(b)
}

// save writes the state as it is now.
func (a *Auditor) save() error {
	a.saving.Lock()
	defer a.saving.Unlock()
	st := a.stateNow()
	if err := durable.WriteFile(a.file, st.marshal(), 0o644); err != nil {
		return fmt.Errorf("writing the state of the audit: %w", err)
	}
	a.saved.Store(st.checked)
	return nil
}

func (a *Auditor) stateNow() state {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.clone()
}

func (a *Auditor) checked() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.checked
}

// advance makes next the state. What must not be forgotten is on disk before
// anybody sees that the entries were read.
func (a *Auditor) advance(before, next state, entries uint64) error {
	a.mu.Lock()
	found := func(w wrong) bool { return w.in(before.wrongs) && !w.in(a.state.wrongs) } // meanwhile
	a.state.spans, a.state.wrongs, a.state.reset = next.spans, slices.DeleteFunc(slices.Clone(next.wrongs), found), next.reset
	a.mu.Unlock()
	if !slices.Equal(before.spans, next.spans) || !slices.Equal(before.wrongs, next.wrongs) {
		// Without the new number of entries: if this is lost they are read again.
		if err := a.save(); err != nil {
			return err
		}
	}
	a.mu.Lock()
	a.state.checked = next.checked
	a.counts.entries += entries
	a.notify()
	a.mu.Unlock()
	if len(next.wrongs) > 0 && !slices.Equal(before.wrongs, next.wrongs) {
		signal(a.hunts)
	}
	if next.checked >= a.saved.Load()+saveEvery {
		return a.save()
	}
	return nil
}

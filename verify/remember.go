package verify

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// Bounds of remembered answers (spec/policy.md#remembered-answers).
const (
	maxStateBytes = 256 << 20
	maxStateKeys  = 200_000
)

// The first line of a state file is stateStem and the version.
const (
	stateStem  = "firn-verify-state-"
	stateMagic = stateStem + "5\n"
)

// memory is what was learned from one log under one policy: proven and
// signature-checked, so that the next run only asks what is new. It is derived
// and may be lost; what does not read back exactly is thrown away.
type memory struct {
	note    []byte                      // the checkpoint that the answers go up to
	size    uint64                      // below which the answers are whole; at most that of note
	frozen  bool                        // note is the last checkpoint of a log that is frozen
	vouched [][]byte                    // checkpoints that vouch for the revisions of the index; none if nothing was proven
	signers []statement.KeyID           // sorted; every key in claims was asked for all of them
	people  map[string]remembered[leaf] // by index key
	claims  map[string]remembered[record]
	changed bool // it is not what was read from the file
}

// remembered is everything a log holds under one key below index upTo. The head
// commits to the list of which they are a part: only what follows it is asked for. Its
// count is 0 if it is not known, and the key is asked for from the start then.
type remembered[T any] struct {
	upTo    uint64
	head    log.Known
	entries []T
}

// leaf is a people statement, whole: what it means depends on the others.
type leaf struct {
	Index uint64
	Leaf  []byte
}

func newMemory() *memory {
	return &memory{people: make(map[string]remembered[leaf]), claims: make(map[string]remembered[record])}
}

// stateFile names the file for one log and one set of operators: other
// operators mean other questions.
func stateFile(dir string, pol *Policy, ref *LogRef) string {
	h := sha256.New()
	fmt.Fprintln(h, ref.Policy.Logs[0].Key.String())
	for _, o := range pol.Operators {
		anonymous := Operator{ID: o.ID, Keys: o.Keys}
		fmt.Fprintln(h, anonymous.String())
	}
	return filepath.Join(dir, fmt.Sprintf("%x.answers", h.Sum(nil)[:16]))
}

// errCorrupt says that a state file is not what was written.
var errCorrupt = errors.New("remembered answers are damaged")

// loadMemory reads a state file. A file that is missing is an empty memory; a
// damaged one is an empty memory and errCorrupt.
func loadMemory(path string) (*memory, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newMemory(), nil
	}
	if err != nil {
		return newMemory(), err
	}
	if st.Size() > maxStateBytes {
		return newMemory(), fmt.Errorf("%w: %s has %d bytes", errCorrupt, path, st.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return newMemory(), err
	}
	if old := string(data[:min(len(data), len(stateMagic))]); strings.HasPrefix(old, stateStem) && old != stateMagic {
		return newMemory(), nil // of another version: derived, and asked for again
	}
	m, err := decodeMemory(data)
	if err != nil {
		return newMemory(), fmt.Errorf("%w: %s: %v", errCorrupt, path, err)
	}
	return m, nil
}

// saveMemory replaces a state file. Only the user can read it.
func saveMemory(path string, m *memory) error {
	dir := filepath.Dir(path)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := durable.AcquireWait(filepath.Join(dir, "lock"))
	var held *durable.LockedError
	if errors.As(err, &held) {
		return nil // another run in this process is writing; what it writes is as good
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return durable.WriteFile(path, m.encode(), 0o600)
}

// shrink forgets keys that were not asked for now if there are too many.
func (m *memory) shrink(asked map[string]bool) {
	if len(m.claims) <= maxStateKeys {
		return
	}
	maps.DeleteFunc(m.claims, func(key string, _ remembered[record]) bool { return !asked[key] })
}

// ForgetAnswers removes what is remembered in stateDir of the answers of the log
// of origin, whoever asked it. They will be asked for again.
func ForgetAnswers(stateDir, origin string) error {
	files, err := os.ReadDir(filepath.Join(stateDir, "verify"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting answers: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(stateDir, "verify", f.Name())
		if !strings.HasSuffix(path, ".answers") {
			continue
		}
		m, err := loadMemory(path)
		if err == nil && m.note != nil && noteOrigin(m.note) != origin {
			continue
		}
		// Damaged ones are of no use to anybody.
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("forgetting answers: %w", err)
		}
	}
	return nil
}

// noteText is what the signatures of a note are about: of a checkpoint its origin, size and root.
func noteText(note []byte) string {
	text, _, _ := strings.Cut(string(note), "\n\n")
	return text
}

// noteOrigin is the first line of a note.
func noteOrigin(note []byte) string {
	line, _, _ := strings.Cut(string(note), "\n")
	return line
}

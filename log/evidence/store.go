package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/policy"
)

// MaxHeld is how many files are kept against one key.
const MaxHeld = 4

// MaxMapVersions is for how many map versions, the smallest ones, files are kept
// against one index. A log can sign revisions of as many as it likes.
const MaxMapVersions = 4

// Suffix ends the names of files with evidence.
const Suffix = ".firn-evidence"

// ErrSetAside is matched when evidence was set aside by [Store.SetAside]: a person
// has decided that the log is to be trusted again in spite of it.
var ErrSetAside = errors.New("evidence was set aside before")

// A Store keeps evidence in a folder, for good (spec/evidence.md#keeping). It may
// be used from several goroutines, and its folder by several processes. Nothing
// is believed of a file because it is there: whatever a Store returns was
// verified at that moment.
type Store struct {
	dir   string // "" keeps nothing
	judge Judge  // nil if evidence of KindIndex is passed over
}

// An Option changes a Store that NewStore returns.
type Option func(*Store)

// WithJudge makes a store keep and return evidence of KindIndex, too.
func WithJudge(j Judge) Option { return func(s *Store) { s.judge = j } }

// A Held is a file of a store.
type Held struct {
	Path     string
	Bytes    []byte
	Evidence *Evidence
	Verdict  Verdict
}

// NewStore returns the store in a folder, which is made when first needed. With
// an empty dir nothing is kept.
func NewStore(dir string, opts ...Option) *Store {
	s := &Store{dir: dir}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Dir returns the folder, "" if there is none.
func (s *Store) Dir() string { return s.dir }

// OriginName is how the names of files about an origin begin.
func OriginName(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// FileName is the name under which a store keeps the evidence b about origin.
func FileName(origin string, b []byte) string {
	sum := sha256.Sum256(b)
	return OriginName(origin) + "-" + hex.EncodeToString(sum[:8]) + Suffix
}

// Add keeps evidence that convicts a key of pol and reports whether it is new.
// At most [MaxHeld] files are kept against one key, or against the index of one
// origin and map version; if there are as many, Add names one of them. But evidence about a larger
// revision of an index than all that are held takes the place of that about the
// smallest one, since a reset answers for all smaller ones at once; and a smaller map
// version takes the place of the largest of [MaxMapVersions]. New evidence is on
// disk, synced, before Add returns. Errors match those of [Evidence.VerifyWith], or
// ErrSetAside, with the path to where it is.
func (s *Store) Add(e *Evidence, pol *policy.Policy) (held Held, added bool, err error) {
	v, err := e.VerifyWith(pol, s.judge)
	if err != nil {
		return Held{}, false, err
	}
	held = Held{Bytes: e.Marshal(), Evidence: e, Verdict: v}
	if s.dir == "" {
		return held, false, nil
	}
	unlock, err := s.lock()
	if err != nil {
		return held, false, err
	}
	defer unlock()
	name := FileName(v.Origin, held.Bytes)
	if aside := filepath.Join(s.asideDir(), name); exists(aside) {
		held.Path = aside
		return held, false, fmt.Errorf("%w, see %s", ErrSetAside, aside)
	}
	against, err := s.against(e, v)
	if err != nil {
		return held, false, err
	}
	for _, h := range against {
		if string(h.Bytes) == string(held.Bytes) {
			return h, false, nil
		}
	}
	replace, full := outlived(against, v)
	if full && len(replace) == 0 {
		return against[len(against)-1], false, nil
	}
	held.Path = filepath.Join(s.dir, name)
	if err := durable.WriteFile(held.Path, held.Bytes, 0o600); err != nil {
		return held, false, fmt.Errorf("keeping evidence: %w", err)
	}
	for _, path := range replace {
		if err := os.Remove(path); err != nil {
			return held, true, fmt.Errorf("keeping evidence: %w", err)
		}
	}
	return held, true, nil
}

// against returns what is held already against the party that e, with verdict v, is
// about; of an index, by whatever map version.
func (s *Store) against(e *Evidence, v Verdict) ([]Held, error) {
	return s.convicting(func(h *Evidence) (Verdict, error) {
		if h.Kind != e.Kind || !h.against(e.Key) {
			return Verdict{}, ErrUnknownKey
		}
		w, err := h.VerifySelfWith(s.judge)
		w.Key, w.Name = v.Key, v.Name
		return w, err
	})
}

// outlived reports whether enough is held, and if so which files make place
// for new evidence, if any.
func outlived(held []Held, v Verdict) (paths []string, full bool) {
	versions := make(map[uint64][]Held)
	largest := uint64(0)
	for _, h := range held {
		versions[h.Verdict.MapVersion] = append(versions[h.Verdict.MapVersion], h)
		largest = max(largest, h.Verdict.MapVersion)
	}
	same := versions[v.MapVersion]
	switch {
	case len(same) == 0 && len(versions) >= MaxMapVersions:
		if v.MapVersion > largest {
			return nil, true
		}
		for _, h := range versions[largest] {
			paths = append(paths, h.Path)
		}
		return paths, true
	case len(same) < MaxHeld:
		return nil, false
	case v.Kind != KindIndex:
		return nil, true
	}
	least := same[0]
	for _, h := range same {
		if h.Verdict.Size >= v.Size {
			return nil, true
		}
		if h.Verdict.Size < least.Verdict.Size {
			least = h
		}
	}
	return []string{least.Path}, true
}

// List returns all evidence of the store that convicts the key it names itself,
// sorted by path. That alone is no reason to act: see [Evidence.VerifySelf].
func (s *Store) List() ([]Held, error) {
	return s.convicting(func(e *Evidence) (Verdict, error) { return e.VerifySelfWith(s.judge) })
}

// AgainstLog returns what is held against the log of origin under pol. Evidence
// against its index is not: the log's checkpoints go on being believed.
func (s *Store) AgainstLog(pol *policy.Policy, origin string) ([]Held, error) {
	return s.convicting(func(e *Evidence) (Verdict, error) {
		if e.Kind != KindLog || e.Key.Name != origin {
			return Verdict{}, ErrUnknownKey
		}
		return e.Verify(pol)
	})
}

// AgainstIndex returns what is held under pol against the index of the log of
// origin in a map version. Some of it may be answered by an index-reset in the log:
// fraud.ClearedBy. It is an error if the store has no judge.
func (s *Store) AgainstIndex(pol *policy.Policy, origin string, mapVersion uint64) ([]Held, error) {
	if s.judge == nil {
		return nil, errUnjudged
	}
	return s.convicting(func(e *Evidence) (Verdict, error) {
		if e.Kind != KindIndex || e.Key.Name != origin {
			return Verdict{}, ErrUnknownKey
		}
		v, err := e.VerifyWith(pol, s.judge)
		if err == nil && v.MapVersion != mapVersion {
			err = ErrUnknownKey
		}
		return v, err
	})
}

// AgainstWitnesses returns what is held against witnesses of pol, for whatever
// origin.
func (s *Store) AgainstWitnesses(pol *policy.Policy) ([]Held, error) {
	return s.convicting(func(e *Evidence) (Verdict, error) {
		if e.Kind != KindWitness {
			return Verdict{}, ErrUnknownKey
		}
		return e.Verify(pol)
	})
}

// Apply returns pol, or a copy of it that ignores the keys of those witnesses
// that evidence is held against (spec/evidence.md#consequences).
func (s *Store) Apply(pol *policy.Policy) (*policy.Policy, error) {
	held, err := s.AgainstWitnesses(pol)
	if err != nil || len(held) == 0 {
		return pol, err
	}
	var keys []policy.Key
	for _, h := range held {
		keys = append(keys, h.Verdict.Key)
	}
	return pol.Ignoring(keys...), nil
}

// SetAside moves all evidence against the log of origin and its index, under whatever key, out
// of the way, for good: the same evidence is not taken again. It returns the new
// paths.
func (s *Store) SetAside(origin string) ([]string, error) {
	if s.dir == "" {
		return nil, nil
	}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := s.read()
	if err != nil {
		return nil, err
	}
	var moved []string
	for _, h := range all {
		if h.Evidence.Kind == KindWitness || h.Evidence.Key.Name != origin {
			continue
		}
		path, err := s.archive(FileName(origin, h.Bytes), h.Bytes)
		if err != nil {
			return moved, err
		}
		if err := os.Remove(h.Path); err != nil {
			return moved, fmt.Errorf("setting evidence aside: %w", err)
		}
		moved = append(moved, path)
	}
	return moved, durable.SyncDir(s.dir)
}

// Archive keeps a file beside the evidence that was set aside and returns its path.
func (s *Store) Archive(name string, b []byte) (string, error) {
	if s.dir == "" {
		return "", nil
	}
	unlock, err := s.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	return s.archive(name, b)
}

func (s *Store) archive(name string, b []byte) (string, error) {
	path := filepath.Join(s.asideDir(), name)
	err := durable.MkdirAll(s.asideDir(), 0o700)
	if err == nil {
		err = durable.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("setting evidence aside: %w", err)
	}
	return path, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (s *Store) asideDir() string { return filepath.Join(s.dir, "set-aside") }

// waiting serialises the goroutines of this process, because a lock of package
// durable is refused, not awaited, within one.
var waiting sync.Map // dir → *sync.Mutex

func (s *Store) lock() (unlock func(), err error) {
	if err := durable.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeping evidence: %w", err)
	}
	v, _ := waiting.LoadOrStore(s.dir, new(sync.Mutex))
	mu := v.(*sync.Mutex)
	mu.Lock()
	l, err := durable.AcquireWait(filepath.Join(s.dir, ".lock"))
	if err != nil {
		mu.Unlock()
		return nil, fmt.Errorf("keeping evidence: %w", err)
	}
	return func() { _ = l.Unlock(); mu.Unlock() }, nil
}

// convicting returns the evidence that convicts somebody, as verify says.
func (s *Store) convicting(verify func(*Evidence) (Verdict, error)) ([]Held, error) {
	all, err := s.read()
	if err != nil {
		return nil, err
	}
	var held []Held
	for _, h := range all {
		if h.Verdict, err = verify(h.Evidence); err == nil {
			held = append(held, h)
		}
	}
	return held, nil
}

// read parses every file, whatever its name begins with, in the order of the
// names. What is not evidence is passed over; what cannot be read is an error, because
// it may convict.
func (s *Store) read() ([]Held, error) {
	if s.dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading evidence: %w", err)
	}
	var held []Held
	for _, d := range entries {
		if !strings.HasSuffix(d.Name(), Suffix) {
			continue
		}
		path := filepath.Join(s.dir, d.Name())
		b, err := ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // set aside at this moment
		case err != nil:
			return nil, fmt.Errorf("reading evidence: %w", err)
		}
		if e, err := Parse(b); err == nil {
			held = append(held, Held{Path: path, Bytes: b, Evidence: e})
		}
	}
	return held, nil
}

// ReadFile reads at most a little more than [MaxSize] bytes of a file.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

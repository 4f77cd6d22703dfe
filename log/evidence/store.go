package evidence

import (
	"github.com/firn-log/firn/log/policy"
)

// MaxHeld is how many files are kept against one key.
const MaxHeld = 4

// A Store keeps evidence in a folder, for good. It may be used from several
// goroutines, and its folder by several processes.
type Store struct{ dir string }

// A Held is a file of a store.
type Held struct {
	Path     string
	Bytes    []byte
	Evidence *Evidence
	Verdict  Verdict
}

// NewStore returns the store in a folder, which is made when first needed.
func NewStore(dir string) *Store { return &Store{dir: dir} }

// Add keeps evidence that convicts a key of pol and reports whether it is new.
// At most [MaxHeld] files are kept against one key; if there are as many, Add
// names one of them. It is synced to disk before Add returns.
func (s *Store) Add(e *Evidence, pol *policy.Policy) (held Held, added bool, err error) {
	return Held{}, false, ErrNotEvidence
}

// List returns all evidence of the store that convicts the key it names, oldest
// name first.
func (s *Store) List() ([]Held, error) { return nil, nil }

// AgainstLog returns what is held against the log of origin under pol.
func (s *Store) AgainstLog(pol *policy.Policy, origin string) ([]Held, error) { return nil, nil }

// AgainstWitnesses returns what is held against witnesses of pol.
func (s *Store) AgainstWitnesses(pol *policy.Policy) ([]Held, error) { return nil, nil }

// Apply returns pol, or a copy of it that ignores the keys of the witnesses that
// evidence is held against.
func (s *Store) Apply(pol *policy.Policy) (*policy.Policy, error) { return pol, nil }

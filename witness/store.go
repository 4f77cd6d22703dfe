package witness

// A Store keeps what a witness has cosigned. One process has it.
type Store struct{}

// CreateStore makes an empty store in dir.
func CreateStore(dir string) error { return errSkeleton }

// OpenStore opens the store in dir and locks it.
func OpenStore(dir string) (*Store, error) { return nil, errSkeleton }

// Close releases the store.
func (s *Store) Close() error { return nil }

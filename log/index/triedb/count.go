package triedb

import "github.com/firn-log/firn/log/index"

// Count returns the number of items in the list of a key hash; 0 if it has none. It
// costs less than Head of a long list, because it hashes nothing.
func (v *View) Count(kh index.Hash) (uint64, error) {
	rd, release, err := v.reader()
	if err != nil {
		return 0, err
	}
	defer release()
	return rd.list(kh).count(), nil
}

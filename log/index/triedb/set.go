package triedb

import "slices"

// A runSet is the runs at one time, oldest first. It is not changed. Its runs are
// mapped while somebody holds it.
type runSet struct {
	runs []*run
	refs int // guarded by DB.mu
}

// inMemory is the number of items that no file holds.
func (s *runSet) inMemory() (n int) {
	for _, r := range s.runs {
		if r.seq == 0 {
			n += r.n
		}
	}
	return n
}

// onDisk returns the runs in files; those in memory follow them.
func (s *runSet) onDisk() []*run {
	i := slices.IndexFunc(s.runs, func(r *run) bool { return r.seq == 0 })
	if i < 0 {
		i = len(s.runs)
	}
	return s.runs[:i]
}

// items is the number of items of all runs.
func (s *runSet) items() (n int) {
	for _, r := range s.runs {
		n += r.n
	}
	return n
}

// acquire returns the runs as they are now; they must be released.
func (db *DB) acquire() (*runSet, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, ErrClosed
	}
	db.set.refs++
	return db.set, nil
}

func (db *DB) release(s *runSet) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.drop(s)
}

// drop is release for a caller that holds mu.
func (db *DB) drop(s *runSet) {
	if s.refs--; s.refs > 0 {
		return
	}
	for _, r := range s.runs {
		if r.refs--; r.refs == 0 {
			r.unmap()
		}
	}
}

// replaceSet makes s the runs from now on. The caller holds mu.
func (db *DB) replaceSet(s *runSet) {
	for _, r := range s.runs {
		r.refs++
	}
	s.refs = 1
	old := db.set
	db.set = s
	db.drop(old)
}

// with returns the set in which one run replaces adjacent ones, or follows all
// others if there are none to replace.
func (s *runSet) with(r *run, instead []*run) *runSet {
	if len(instead) == 0 {
		return &runSet{runs: append(slices.Clone(s.runs), r)}
	}
	i := slices.Index(s.runs, instead[0])
	return &runSet{runs: slices.Replace(slices.Clone(s.runs), i, i+len(instead), r)}
}

// claim marks the runs that pick chooses as being rewritten. They stay mapped
// until they are let go.
func (db *DB) claim(pick func(s *runSet) []*run) []*run {
	db.mu.Lock()
	defer db.mu.Unlock()
	runs := pick(db.set)
	for _, r := range runs {
		r.busy = true
		r.refs++
	}
	return runs
}

func (db *DB) letGo(runs []*run) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, r := range runs {
		r.busy = false
		if r.refs--; r.refs == 0 {
			r.unmap()
		}
	}
}

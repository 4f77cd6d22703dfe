package witness

import (
	"sync"
	"time"
)

// Bounds of gathering: how long a group waits for requests that are about to
// join it, as a part of what a sync takes.
const (
	gatherPart = 3 // a third
	maxGather  = 2 * time.Millisecond
	// maxGroup is the size in bytes at which a group is closed; with its last
	// member it stays well below maxFrame.
	maxGroup = 8 << 20
)

// announce says that a request is being checked that will probably be queued in
// a moment, so that a group waits for it. The function that it returns takes
// that back; it may be called more than once.
func (s *Store) announce() (done func()) {
	s.preparing.Add(1)
	return sync.OnceFunc(func() { s.preparing.Add(-1) })
}

// Syncs returns how many groups, with how many members, were made durable since
// the store was opened.
func (s *Store) Syncs() (groups, members uint64) { return s.groups.Load(), s.members.Load() }

// commit makes c durable.
func (s *Store) commit(c *commit) error {
	if err := s.enqueue(c); err != nil {
		return err
	}
	return s.wait(c)
}

func (s *Store) enqueue(c *commit) error {
	c.done = make(chan error, 1)
	select {
	case s.queue <- c:
		return nil
	case <-s.closing:
		return ErrClosed
	}
}

func (s *Store) wait(c *commit) error {
	select {
	case err := <-c.done:
		return err
	case <-s.stopped:
	}
	select {
	case err := <-c.done:
		return err
	default:
		return ErrClosed
	}
}

// write is the goroutine that writes: it makes durable, with one sync, whatever
// is waiting.
func (s *Store) write() {
	defer close(s.stopped)
	for {
		var group []*commit
		select {
		case c := <-s.queue:
			group = s.gather(c)
		case <-s.closing:
			select {
			case c := <-s.queue:
				group = s.gather(c)
			default:
				return
			}
		}
		err := s.writeGroup(group)
		for _, c := range group {
			c.done <- err
		}
	}
}

// gather returns first and everything that is queued or about to be. Without
// waiting for those, one request would often be synced alone while the others
// just miss it, and the next group would wait twice.
func (s *Store) gather(first *commit) []*commit {
	group, size := []*commit{first}, len(first.records)
	var timer *time.Timer
	for size < maxGroup {
		select {
		case c := <-s.queue:
			group, size = append(group, c), size+len(c.records)
			continue
		default:
		}
		if s.preparing.Load() == 0 {
			break
		}
		if timer == nil {
			timer = time.NewTimer(min(s.syncTime/gatherPart, maxGather))
			defer timer.Stop()
		}
		select {
		case c := <-s.queue:
			group, size = append(group, c), size+len(c.records)
			continue
		case <-timer.C:
		}
		break
	}
	return group
}

// writeGroup makes a group durable and then lets its changes be seen. After a
// failure nothing is known about the journal, so it is not written to again:
// the next group first makes a snapshot of what was acknowledged, which leaves
// out whatever the failed write may have left.
func (s *Store) writeGroup(group []*commit) error {
	if s.moved.Load() {
		return ErrMoved
	}
	if s.broken != nil {
		if err := s.rotate(); err != nil {
			return &StorageError{err}
		}
		s.broken = nil
	}
	var records []byte
	rotate := false
	for _, c := range group {
		records = append(records, c.records...)
		rotate = rotate || c.rotate
	}
	if len(records) > 0 {
		began := time.Now()
		if err := s.journal.append(records); err != nil {
			s.broken = err
			return &StorageError{err}
		}
		s.syncTime = (3*s.syncTime + time.Since(began)) / 4
	}
	s.groups.Add(1)
	s.members.Add(uint64(len(group)))
	for _, c := range group {
		c.apply()
	}
	if rotate || s.journal.size > max(s.rotateAt, 2*s.snapshotSize) {
		if err := s.rotate(); err != nil {
			s.broken = err
			if rotate {
				return &StorageError{err}
			}
		}
	}
	return nil
}

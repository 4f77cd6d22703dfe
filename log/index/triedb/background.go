package triedb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/firn-log/firn/internal/durable"
)

// sealOnly makes a run of what is pending. The caller holds write.
func (db *DB) sealOnly() bool {
	if db.pending.from == db.next.Load() {
		return false
	}
	r := db.pending.run(originHash(db.origin), db.next.Load())
	db.mu.Lock()
	defer db.mu.Unlock()
	db.replaceSet(db.set.with(r, nil))
	return true
}

func (db *DB) seal() {
	if db.sealOnly() {
		db.tidy()
	}
}

// tidy merges runs in memory, and asks for a flush when they hold enough. The
// caller holds write.
func (db *DB) tidy() {
	runs := db.claim(func(s *runSet) []*run {
		i := len(s.runs)
		for i > 0 && s.runs[i-1].seq == 0 && !s.runs[i-1].busy {
			i--
		}
		first := worthMerging(s.runs[i:])
		if first < 0 {
			return nil
		}
		return slices.Clone(s.runs[i+first:])
	})
	if runs != nil {
		r := mergeInMemory(originHash(db.origin), runs)
		db.mu.Lock()
		db.replaceSet(db.set.with(r, runs))
		db.mu.Unlock()
		db.letGo(runs)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.set.inMemory() >= db.opts.flushAt {
		wake(db.flushes)
	}
}

func (db *DB) flusher() {
	for {
		select {
		case <-db.stop:
			return
		case <-db.flushes:
		}
		db.mu.Lock()
		due := db.set.inMemory() >= db.opts.flushAt
		db.mu.Unlock()
		if !due {
			continue
		}
		err := db.flush()
		if err != nil {
			db.opts.Logger.Error("index not written, kept in memory for now", "folder", db.dir, "error", err)
		}
		wake(db.merges)
	}
}

// flush writes what is in memory to a file, but for what is being merged there.
func (db *DB) flush() error {
	runs := db.claim(func(s *runSet) []*run {
		i := len(s.onDisk())
		j := i
		for j < len(s.runs) && !s.runs[j].busy {
			j++
		}
		return slices.Clone(s.runs[i:j])
	})
	var err error
	if len(runs) > 0 {
		if before := db.opts.BeforeFlush; before != nil {
			err = before(runs[len(runs)-1].to)
		}
		if err == nil {
			err = db.rewrite(runs, nil)
		}
		db.letGo(runs)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.failure = err
	db.flushed.Broadcast()
	return err
}

func (db *DB) merger() {
	for {
		select {
		case <-db.stop:
			return
		case <-db.merges:
		}
		for db.mergeOnce() {
		}
	}
}

// mergeOnce merges files if that is worth it, and reports whether it did.
func (db *DB) mergeOnce() bool {
	runs := db.claim(func(s *runSet) []*run {
		disk := s.onDisk()
		first := worthMerging(disk)
		if first < 0 {
			return nil
		}
		return slices.Clone(disk[first:])
	})
	if runs == nil {
		return false
	}
	err := db.rewrite(runs, db.stop)
	db.letGo(runs)
	if err != nil && !errors.Is(err, errStopped) {
		db.opts.Logger.Error("files of the index not merged", "folder", db.dir, "error", err)
	}
	if errors.Is(err, ErrDamaged) {
		db.mu.Lock()
		db.damage = err
		db.flushed.Broadcast()
		db.mu.Unlock()
	}
	return err == nil
}

// rewrite writes adjacent runs that are claimed as one file and makes that one of the
// index instead of them.
func (db *DB) rewrite(runs []*run, stop <-chan struct{}) error {
	db.mu.Lock()
	db.seq++
	seq := db.seq
	db.mu.Unlock()
	origin := originHash(db.origin)
	r, err := writeFile(db.dir, seq, origin, func(w io.Writer) error { return merge(w, origin, runs, stop) })
	if err != nil {
		return err
	}
	if err := db.stillIntact(runs); err != nil {
		r.unmap()
		return errors.Join(err, os.Remove(filepath.Join(db.dir, runName(seq))))
	}
	if err := db.adopt(r, runs); err != nil {
		// Whether the manifest names the new file is not known: both stay.
		r.unmap()
		return err
	}
	for _, old := range runs {
		if old.seq == 0 {
			continue
		}
		if err := os.Remove(filepath.Join(db.dir, runName(old.seq))); err != nil {
			db.opts.Logger.Warn("old file of the index not removed", "error", err) // the next Open does
		}
	}
	return nil
}

// stillIntact looks again at files that were merged: what the disk has changed since
// they were opened must not become part of a file with a right sum.
func (db *DB) stillIntact(runs []*run) error {
	for _, r := range runs {
		if r.seq == 0 {
			continue
		}
		if err := r.intact(); err != nil {
			return damaged(filepath.Join(db.dir, runName(r.seq)), err)
		}
	}
	return nil
}

// adopt makes the file of r durable as a part of the index, instead of runs.
func (db *DB) adopt(r *run, runs []*run) error {
	db.files.Lock()
	defer db.files.Unlock()
	if err := durable.SyncDir(db.dir); err != nil {
		return err
	}
	db.mu.Lock()
	next := db.set.with(r, runs)
	db.mu.Unlock()
	if err := db.writeManifest(next.onDisk()); err != nil {
		return fmt.Errorf("writing the manifest of the index: %w", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.replaceSet(db.set.with(r, runs)) // runs in memory may have come in between
	return nil
}

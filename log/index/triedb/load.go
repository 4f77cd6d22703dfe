package triedb

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/durable"
)

// load reads what is in the folder and computes the newest state.
func (db *DB) load() error {
	m, err := db.readManifest()
	if err != nil {
		return err
	}
	if err := db.mapAll(m); err != nil {
		return err
	}
	if err := db.sweep(m); err != nil {
		return err
	}
	if len(m.runs) == 0 {
		if err := db.writeManifest(nil); err != nil {
			return err
		}
	}
	size := uint64(0)
	if n := len(m.runs); n > 0 {
		size = m.runs[n-1].to
	}
	db.next.Store(size)
	db.pending.from = size
	b := newBuilder(db, db.set, size, cores())
	b.progress = progress(db.opts.Progress)
	root, err := b.scan(context.Background())
	if err != nil {
		return err
	}
	db.views = []*View{{db: db, size: size, root: root}}
	return nil
}

// mapAll maps the files of the manifest and checks all that is in them.
func (db *DB) mapAll(m manifest) error {
	set := &runSet{}
	var g errgroup.Group
	g.SetLimit(cores())
	var err error
	for _, line := range m.runs {
		var r *run
		path := filepath.Join(db.dir, runName(line.seq))
		r, err = mapRun(db.dir, line.seq, originHash(db.origin))
		if errors.Is(err, fs.ErrNotExist) {
			err = damaged(path, errors.New("missing"))
		}
		if err != nil {
			break
		}
		set.runs = append(set.runs, r)
		db.seq = max(db.seq, line.seq)
		g.Go(func() error {
			if r.from != line.from || r.to != line.to || uint64(r.n) != line.records || r.sum != line.sum {
				return damaged(path, errors.New("not the run that the manifest names"))
			}
			if err := r.check(); err != nil {
				return damaged(path, err)
			}
			return nil
		})
	}
	err = errors.Join(err, g.Wait())
	db.replaceSet(set) // so that Open unmaps it after an error
	return err
}

// sweep removes what a crash has left behind.
func (db *DB) sweep(m manifest) error {
	if err := durable.SweepTemp(db.dir); err != nil {
		return err
	}
	named := make(map[string]bool)
	for _, line := range m.runs {
		named[runName(line.seq)] = true
	}
	names, err := runFiles(db.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if named[name] {
			continue
		}
		if seq, err := strconv.ParseUint(strings.TrimSuffix(name, ".run"), 10, 63); err == nil {
			db.seq = max(db.seq, seq)
		}
		if err := os.Remove(filepath.Join(db.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// progress returns a function that counts the parts of a scan that are done and tells report.
func progress(report func(done, total int)) func(total int) {
	if report == nil {
		return func(int) {}
	}
	var mu sync.Mutex
	done := 0
	return func(total int) {
		mu.Lock()
		defer mu.Unlock()
		if done++; done%max(total/100, 1) == 0 || done == total {
			report(done, total)
		}
	}
}

package rebuild

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errDisk ends a run: there is no room for another build.
var errDisk = errors.New("there is not enough room on the disk to go on")

// ErrDisk is what the error of Run matches if it stopped before the disk was full, or
// before the work folder became larger than Config.MaxDisk.
var ErrDisk = errDisk

// tidy makes sure that there is room for another build: it empties the store of
// inputs, once nobody uses it, if there is not.
func (r *Rebuilder) tidy(ctx context.Context) error {
	if r.roomy() {
		return nil
	}
	r.supplying.Lock()
	defer r.supplying.Unlock()
	if r.roomy() {
		return nil
	}
	settings := map[string]string{"keep-derivations": "false", "keep-outputs": "false"}
	if err := r.run(ctx, r.nix.command(r.work(inputsDir), settings, "--gc")); err != nil && ctx.Err() == nil {
		r.say("firn: warning: emptying %s: %v", r.work(inputsDir), err)
	}
	if !r.roomy() {
		return errDisk
	}
	return nil
}

// roomy reports whether the bounds are kept.
func (r *Rebuilder) roomy() bool {
	return !noSpace(r.conf.Work, r.conf.MinFree) && (r.conf.MaxDisk == 0 || usage(r.conf.Work) < r.conf.MaxDisk)
}

// usageEvery is how many looks at the free space there are to one at the size of the
// work folder.
const usageEvery = 10

// guard returns a context that is done when a bound is passed.
func (r *Rebuilder) guard(ctx context.Context) (context.Context, func()) {
	ctx, stop := context.WithCancelCause(ctx)
	go func() {
		t := time.NewTicker(r.o.watch)
		defer t.Stop()
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			// To add up the work folder takes longer than to ask what is free.
			if noSpace(r.conf.Work, r.conf.MinFree) || n%usageEvery == 0 && !r.roomy() {
				stop(errDisk)
			}
		}
	}()
	return ctx, func() { stop(nil) }
}

// diskOr returns errDisk if err comes from a full disk.
func (r *Rebuilder) diskOr(err error) error {
	if err != nil && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || noSpace(r.conf.Work, r.conf.MinFree)) {
		return errDisk
	}
	return err
}

// noSpace reports whether less than limit bytes are free where dir is.
func noSpace(dir string, limit int64) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	return int64(st.Bavail)*st.Bsize < limit
}

// usage returns how many bytes of disk the files below dir take up.
func usage(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		if fi, err := d.Info(); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}

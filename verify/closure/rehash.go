package closure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// Rehash reads the content of every subject, as many at a time as there are
// processors, and sets Differs where it is not what the database says.
// progress may be nil; it is called from several goroutines with the bytes done
// and all bytes expected.
func (s *Store) Rehash(ctx context.Context, subjects []verify.Subject, progress func(done, total uint64)) error {
	var total uint64
	for _, p := range subjects {
		total += p.Info.NarSize
	}
	var done, next atomic.Uint64
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(subjects)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < uint64(len(subjects)); i = next.Add(1) - 1 {
				p := &subjects[i]
				if p.Unbuilt {
					continue
				}
				err := rehash(ctx, p, s.Physical(p.Info.Path), func(n int64) {
					if now := done.Add(uint64(n)); progress != nil {
						progress(min(now, total), total)
					}
				})
				if err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func rehash(ctx context.Context, s *verify.Subject, file string, progress func(int64)) error {
	hash, size, err := nix.HashPath(ctx, file, progress)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.Differs = "it is not on disk"
	case err != nil:
		return fmt.Errorf("reading %s: %w", file, err)
	case hash != s.Info.NarHash:
		s.Differs = fmt.Sprintf("it hashes to %s, recorded is %s", hash, s.Info.NarHash)
	case s.Info.NarSize != 0 && size != s.Info.NarSize: // old versions of Nix recorded no size
		s.Differs = fmt.Sprintf("it has %d bytes, recorded are %d", size, s.Info.NarSize)
	}
	return nil
}

package log

import (
	"context"
	"iter"
)

// ahead yields do(first) to do(last) in order, while it computes the next few
// in goroutines of their own. When the loop ends early, the context that they
// were given ends with it.
func ahead[T any](ctx context.Context, first, last uint64, do func(context.Context, uint64) T) iter.Seq[T] {
	return func(yield func(T) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		queue := make(chan chan T, fetches)
		go func() {
			defer close(queue)
			for n := first; n <= last; n++ {
				out := make(chan T, 1)
				select {
				case queue <- out:
				case <-ctx.Done():
					return
				}
				go func() { out <- do(ctx, n) }()
			}
		}()
		for out := range queue {
			if !yield(<-out) {
				return
			}
		}
	}
}

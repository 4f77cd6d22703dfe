package store

import (
	"context"
	"sync"
	"testing"
)

// Pages may be read while it is written and reset: each shows one moment.
func TestPagesAreReadWhileItIsWritten(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		db := fresh(Options{})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for ctx.Err() == nil {
					o, err := db.Overview(context.Background())
					if err != nil {
						t.Errorf("overview: %v", err)
						return
					}
					for _, c := range o.Channels {
						l, err := db.Attributes(context.Background(), Filter{Channel: c.Name, Order: Worst}, Page{Limit: 50})
						if err != nil && err != ErrNotFound {
							t.Errorf("attributes: %v", err)
							return
						}
						for _, r := range l.Rows[:min(len(l.Rows), 2)] {
							if _, err := db.Attribute(context.Background(), r.Attr); err != nil && err != ErrNotFound {
								t.Errorf("attribute: %v", err)
								return
							}
						}
					}
				}
			})
		}
		for seed := range uint64(2) {
			makeWorld(t, seed).shuffled(t, db, seed)
			if seed == 0 {
				if err := db.Reset(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
		cancel()
		wg.Wait()
	})
}

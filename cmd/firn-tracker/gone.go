package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// errGone says that the file of the database is another one or none. SQLite would go on with the
// one that was removed, which nobody could ever read again.
var errGone = errors.New("the file of the database was removed or replaced while the tracker ran; start it again, and what is missing is made again")

// watchFile returns errGone once the database is a file that is not there any more, and nil when
// ctx ends.
func (t *tracker) watchFile(ctx context.Context) error {
	if isPostgres(t.dsn()) {
		<-ctx.Done()
		return nil
	}
	first, err := os.Stat(t.dsn())
	if err != nil {
		return err
	}
	tick := time.NewTicker(t.Poll.Duration)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if now, err := os.Stat(t.dsn()); err != nil || !os.SameFile(first, now) {
			return fmt.Errorf("%s: %w", t.dsn(), errGone)
		}
	}
}

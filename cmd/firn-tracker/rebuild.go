package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

func newRebuildCmd(a *app) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "rebuild [DIR]",
		Short: "Make the database again from the logs and the kept evaluations",
		Long: `Drop everything in the database, replay the logs and add the kept evaluation files,
and print the SHA-256 of the dump: it is the same wherever the same logs,
evaluations and configuration are, on SQLite and on PostgreSQL.

Signatures that were verified before are not verified again.

Exit status: 0 all is there, 1 a log or a file could not be read (the rest is
there), 2 usage or configuration, 5 a log was caught with two histories.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.settings(&f, args)
			if err != nil {
				return err
			}
			t, err := s.open(c.Context(), a.logger(f.debug), true)
			if err != nil {
				return err
			}
			defer t.Close()
			return a.rebuild(c.Context(), t)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (a *app) rebuild(ctx context.Context, t *tracker) error {
	begin := time.Now()
	stop := a.progress(t)
	err := t.follower.Replay(ctx)
	replayed := time.Since(begin)
	err = errors.Join(err, t.evaluations.Add(ctx))
	stop()
	if err != nil {
		return fail(status(err), "", err)
	}
	evaluated := time.Since(begin) - replayed
	entries := uint64(0)
	for _, s := range t.follower.Status() {
		entries += s.Replayed
	}
	added, _ := t.evaluations.Status()
	fmt.Fprintf(a.Stderr, "firn-tracker: %d entries of %d logs in %v, %d evaluations in %v\n",
		entries, len(t.logs), replayed.Round(time.Millisecond), added, evaluated.Round(time.Millisecond))
	sum := sha256.New()
	if err := t.db.Dump(ctx, sum); err != nil {
		return fail(exitFailed, "", fmt.Errorf("reading the database: %w", err))
	}
	fmt.Fprintf(a.Stdout, "sha256:%x\n", sum.Sum(nil))
	return nil
}

// progress shows on a terminal how far a replay is, until stop is called.
func (a *app) progress(t *tracker) (stop func()) {
	if !isTerminal(a.Stderr) {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				fmt.Fprint(a.Stderr, "\r\x1b[K")
				return
			case <-tick.C:
			}
			var have, all uint64
			for _, s := range t.follower.Status() {
				have, all = have+s.Replayed, all+s.Size
			}
			added, _ := t.evaluations.Status()
			fmt.Fprintf(a.Stderr, "\r\x1b[K%d of %d entries, %d evaluations", have, all, added)
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

func newDumpCmd(a *app) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "dump [DIR]",
		Short: "Print everything in the database in an order that is the same everywhere",
		Long: `Print everything in the database, a JSON array a line, in an order that is the
same everywhere: two trackers of the same logs, evaluations and configuration
print the same. While a tracker serves from the database, or makes it again, what
is printed is what it holds at one moment.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.settings(&f, args)
			if err != nil {
				return err
			}
			t, err := s.read(c.Context(), a.logger(f.debug))
			if err != nil {
				return err
			}
			defer t.Close()
			w := bufio.NewWriter(a.Stdout)
			if err := t.db.Dump(c.Context(), w); err != nil {
				return fail(exitFailed, "", err)
			}
			if err := w.Flush(); err != nil {
				return fail(exitFailed, "", err)
			}
			return nil
		},
	}
	f.add(cmd.Flags())
	return cmd
}

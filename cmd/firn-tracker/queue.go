package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/store"
)

// queueName is the name of the statements that ask for work.
const queueName = "firn-tracker-queue"

func newQueueCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "What should be rebuilt next"}
	cmd.AddCommand(newQueuePublishCmd(a), newQueueShowCmd(a))
	return cmd
}

func newQueueShowCmd(a *app) *cobra.Command {
	var f flags
	var p publishConfig
	cmd := &cobra.Command{
		Use:   "show [DIR]",
		Short: "Print the derivations that should be rebuilt next",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withQueue(c.Context(), &f, &p, args, func(_ *tracker, drvs []nix.StorePath) error {
				for _, d := range drvs {
					fmt.Fprintln(a.Stdout, d)
				}
				return nil
			})
		},
	}
	p.add(cmd, &f)
	return cmd
}

func newQueuePublishCmd(a *app) *cobra.Command {
	var f flags
	var p publishConfig
	cmd := &cobra.Command{
		Use:   "publish [DIR]",
		Short: "Ask rebuilders for what should be rebuilt next",
		Long: `Publish the derivations that should be rebuilt next as an eval statement in a
log, signed by a build key of an operator. Rebuilders that name this operator in
work-from take them: firn rebuild --from-log.

A running tracker does the same from time to time if publish.every is
configured; this works beside it. Exit status: 0 published, or there is nothing to ask for; 1 the log
did not take it.`,
		Example: `  firn-tracker queue publish --key agent:tracker --count 100`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withQueue(c.Context(), &f, &p, args, func(t *tracker, drvs []nix.StorePath) error {
				if len(drvs) == 0 {
					fmt.Fprintln(a.Stderr, "firn-tracker: there is nothing to ask for")
					return nil
				}
				at, err := a.publish(c.Context(), t, drvs)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.Stdout, "%s entry %d: %d derivations\n", at.ID, at.Index, len(drvs))
				return nil
			})
		},
	}
	p.add(cmd, &f)
	cmd.Flags().StringVar(&p.Key, "key", "", "`KEY` that signs, as firn key show takes it (default publish.key)")
	cmd.Flags().BoolVar(&p.UseLoginKey, "use-login-key", false, "use a key that also logs in")
	cmd.Flags().StringVar(&p.Log, "to", "", "name or `URL` of the log (default the only one)")
	return cmd
}

func (p *publishConfig) add(cmd *cobra.Command, f *flags) {
	f.add(cmd.Flags())
	cmd.Flags().StringArrayVar(&p.Channels, "channel", nil, "only this channel (may be repeated)")
	cmd.Flags().IntVar(&p.Count, "count", 0, "how many derivations (default 200)")
}

// withQueue opens a tracker and calls use with what should be rebuilt next.
func (a *app) withQueue(ctx context.Context, f *flags, p *publishConfig, args []string, use func(*tracker, []nix.StorePath) error) error {
	s, err := a.settings(f, args)
	if err != nil {
		return err
	}
	c := &s.Publish
	if p.Key != "" {
		c.Key, c.UseLoginKey = p.Key, p.UseLoginKey
	}
	if p.Log != "" {
		c.Log = p.Log
	}
	if len(p.Channels) > 0 {
		c.Channels = p.Channels
	}
	if p.Count != 0 {
		c.Count = p.Count
	}
	if err := s.check(); err != nil {
		return fail(exitUsage, "", err)
	}
	t, err := s.read(ctx, a.logger(f.debug))
	if err != nil {
		return err
	}
	defer t.Close()
	drvs, err := t.queue(ctx)
	if err != nil {
		return fail(exitFailed, "", err)
	}
	return use(t, drvs)
}

// queue returns what should be rebuilt next: the first of each channel in turn.
func (t *tracker) queue(ctx context.Context) ([]nix.StorePath, error) {
	channels := t.Publish.Channels
	if len(channels) == 0 {
		o, err := t.db.Overview(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range o.Channels {
			channels = append(channels, c.Name)
		}
	}
	var lists [][]nix.StorePath
	for _, c := range channels {
		l, err := t.channelQueue(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("the queue of %s: %w", c, err)
		}
		lists = append(lists, l)
	}
	var all []nix.StorePath
	seen := make(map[nix.StorePath]bool)
	for i := 0; len(all) < t.Publish.Count; i++ {
		more := false
		for _, l := range lists {
			if i >= len(l) {
				continue
			}
			more = true
			if !seen[l[i]] && len(all) < t.Publish.Count {
				seen[l[i]] = true
				all = append(all, l[i])
			}
		}
		if !more {
			break
		}
	}
	return all, nil
}

// channelQueue returns the derivations of the first rows of a channel's queue, each once.
func (t *tracker) channelQueue(ctx context.Context, channel string) ([]nix.StorePath, error) {
	var all []nix.StorePath
	seen := make(map[string]bool)
	for page := (store.Page{Limit: 500}); ; {
		l, err := t.db.Queue(ctx, channel, page)
		if err != nil {
			return nil, err
		}
		for _, r := range l.Rows {
			if seen[r.Drv] || r.Drv == "" {
				continue
			}
			seen[r.Drv] = true
			p, err := nix.DefaultStoreDir.FromBase(r.Drv)
			if err != nil {
				return nil, err
			}
			if all = append(all, p); len(all) == t.Publish.Count {
				return all, nil
			}
		}
		if page.After = l.Next; l.Next == "" {
			return all, nil
		}
	}
}

// publish asks for derivations in the log.
func (a *app) publish(ctx context.Context, t *tracker, drvs []nix.StorePath) (*log.Submitted, error) {
	p, err := a.openPublication(ctx, t.settings)
	if err != nil {
		return nil, err
	}
	return p.state(ctx, queueBody(drvs, time.Now()), "")
}

// queueBody asks for derivations, which a statement lists by path.
func queueBody(drvs []nix.StorePath, now time.Time) *statement.Eval {
	drvs = slices.Clone(drvs)
	slices.SortFunc(drvs, nix.StorePath.Compare)
	return &statement.Eval{
		Name: queueName, StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(drvs), Count: uint64(len(drvs)),
		Drvs: drvs, Inputs: []statement.EvalInput{}, Evaluated: uint64(now.Unix()),
	}
}

// publishAgain publishes the queue from time to time, if it has changed.
func (a *app) publishAgain(ctx context.Context, t *tracker) {
	var last []byte
	tick := time.NewTicker(t.Publish.Every.Duration)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		drvs, err := t.queue(ctx)
		slices.SortFunc(drvs, nix.StorePath.Compare)
		now := statement.PathsBlob(drvs)
		if err == nil && (len(drvs) == 0 || bytes.Equal(now, last)) {
			continue
		}
		var at *log.Submitted
		if err == nil {
			at, err = a.publish(ctx, t, drvs)
		}
		if err != nil {
			t.log.Warn("what to rebuild next could not be published; it is tried again", "error", err)
			continue
		}
		last = now
		t.log.Info("published what to rebuild next", "derivations", len(drvs), "statement", at.ID.String(), "index", at.Index)
	}
}

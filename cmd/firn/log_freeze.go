package main

import (
	"context"
	"fmt"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// freezeOf returns the statement with which the log ended, nil if it goes on or its
// last entry cannot be read: whoever asks for something else gets that.
func freezeOf(ctx context.Context, c *log.Client, cp *log.Checkpoint) *statement.Freeze {
	b, err := c.Freeze(ctx, cp)
	if err != nil {
		return nil
	}
	return b
}

// warnOfFreeze says that a log has ended.
func (a *app) warnOfFreeze(b *statement.Freeze) {
	if b != nil {
		fmt.Fprintf(a.Stderr, "firn: warning: %s\n", b.Words())
	}
}

func freezeJSON(b *statement.Freeze) map[string]any {
	out := map[string]any{}
	if b.Successor != nil {
		out["successor"] = b.Successor.VKey()
	}
	if b.Reason != "" {
		out["reason"] = b.Reason
	}
	return out
}

// codeFrozen is the code with which a frozen log refuses (spec/log.md#errors).
const codeFrozen = "frozen"

// hintFrozen is for whoever sends something to a log that has ended.
const hintFrozen = "nothing more can be added to this log; if it names a successor that you trust, make a policy for that one and name it instead"
